"""The chaos run finds faults, and kills what it reports as killed."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest

from schemas.catalogue import event_classes
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import RunFinished, ToolUncertain
from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from schemas.events.usage import TokensUsed, UsageTotalled
from schemas.events.values import Tokens
from schemas.wire.codec import HEAD, Codec, LocalIds
from schemas.wire.record_types import RecordTypes
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.engine.in_memory import Local
from streams.lab.chaos import check, environment, kill_plan
from streams.lab.chaos.check import Findings
from streams.lab.chaos.step_boundaries import BOUNDARIES
from streams.topology import PIPELINE

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = [
    "kafka",
    "registry",
    "clickhouse",
    "qdrant",
    "deploy",
    "stage-tenant-0",
    "stage-session-0",
    "stage-session-1",
    "stage-document-0",
    "calls-0",
    "sink-clickhouse-0",
    "sink-qdrant-0",
    "live-0",
]


def finished(run, session="s"):
    return RunFinished(
        id=uuid4(),
        at=NOON,
        tenant="t",
        session=session,
        run=run,
        agent="a",
        outcome="completed",
        started_at=NOON,
        wait_ms=1,
    )


def log_of(*events):
    kinds = {kind: [] for kind in event_classes().values()}
    for event in events:
        kinds[type(event)].append((0, event))
    return kinds


FIRST = uuid4()
SECOND = uuid4()
THIRD = uuid4()
ASKED = {FIRST: ("t/s", 1), SECOND: ("t/s", 2), THIRD: ("t/other", 3)}


@pytest.mark.parametrize(
    "runs, found",
    [
        ([FIRST, SECOND, THIRD], {}),
        ([FIRST, SECOND], {"lost": 1}),
        ([FIRST, SECOND, SECOND, THIRD], {"doubled": 1}),
        ([SECOND, FIRST, THIRD], {"out_of_order": 1}),
        ([THIRD, FIRST, SECOND], {}),  # another session: no order between them
        ([], {"lost": 3}),
    ],
)
def test_outcomes_are_counted(runs, found):
    findings = Findings()
    check.check_log(log_of(*map(finished, runs)), ASKED, findings)
    assert +findings.counts == Counter(found)


def test_a_run_that_is_told_to_come_later_overtakes_nobody():
    busy = finished(THIRD).model_copy(update={"outcome": "failed", "reason": "session_busy"})
    asked = {THIRD: ("t/s", 3), FIRST: ("t/s", 1), SECOND: ("t/s", 2)}
    findings = Findings()
    check.check_log(log_of(busy, finished(FIRST), finished(SECOND)), asked, findings)
    assert not +findings.counts


@pytest.fixture(scope="module")
def company():
    """Ten requests to the two agents of the chaos run, in memory: what was said, who was asked
    what, what was done.
    """
    outside = environment.World(1, slow_s=0.005)
    http = httpx.AsyncClient()
    local = Local(
        PIPELINE,
        Definitions.of(*environment.definitions(outside.url)),
        {
            "chat": ModelClient(http_sender(http, str)),
            "tool": ToolRunner(ToolContext(http, http), str),
            "search": None,
        },
    )
    try:
        requests = [environment.asking(number, 4) for number in range(10)]
        said = [event for one in requests for event in local.send(one)]
        yield (
            log_of(*said),
            {one.id: (one.session, n) for n, one in enumerate(requests)},
            outside.effects,
        )
    finally:
        local.close()
        outside.shutdown()
        outside.server_close()


def test_each_agent_of_the_chaos_run_ends_as_it_should(company):
    log, asked, effects = company
    findings = Findings()
    assert check.check_ends(log, asked, effects, findings) == {
        "completed": 8,
        "failed: node_failed": 2,
    }
    check.check_log(log, asked, findings)
    check.check_effects(effects, findings)
    assert not +findings.counts
    assert Counter(tool for tool, _ in effects) == {
        "charge": 6,
        "reserve": 4,
        "pay": 2,
        "release": 2,
    }


@pytest.mark.parametrize(
    "done, words",
    [
        (("charge", 1), "a call that was never made"),
        (("pay", 3), "a call that was never made"),
        (("release", 9), "left something behind"),
    ],
)
def test_what_was_not_done_and_is_not_said_is_found(company, done, words):
    log, asked, effects = company
    findings = Findings()
    check.check_ends(log, asked, {what: n for what, n in effects.items() if what != done}, findings)
    assert findings.counts == {"unexpected": 1} and words in findings.words[0]


def test_a_call_whose_effect_nobody_knows_excuses_its_run(company):
    log, asked, effects = company
    [run] = [run for run, (_, number) in asked.items() if number == 3]
    unsure = ToolUncertain(
        id=uuid4(),
        at=NOON,
        tenant="t",
        session="s",
        run=run,
        agent="a",
        step=1,
        call="c",
        tool="pay",
        detail="",
        started_at=NOON,
    )
    ends = [
        (
            p,
            end.model_copy(update={"outcome": "failed", "reason": "node_failed"})
            if end.run == run
            else end,
        )
        for p, end in log[RunFinished]
    ]
    for more, found in (([], {"unexpected": 2}), ([(0, unsure)], {"unexpected": 1})):
        findings = Findings()
        check.check_ends(log | {RunFinished: ends, ToolUncertain: more}, asked, effects, findings)
        assert (
            findings.counts == found
        )  # what it reserved was not given back, which its end does not say


def used(second):
    return TokensUsed(
        id=uuid4(),
        at=NOON + timedelta(seconds=second),
        tenant="t",
        session="s",
        run=uuid4(),
        agent="a",
        agent_version=1,
        model="m",
        provider="p",
        tokens=Tokens(),
    )


def totalled(calls):
    return UsageTotalled(
        id=uuid4(),
        at=NOON,
        tenant="t",
        until=NOON + timedelta(minutes=1),
        calls=calls,
        unpriced_calls=0,
        tokens=Tokens(),
        cost_usd=0,
    )


@pytest.mark.parametrize("calls, found", [(2, {}), (1, {"unbalanced": 1}), (3, {"unbalanced": 1})])
def test_a_minute_must_hold_the_calls_of_the_log(calls, found):
    findings = Findings()
    check.check_windows(log_of(used(1), used(59), used(61), totalled(calls)), findings)
    assert +findings.counts == Counter(found)


def test_effects_made_twice_are_found():
    findings = Findings()
    check.check_effects({("charge", 1): 1, ("charge", 2): 3}, findings)
    assert findings.counts["repeated_effects"] == 2


def test_rows_are_held_against_the_log():
    runs = [finished(FIRST), finished(SECOND)]
    rows = {"runs": [{"id": runs[0].id, "n": 2}]}
    findings = Findings()
    check.check_tables(
        log_of(*runs), lambda sql: rows.get(sql.split(" FROM ")[1].split()[0], []), findings
    )
    assert findings.counts["lost"] == 1 and findings.counts["doubled"] == 1


def test_the_last_word_on_a_chunk_stands():
    def chunk(kind, second, **more):
        return kind(
            id=uuid4(), at=NOON + timedelta(seconds=second), tenant="t", document="d", nth=0, **more
        )

    made = {"text": "x", "digest": "y"}
    assert check.chunks_of(log_of(chunk(ChunkPrepared, 0, **made))) == {("t", "d", 0)}
    assert check.chunks_of(log_of(chunk(ChunkPrepared, 0, **made), chunk(ChunkRetired, 1))) == set()
    assert check.chunks_of(log_of(chunk(ChunkRetired, 0), chunk(ChunkPrepared, 1, **made))) == {
        ("t", "d", 0)
    }


def test_each_boundary_is_counted_by_a_name_of_its_own():
    assert len({boundary.name for boundary in BOUNDARIES}) == len(BOUNDARIES)


def test_every_kind_is_killed_and_the_broker_seldom():
    chosen = Counter(kill_plan.service_kind(name) for name in kill_plan.choices(NAMES, 40, seed=7))
    assert chosen.keys() == kill_plan.WEIGHTS.keys()
    assert chosen["kafka"] <= 40 // 15 and sum(chosen.values()) == 40
    assert list(kill_plan.choices(NAMES, 40, seed=7)) == list(kill_plan.choices(NAMES, 40, seed=7))


def test_the_slowest_come_first_and_what_was_not_measured_not_at_all():
    kills = [
        kill_plan.Kill("calls-0", 1.0, "ToolCalled", 2.0),
        kill_plan.Kill("calls-1", 2.5, resumed_s=3.004),
        kill_plan.Kill("kafka", 9.0),
    ]
    assert [(one["service"], one["at"], one["resumed_s"]) for one in kill_plan.slowest(kills)] == [
        ("calls-1", "1970-01-01T00:00:02.500+00:00", 3.0),
        ("calls-0", "1970-01-01T00:00:01.000+00:00", 2.0),
    ]


def test_a_kill_is_over_when_the_last_partition_moves():
    moves = kill_plan.ProgressMonitor(settings=None)  # type: ignore[arg-type]
    moves.seen["RequestCleared", 0] += [98.0, 99.9, 100.4]
    moves.seen["RequestCleared", 1] += [99.0, 101.5]
    moves.seen["RequestCleared", 2] += [90.0, 140.0]  # was quiet before: says nothing
    moves.seen["RequestCleared", 3] += [99.0]  # nothing more came to it: says nothing either
    kills = [kill_plan.Kill("stage-session-0", 100.0), kill_plan.Kill("clickhouse", 100.0)]
    kill_plan.measure_resumes(kills, moves)
    assert kills[0].resumed_s == pytest.approx(1.5) and kills[1].resumed_s is None


@pytest.mark.parametrize("kind", [RunFinished, TokensUsed])
def test_a_record_that_is_no_event_is_left_to_its_dead_letter(kind):
    codec = Codec(LocalIds(event_classes()))
    junk = SimpleNamespace(
        topic=lambda: kind.topic(), headers=lambda: [], value=lambda: HEAD.pack(0, 999) + b"x"
    )
    assert check.readable(codec, RecordTypes("", [kind]), junk) == []
