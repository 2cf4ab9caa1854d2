"""What landed of a topic before it was deleted and made anew excuses no record of the new one, and
is told.
"""

from concurrent.futures import Future
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

from schemas.catalogue import event_classes
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.plain_values import plain_of
from schemas.wire.topics import topic_of
from sinks.base import Batch
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams.cli.operate import balance as command
from streams.cli.operate.stack import topics_made_anew
from streams.config import Settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.sinks.batches import metadata_of
from streams.operations import balance as completeness
from streams.operations.balance import balance, earlier_offsets, is_of
from streams.operations.balance_worker import Ledger, tell
from streams.operations.connections import rows_of
from streams.operations.lag import delays
from streams.topology import SINKS
from tests.support.processors import ident
from tests.support.stages import until

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
CODEC = Codec(LocalIds(event_classes()))


@pytest.mark.parametrize(
    ("consumer", "topic_id", "counts"),
    [
        ("sink-clickhouse", "now", True),
        ("sink-clickhouse", "before", False),
        ("sink-clickhouse", "", True),
        ("stage-tenant", "now", False),
    ],
)
def test_a_letter_of_the_topic_before_excuses_nothing(consumer, topic_id, counts):
    letter = DeadLettered.about(
        "x",
        at=NOON,
        tenant="acme",
        source="t:0:1",
        topic_name="t",
        partition=0,
        offset=1,
        consumer=consumer,
        reason="error",
        topic_id=topic_id,
    )
    assert is_of(letter, {"t": "now"}) == counts


def used(name: str) -> TokensUsed:
    return TokensUsed(
        id=ident(name),
        at=NOON,
        tenant="acme",
        session="s",
        run=ident("r"),
        agent="a",
        agent_version=1,
        model="m",
        provider="p",
        tokens=Tokens(),
    )


def produce(settings: Settings, names: str) -> list[TokensUsed]:
    events, producer = [used(name) for name in names], kafka.producer(settings)
    for event in events:
        producer.produce(
            settings.prefix + event.topic(),
            CODEC.encode(event),
            event.partition_key().encode(),
            partition=1,
            headers=headers_of(event),
        )
    assert producer.flush(30) == 0
    return events


def land(settings: Settings, events: list[TokensUsed], topic_id: str) -> None:
    batch = Batch(
        TokensUsed,
        [1] * len(events),
        [*range(len(events))],
        [0] * len(events),
        [plain_of(e) for e in events],
        topic_id,
    )
    sink = ClickHouseSink(settings.clickhouse(), settings.clickhouse_database)
    sink.write(sink.prepare(batch), topic_id)
    commit(settings, len(events), topic_id)


def commit(settings: Settings, offset: int, topic_id: str) -> None:
    reader = kafka.consumer(settings, completeness.CONSUMER)
    place = kafka.TopicPartition(
        settings.prefix + TokensUsed.topic(), 1, offset, metadata_of(topic_id)
    )
    reader.commit(offsets=[place], asynchronous=False)
    reader.close()


@pytest.mark.engine
def test_a_topic_made_anew_is_counted_apart_from_the_one_before(
    own_settings, clickhouse_url, monkeypatch, caplog
):
    """Three records land; the topic is made anew; two others are on their way, at offsets that have
    rows already.
    """
    monkeypatch.setitem(SINKS, "clickhouse", TokensUsed | DeadLettered)
    topics = [topic_of(TokensUsed, 2), topic_of(DeadLettered, 2)]
    kafka.create_topics(own_settings, topics)
    settings = own_settings.model_copy(
        update={"clickhouse_url": clickhouse_url, "clickhouse_database": f"t{uuid4().hex[:8]}"}
    )
    make_tables(clickhouse_url, settings.clickhouse_database, 3650)
    topic, client = settings.prefix + TokensUsed.topic(), kafka.admin(settings)
    ledger, worker = Ledger(settings, CODEC), SimpleNamespace(metrics=Metrics())

    def counted() -> tuple[dict[str, int], list[int], tuple[str, ...]]:
        found = balance(settings, CODEC, lambda sql, given: rows_of(settings, sql, given))
        counting = Future()
        counting.set_result(ledger.turn())
        tell(worker, counting)
        assert not found.off and counting.result().unbalanced == {"lost": 0, "doubled": 0}
        return (
            found.earlier,
            [
                sum(getattr(one, name) for one in found.minutes)
                for name in ("produced", "landed", "under_way")
            ],
            counting.result().made_anew,
        )

    before = kafka.topic_ids(client, [topic])[topic]
    land(settings, produce(settings, "abc"), before)
    assert counted() == ({}, [3, 3, 0], ())
    client.delete_topics([topic])[topic].result(30)
    until(lambda: topic not in kafka.topic_ids(client, [topic]), "it is gone")
    with pytest.raises(UserError, match=r"there is no topic .*weir deploy"):
        ledger.turn()
    kafka.create_topics(settings, topics)
    until(lambda: kafka.topic_ids(client, [topic]).get(topic, before) != before, "it is there")
    events, now = produce(settings, "de"), kafka.topic_ids(client, [topic])[topic]
    commit(settings, 3, before)  # as a worker that has not noticed yet
    assert counted() == ({topic: 3}, [2, 0, 2], (topic,))
    assert f"{topic} was deleted and made anew" in caplog.text
    assert 'consumer="balancing"' in worker.metrics.text().decode()
    assert earlier_offsets(settings) == [("sink-clickhouse", topic)]
    assert [one.behind for one in delays(settings, {completeness.CONSUMER})] == [2]
    [words] = topics_made_anew(settings)
    assert words.startswith(
        f"{topic} was deleted and made anew: sink-clickhouse still has offsets of the topic before"
    )
    land(settings, events, now)
    assert counted() == ({topic: 3}, [2, 2, 0], ())
    assert earlier_offsets(settings) == []
    with connect(clickhouse_url, settings.clickhouse_database) as asking:
        asking.command(f"DROP DATABASE {settings.clickhouse_database}")


def test_what_is_said_of_a_topic_made_anew():
    assert command.made_anew("t", 3).startswith(
        "t was deleted and made anew: 3 rows are of the topic before"
    )
