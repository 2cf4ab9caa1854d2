"""Drift alarms leave the pipeline once their hour is over."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.limits import Drift
from schemas.events.agent.runs import RunSettled
from schemas.events.operations import DeadLettered
from schemas.events.quality import DriftFound, HourProfiled
from streams.engine.in_memory import Local
from streams.topology import PIPELINE

NINE = datetime(2026, 5, 4, 9, tzinfo=UTC)
NOBODY = {"chat": None, "tool": None, "search": None}


def settled(nth: int, hour: int, **more) -> RunSettled:
    return RunSettled(
        **{
            "id": UUID(int=1_000 * hour + nth),
            "at": NINE + timedelta(hours=hour, seconds=nth),
            "session": "s",
            "tenant": "acme",
            "run": UUID(int=nth),
            "agent": "support",
            "outcome": "completed",
            "model": "small",
            "wait_ms": 100,
            "question_chars": 70,
            "answer_chars": 30,
            "script": "latin",
        }
        | more
    )


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


def hours(local: Local) -> list:
    said = local.send(
        *(settled(n, 0) for n in range(220)),
        *(settled(n, 1, script="cyrillic", wait_ms=5_000) for n in range(40)),
    )
    return (
        said
        + local.advance(NINE + timedelta(hours=2, minutes=4))
        + local.advance(NINE + timedelta(hours=2, minutes=5))
    )


def test_an_hour_that_is_unlike_the_ones_before_is_told_when_it_is_over():
    said = hours(Local(PIPELINE, ports=NOBODY))
    assert [(one.runs, one.script) for one in only(HourProfiled, said)] == [
        (220, {"latin": 220}),
        (40, {"cyrillic": 40}),
    ]
    found = {one.feature: one for one in only(DriftFound, said)}
    assert (
        found.keys() == {"script", "wait_ms"}
        and found["wait_ms"].ks == 1
        and found["script"].ks is None
    )
    assert found["script"].at == NINE + timedelta(hours=1) and found[
        "script"
    ].until == NINE + timedelta(hours=2)
    assert not only(DeadLettered, said)


def test_an_agent_that_does_not_want_it_is_left_alone():
    quiet = Agent(name="support", prompt="Be brief.", model="small", drift=Drift(enabled=False))
    said = hours(Local(PIPELINE, Definitions.of(quiet), NOBODY))
    assert only(HourProfiled, said) and not only(DriftFound, said)


def test_a_run_that_settles_after_its_hour_was_told_is_in_no_profile_and_no_dead_letter():
    local = Local(PIPELINE, ports=NOBODY)
    hours(local)
    assert local.send(settled(999, 0)) == [] == local.advance(NINE + timedelta(days=1))
