"""Does the chaos run find what is wrong, and kill what it says that it kills?"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from schemas.agent import RunFinished
from schemas.base import event_classes
from schemas.knowledge import ChunkPrepared, ChunkRetired
from schemas.usage import TokensUsed, UsageTotalled
from schemas.values import Tokens
from streams.chaos import check, plan
from streams.chaos.check import Findings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = ["kafka", "registry", "clickhouse", "qdrant", "deploy", "stage-tenant-0", "stage-session-0", "stage-session-1",
         "stage-document-0", "calls-0", "landing-clickhouse-0", "landing-qdrant-0", "live-0"]


def finished(run, session="s"):
    return RunFinished(id=uuid4(), at=NOON, tenant="t", session=session, run=run, agent="a", outcome="completed",
                       started_at=NOON, wait_ms=1)


def log_of(*events):
    kinds = {kind: [] for kind in event_classes().values()}
    for event in events:
        kinds[type(event)].append((0, event))
    return kinds


FIRST, SECOND, THIRD = uuid4(), uuid4(), uuid4()
ASKED = {FIRST: ("t/s", 1), SECOND: ("t/s", 2), THIRD: ("t/other", 3)}


@pytest.mark.parametrize("runs, found", [
    ([FIRST, SECOND, THIRD], {}),
    ([FIRST, SECOND], {"lost": 1}),
    ([FIRST, SECOND, SECOND, THIRD], {"doubled": 1}),
    ([SECOND, FIRST, THIRD], {"out_of_order": 1}),
    ([THIRD, FIRST, SECOND], {}),  # another session: no order between them
    ([], {"lost": 3}),
])
def test_outcomes_are_counted(runs, found):
    findings = Findings()
    check.check_log(log_of(*map(finished, runs)), ASKED, findings)
    assert +findings.counts == Counter(found)


def used(second):
    return TokensUsed(id=uuid4(), at=NOON + timedelta(seconds=second), tenant="t", session="s", run=uuid4(), agent="a",
                      agent_version=1, model="m", provider="p", tokens=Tokens())


def totalled(calls):
    return UsageTotalled(id=uuid4(), at=NOON, tenant="t", until=NOON + timedelta(minutes=1), calls=calls,
                         unpriced_calls=0, tokens=Tokens(), cost_usd=0)


@pytest.mark.parametrize("calls, found", [(2, {}), (1, {"unbalanced": 1}), (3, {"unbalanced": 1})])
def test_a_minute_must_hold_the_calls_of_the_log(calls, found):
    findings = Findings()
    check.check_windows(log_of(used(1), used(59), used(61), totalled(calls)), findings)
    assert +findings.counts == Counter(found)


def test_effects_made_twice_are_found():
    findings = Findings()
    check.check_effects({"a": 1, "b": 3}, findings)
    assert findings.counts["repeated_effects"] == 2


def test_rows_are_held_against_the_log():
    runs = [finished(FIRST), finished(SECOND)]
    rows = {"runs": [{"id": runs[0].id, "n": 2}]}
    findings = Findings()
    check.check_tables(log_of(*runs), lambda sql: rows.get(sql.split(" FROM ")[1].split()[0], []), findings)
    assert findings.counts["lost"] == 1 and findings.counts["doubled"] == 1


def test_the_last_word_on_a_chunk_stands():
    def chunk(kind, second, **more):
        return kind(id=uuid4(), at=NOON + timedelta(seconds=second), tenant="t", document="d", nth=0, **more)

    made = {"text": "x", "digest": "y"}
    assert check.chunks_of(log_of(chunk(ChunkPrepared, 0, **made))) == {("t", "d", 0)}
    assert check.chunks_of(log_of(chunk(ChunkPrepared, 0, **made), chunk(ChunkRetired, 1))) == set()
    assert check.chunks_of(log_of(chunk(ChunkRetired, 0), chunk(ChunkPrepared, 1, **made))) == {("t", "d", 0)}


def test_every_kind_is_killed_and_the_broker_seldom():
    chosen = Counter(plan.service_kind(name) for name in plan.choices(NAMES, 40, seed=7))
    assert chosen.keys() == plan.WEIGHTS.keys()
    assert chosen["kafka"] <= 40 // 15 and sum(chosen.values()) == 40
    assert list(plan.choices(NAMES, 40, seed=7)) == list(plan.choices(NAMES, 40, seed=7))


def test_a_kill_is_over_when_the_last_partition_moves():
    moves = plan.Moves(settings=None)  # type: ignore[arg-type]
    moves.seen["RequestCleared", 0] += [98.0, 99.9, 100.4]
    moves.seen["RequestCleared", 1] += [99.0, 101.5]
    moves.seen["RequestCleared", 2] += [90.0, 140.0]  # was quiet before: says nothing
    kills = [plan.Kill("stage-session-0", 100.0), plan.Kill("clickhouse", 100.0)]
    plan.measure_resumes(kills, moves)
    assert kills[0].resumed_s == pytest.approx(1.5) and kills[1].resumed_s is None
