"""Settled records are counted once a minute, and losses are reported."""

from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from schemas.catalogue import event_classes
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import Codec, LocalIds
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams.config import Settings
from streams.engine.monitoring.telemetry import Metrics
from streams.operations import balance_worker
from streams.operations.balance import Minute
from streams.operations.balance_worker import Counted, Ledger, tell
from streams.operations.lag import Delay
from tests.sinks.clickhouse.test_rows import batch_of

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
CODEC = Codec(LocalIds(event_classes()))
IDS = {"weir.usage.tokens-used": "made1"}
NOTHING_WRONG = {"lost": 0, "doubled": 0}
USED = TokensUsed.topic()
LETTERS = DeadLettered.topic()


def letter(consumer: str, offset: int) -> bytes:
    return CODEC.encode(
        DeadLettered.about(
            consumer,
            offset,
            at=NOON,
            tenant="a",
            source=f"{USED}:0:{offset}",
            topic_name=USED,
            partition=0,
            offset=offset,
            consumer=consumer,
            reason="rejected",
        )
    )


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(
        Settings.model_construct(prefix=""), CODEC, now=lambda: NOON + timedelta(minutes=5)
    )
    for offset in range(4):
        made.take(USED, 0, offset, NOON_MS + offset)
    return made


def landed(*offsets: int):
    return lambda sql, given: [
        {"number": 0, "place": place, "times": 1, "landed_ms": NOON_MS + place + 40}
        for place in offsets
        if given["topic"] == USED
    ]


def figures(changed: list[tuple[Minute, int]]) -> list[tuple[int, ...]]:
    return [
        (one.produced, one.landed, one.dead_lettered, one.lost, longest)
        for one, longest in changed
        if one.topic == USED
    ]


def test_what_has_not_settled_waits_and_a_minute_grows(ledger):
    assert ledger.settle({(USED, 0): 0}, landed()) == []
    assert figures(ledger.settle({(USED, 0): 2}, landed(0, 1))) == [(2, 2, 0, 0, 40)]
    assert ledger.settle({(USED, 0): 2}, landed(0, 1)) == []
    assert figures(ledger.settle({(USED, 0): 9}, landed(0, 1, 2, 3))) == [(4, 4, 0, 0, 40)]


def test_only_the_sink_workers_own_letters_excuse_a_record(ledger):
    ledger.take(LETTERS, 0, 0, NOON_MS, letter("sink-clickhouse", 2))
    ledger.take(LETTERS, 0, 1, NOON_MS, letter("stage-session", 3))
    ledger.take(LETTERS, 0, 2, NOON_MS, b"no letter")
    assert figures(ledger.settle({(USED, 0): 4}, landed(0, 1))) == [(4, 2, 1, 1, 40)]


def test_minutes_of_long_ago_are_forgotten(ledger):
    ledger.settle({(USED, 0): 4}, landed(0, 1, 2, 3))
    ledger._now = lambda: NOON + timedelta(hours=3)
    ledger.settle({}, landed())
    assert not ledger._minutes


def test_what_could_not_be_kept_is_kept_at_the_next_turn(ledger, monkeypatch):
    kept = []
    away = [OSError("ClickHouse is away")]

    def append(url, database, table, names, rows):
        if away:
            raise away.pop()
        kept.extend((table, row[0], *row[3:5]) for row in rows)

    for name, made in (
        ("append_rows", append),
        ("delays", lambda settings: []),
        ("rows_of", lambda s, *a: landed(0, 1)(*a)),
        ("ids_of", lambda settings, topics: IDS),
        ("written_to", lambda settings, ids: {(USED, 0): 2}),
    ):
        monkeypatch.setattr(balance_worker, name, made)
    monkeypatch.setattr(ledger, "_read", lambda written: None)
    ledger._settings = Settings()
    with pytest.raises(OSError, match="away"):
        ledger.turn()
    assert ledger.turn() == Counted(
        [Minute(USED, 0, NOON, produced=2, landed=2)], NOTHING_WRONG, []
    )
    assert ledger.turn() == Counted([], NOTHING_WRONG, [])
    assert kept == [("balance", NOON, 2, 2)]


def test_the_alarm_is_a_sentence_once_and_numbers_for_two_hours(ledger, caplog, monkeypatch):
    """A row that is not in its table: told when it is counted, and shown by the numbers as long as
    it is remembered.
    """
    worker = SimpleNamespace(metrics=Metrics())
    rows = landed(0, 1, 3)
    for name, made in (
        ("append_rows", lambda *_: None),
        ("delays", lambda settings: [Delay("calls", 2, 1500)]),
        ("rows_of", lambda s, *a: rows(*a)),
        ("ids_of", lambda settings, topics: IDS),
        ("written_to", lambda settings, ids: {(USED, 0): 4}),
    ):
        monkeypatch.setattr(balance_worker, name, made)
    monkeypatch.setattr(ledger, "_read", lambda written: None)
    ledger._settings = Settings()
    now = ledger._now()

    def turn(after: timedelta) -> str:
        ledger._now = lambda: now + after
        counting = Future()
        counting.set_result(ledger.turn())
        caplog.clear()
        tell(worker, counting)
        return worker.metrics.text().decode()

    text = turn(timedelta())
    assert (
        "NOT BALANCED: 1 records lost, 0 doubled, first of them weir.tenant.usage[0] of "
        "2026-11-26 12:00" in caplog.text
    )
    assert (
        'weir_behind_seconds{consumer="calls"} 1.5' in text
        and 'weir_behind_records{consumer="calls"} 2' in text
    )
    assert 'weir_unbalanced_records{what="lost"} 1' in text
    assert (
        'weir_unbalanced_records{what="lost"} 1' in turn(timedelta(minutes=1)) and not caplog.text
    )
    turn(timedelta(hours=3))
    assert 'weir_unbalanced_records{what="lost"} 0' in turn(timedelta(hours=3))


def test_a_count_that_fails_is_tried_again_and_says_so(caplog):
    counting = Future()
    counting.set_exception(OSError("ClickHouse is away"))
    tell(SimpleNamespace(metrics=Metrics()), counting)
    assert "tried again in a minute: OSError: ClickHouse is away" in caplog.text


@pytest.mark.engine
def test_a_row_deleted_by_hand_and_one_landed_twice_are_told(
    clickhouse_url, ledger, caplog, monkeypatch
):
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    ledger._settings = Settings(clickhouse_url=clickhouse_url, clickhouse_database=name)
    sink = ClickHouseSink(clickhouse_url, name)
    batch = batch_of(
        *(
            TokensUsed(
                id=uuid4(),
                at=NOON,
                tenant="acme",
                session="s",
                run=uuid4(),
                agent="a",
                agent_version=1,
                model="m",
                provider="p",
                tokens=Tokens(),
            )
            for _ in range(4)
        )
    )
    place = {"number": batch.partitions[0], "first": batch.offsets[0]}
    ledger._waiting = {(USED, place["number"]): {offset: NOON_MS for offset in batch.offsets}}
    for token in ("once", "again"):
        sink.write(sink.prepare(batch), token)
    with connect(clickhouse_url, name) as client:
        client.command(
            "DELETE FROM token_usage WHERE kafka_offset != {first:UInt64}", parameters=place
        )
        client.command(
            "INSERT INTO token_usage SELECT * REPLACE (kafka_offset + 1 AS kafka_offset) FROM "
            "token_usage LIMIT 1"
        )
    monkeypatch.setattr(balance_worker, "delays", lambda settings: [])
    monkeypatch.setattr(balance_worker, "ids_of", lambda *_: {USED: batch.topic_id})
    monkeypatch.setattr(
        balance_worker, "written_to", lambda *_: {(USED, place["number"]): batch.offsets[-1] + 1}
    )
    monkeypatch.setattr(ledger, "_read", lambda written: None)
    worker = SimpleNamespace(metrics=Metrics())
    counting = Future()
    counting.set_result(ledger.turn())
    tell(worker, counting)
    assert "NOT BALANCED: 2 records lost, 1 doubled" in caplog.text
    with connect(clickhouse_url, name) as client:
        kept = client.query("SELECT produced, landed, lost, doubled FROM balance").result_rows
        client.command(f"DROP DATABASE {name}")
    assert kept == [(4, 2, 2, 1)]
