"""Lost records are written again, only they, and again if they are lost again."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from schemas.catalogue import event_classes
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.topics import topic_of
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams.cli.operate import balance as command
from streams.config import Settings
from streams.engine import kafka
from streams.operations import balance_repair
from streams.operations.balance import CONSUMER, Balance, Log, Minute, balance, count
from streams.operations.balance_repair import repair
from streams.operations.connections import rows_of
from streams.topology import SINKS
from tests.support.processors import ident

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
CODEC = Codec(LocalIds(event_classes()))
USED = TokensUsed.topic()


def record(offset: int, value: bytes | None = None) -> SimpleNamespace:
    event = TokensUsed(
        id=ident(str(offset)),
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
    return SimpleNamespace(
        offset=lambda: offset,
        partition=lambda: 2,
        value=lambda: value or CODEC.encode(event),
        key=lambda: b"acme",
        topic=lambda: USED,
        headers=lambda: [*headers_of(event), ("weir_seq", b"7")],
        timestamp=lambda: (1, NOON_MS),
    )


class Shelf:
    """A sink that keeps the offsets of a token once, as ClickHouse does."""

    name = "clickhouse"

    def __init__(self):
        self.held = []
        self.tokens = set()

    def accepts_encoded(self, kind):
        return False

    def prepare(self, batch):
        return batch.offsets

    def write(self, prepared, token):
        if token not in self.tokens:
            self.tokens.add(token)
            self.held += prepared


@pytest.fixture
def shelf(monkeypatch):
    monkeypatch.setattr(
        balance_repair.kafka, "topic_ids", lambda client, names: dict.fromkeys(names, "made1")
    )
    monkeypatch.setattr(
        balance_repair.kafka,
        "read_to",
        lambda settings, topic, partition, bounds: (
            record(offset, b"none" if offset == 9 else None) for offset in range(*bounds)
        ),
    )
    return Shelf()


def test_only_what_is_lost_lands_and_once_a_minute(shelf):
    lost = {(USED, 2): [5, 3]}
    assert repair(Settings(), CODEC, shelf, lost, NOON) == 2 and shelf.held == [3, 5]
    repair(Settings(), CODEC, shelf, lost, NOON + timedelta(seconds=30))
    assert shelf.held == [3, 5]
    repair(
        Settings(), CODEC, shelf, lost, NOON + timedelta(minutes=2)
    )  # lost anew, as the count says: landed anew
    assert shelf.held == [3, 5, 3, 5]


def test_what_can_never_be_stored_is_said(shelf, caplog):
    assert repair(Settings(), CODEC, shelf, {(USED, 2): [8, 9]}, NOON) == 1 and shelf.held == [8]
    assert f"{USED}[2] at 9 can never be stored (not_avro)" in caplog.text


def test_the_count_names_the_offsets_that_are_repaired(shelf, monkeypatch):
    found = Balance()
    count(
        USED,
        {2: Log({4: NOON_MS, 6: NOON_MS}, 9)},
        [{"number": 2, "place": 4, "times": 1, "landed_ms": NOON_MS}],
        set(),
        found,
    )
    assert dict(found.lost) == {(USED, 2): [6]}
    monkeypatch.setattr(command, "codec_of", lambda settings: CODEC)
    monkeypatch.setattr(command, "sink_of", lambda settings, name: shelf)
    assert command.repaired(Settings(), found).startswith(
        "1 of 1 lost records were landed again"
    ) and shelf.held == [6]


@pytest.mark.engine
def test_what_is_lost_lands_out_of_a_real_log(own_settings, clickhouse_url, monkeypatch):
    """Three records, the sink worker says that it has written two, none is there: those two are
    lost, and land; not the third.
    """
    monkeypatch.setitem(SINKS, "clickhouse", TokensUsed | DeadLettered)
    kafka.create_topics(own_settings, [topic_of(TokensUsed, 3), topic_of(DeadLettered, 3)])
    settings = own_settings.model_copy(
        update={"clickhouse_url": clickhouse_url, "clickhouse_database": f"t{uuid4().hex[:8]}"}
    )
    make_tables(clickhouse_url, settings.clickhouse_database, 3650)
    topic = settings.prefix + USED
    producer = kafka.producer(settings)
    for number in range(3):
        producer.produce(
            topic, record(number).value(), b"acme", partition=2, headers=record(number).headers()
        )
    producer.flush(30)
    reader = kafka.consumer(settings, CONSUMER)
    reader.commit(offsets=[kafka.TopicPartition(topic, 2, 2)], asynchronous=False)
    reader.close()

    def counted() -> tuple[int, int, int]:
        found = balance(settings, CODEC, lambda sql, given: rows_of(settings, sql, given))
        repairable.update(found.lost)
        return tuple(
            sum(getattr(one, name) for one in found.minutes)
            for name in ("landed", "lost", "under_way")
        )

    repairable: dict = {}
    assert counted() == (0, 2, 1)
    assert (
        repair(
            settings,
            CODEC,
            ClickHouseSink(clickhouse_url, settings.clickhouse_database),
            repairable,
            NOON,
        )
        == 2
    )
    assert counted() == (2, 0, 1)
    minute = Minute(topic, 2, NOON, produced=3, landed=2, under_way=1)
    command.keep(settings, [minute])
    sql = "SELECT topic, partition, produced, landed, lost FROM balance"
    assert [tuple(row.values()) for row in rows_of(settings, sql)] == [(topic, 2, 2, 2, 0)]
