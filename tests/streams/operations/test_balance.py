"""Records are counted by what became of them; lost and doubled ones show by minute."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from schemas.catalogue import event_classes
from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.topics import topic_of
from streams.cli.operate import balance as command
from streams.cli.operate.balance import sentence
from streams.config import Settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.operations import balance as completeness
from streams.operations.balance import (
    FIGURES,
    Balance,
    Log,
    Minute,
    balance,
    count,
    ids_of,
    written_to,
)
from streams.operations.balance_worker import Ledger
from streams.operations.lag import Delay, consumers, delays
from streams.topology import SINKS
from tests.support.processors import ident

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
CODEC = Codec(LocalIds(event_classes()))


def records(*offsets: int, minute: int = 0) -> dict[int, int]:
    return {offset: NOON_MS + minute * 60_000 + offset for offset in offsets}


def row(place: int, times: int = 1, number: int = 0, wait_ms: int = 250) -> dict[str, int]:
    return {
        "number": number,
        "place": place,
        "times": times,
        "landed_ms": NOON_MS + place + wait_ms,
    }


@pytest.mark.parametrize(
    ("log", "landed", "dead", "figures"),
    [
        (
            Log(records(1, 2, 5), 6),
            [row(1), row(2), row(5)],
            set(),
            (3, 3, 0, 0, 0, 0),
        ),  # 3 and 4 are no records
        (Log(records(1, 2, 5), 6), [row(1), row(5)], {("t", 0, 2)}, (3, 2, 1, 0, 0, 0)),
        (
            Log(records(1, 2, 5), 6),
            [row(1), row(5)],
            {("t", 1, 2)},
            (3, 2, 0, 0, 1, 0),
        ),  # another partition's letter
        (Log(records(1, 2, 5), 2), [row(1)], set(), (3, 1, 0, 2, 0, 0)),
        (Log(records(1, 2, 5), 2), [row(1), row(2, 2), row(5, 3)], set(), (3, 3, 0, 0, 0, 3)),
        (Log(records(1), 0), [], set(), (1, 0, 0, 1, 0, 0)),  # nothing was ever written
        (Log(records(1), 2), [row(1, number=1)], set(), (1, 0, 0, 0, 1, 0)),
    ],
)
def test_what_became_of_each_record(log, landed, dead, figures):
    found = Balance()
    count("t", {0: log}, landed, dead, found)
    [minute] = found.minutes
    assert tuple(getattr(minute, name) for name in FIGURES) == figures
    assert minute.produced == minute.landed + minute.dead_lettered + minute.under_way + minute.lost
    assert bool(found.off) == bool(figures[4] or figures[5])


def test_minutes_are_apart_and_topics_added_up_with_their_waits():
    found = Balance()
    count(
        "t",
        {1: Log(records(1, 2) | records(3, minute=2), 9), 0: Log(records(1), 9)},
        [row(1, number=1), row(2, number=1), row(1, wait_ms=900)],
        set(),
        found,
    )
    assert [(m.partition, m.minute, m.produced, m.lost) for m in found.minutes] == [
        (0, NOON, 1, 0),
        (1, NOON, 2, 0),
        (1, NOON + timedelta(minutes=2), 1, 1),
    ]
    assert found.by_topic() == [
        {
            "topic": "t",
            "produced": 4,
            "landed": 3,
            "dead_lettered": 0,
            "under_way": 0,
            "lost": 1,
            "doubled": 0,
            "landed_after_p50_ms": 250,
            "landed_after_p99_ms": 900,
        }
    ]


def test_the_alarm_names_the_minutes_and_says_what_to_do():
    off = [Minute("t", 3, NOON, produced=5, landed=3, lost=2)]
    said = sentence({"lost": 2, "doubled": 0, "produced": 5}, off)
    assert said.startswith("NOT BALANCED: 2 lost, 0 doubled, in 1 minutes")
    assert "t[3] 2026-11-26 12:00: 5 produced, 2 lost" in said
    assert sentence({"produced": 5, "landed": 4, "dead_lettered": 1, "under_way": 2}, []) == (
        "balanced: 5 produced = 4 landed + 1 dead-lettered, 2 under way"
    )


@pytest.mark.parametrize(
    ("there", "missing", "too_many"),
    [
        ({("t", "d", 0)}, 0, 0),
        (set(), 1, 0),
        ({("t", "d", 0), ("t", "d", 1)}, 0, 1),
        ({("t", "d", 0), ("t", "long ago", 0)}, 0, 0),  # the log no longer has it
    ],
)
def test_pieces_of_documents_are_those_in_force(monkeypatch, there, missing, too_many):
    def records(settings, topic, number):
        for kind, nth in ((ChunkPrepared, 0), (ChunkPrepared, 1), (ChunkRetired, 1)):
            text = {"text": "x", "digest": "d"} if kind is ChunkPrepared else {}
            at = NOON + (kind is ChunkRetired) * timedelta(1)
            event = kind(id=ident(f"{kind}{nth}"), at=at, tenant="t", document="d", nth=nth, **text)
            yield SimpleNamespace(
                topic=lambda: topic,
                headers=lambda event=event: headers_of(event),
                value=lambda event=event: CODEC.encode(event),
            )

    for name, made in (("records", records), ("codec_of", lambda settings: CODEC)):
        monkeypatch.setattr(command, name, made)
    monkeypatch.setattr(command.qdrant_sink, "stored_chunks", lambda *where: there)
    assert command.pieces_of(Settings(), []) == {
        "in_force": 1,
        "missing": missing,
        "too_many": too_many,
    }
    with pytest.raises(UserError, match="3 pieces are on their way"):
        command.pieces_of(Settings(), [Delay("sink-qdrant", 3, 1)])


def test_every_part_of_the_pipeline_may_be_behind():
    assert {
        "stage-tenant",
        "stage-session",
        "calls",
        "sink-clickhouse",
        "sink-qdrant",
    } <= consumers().keys()
    assert all(consumers().values())


@pytest.mark.engine
def test_a_real_log_is_counted_by_transactions_marks_and_all(own_settings, monkeypatch):
    """Records, an aborted transaction, and what the group has committed: a record behind it that is
    nowhere is lost.
    """
    monkeypatch.setitem(SINKS, "clickhouse", TokensUsed | DeadLettered)
    kafka.create_topics(own_settings, [topic_of(TokensUsed, 2), topic_of(DeadLettered, 2)])
    events = [
        TokensUsed(
            id=ident(str(n)),
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
        for n in range(4)
    ]
    topic = own_settings.prefix + TokensUsed.topic()
    producer = kafka.producer(own_settings, "maker")
    producer.init_transactions(30)
    for nth, event in enumerate(events):
        producer.begin_transaction()
        producer.produce(
            topic,
            CODEC.encode(event),
            event.partition_key().encode(),
            partition=1,
            headers=headers_of(event),
        )
        producer.flush(30)  # so that what is aborted stands in the log too
        producer.abort_transaction(30) if nth == 1 else producer.commit_transaction(30)
    reader = kafka.consumer(own_settings, completeness.CONSUMER)
    reader.commit(
        offsets=[kafka.TopicPartition(topic, 1, 5)], asynchronous=False
    )  # records stand at 0, 4 and 6
    reader.close()

    ids = ids_of(own_settings, [topic, own_settings.prefix + DeadLettered.topic()])

    def rows(sql, parameters):
        if "numbers" not in parameters:
            return [
                {
                    "times": 3
                    if parameters == {"topic": TokensUsed.topic(), "topic_id": ids[topic]}
                    else 0
                }
            ]
        assert (parameters["topic"], parameters["numbers"]) == (TokensUsed.topic(), [1])
        return [{"number": 1, "place": 0, "times": 1, "landed_ms": NOON_MS}]

    found = balance(own_settings, CODEC, rows)
    assert {name: sum(getattr(m, name) for m in found.minutes) for name in FIGURES} == {
        "produced": 3,
        "landed": 1,
        "dead_lettered": 0,
        "under_way": 1,
        "lost": 1,
        "doubled": 0,
    }
    assert found.earlier == {topic: 3}
    [late] = delays(own_settings, {"sink-clickhouse"})
    assert late.behind > 0
    assert balance(own_settings, CODEC, rows, datetime.now(UTC) + timedelta(hours=1)).minutes == []
    ledger = Ledger(own_settings, CODEC)
    sums = []
    for more in (
        events[:0],
        events[:1],
        events[:0],
    ):  # what comes later is counted too, and nothing twice
        for event in more:
            producer.begin_transaction()
            producer.produce(
                topic,
                CODEC.encode(event),
                event.partition_key().encode(),
                partition=1,
                headers=headers_of(event),
            )
            producer.commit_transaction(30)
        written = {place: 9 if more else to for place, to in written_to(own_settings, ids).items()}
        ledger._read(written)
        sums.append(
            [(one.produced, one.landed, one.lost) for one, _ in ledger.settle(written, rows)]
        )
    assert sums == [[(2, 1, 1)], [(4, 1, 3)], []]
