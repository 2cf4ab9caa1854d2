"""Does feedback find its run whenever it comes?"""

from datetime import timedelta
from itertools import permutations

from processors.quality.feedback import RUNS_REMEMBERED, WAITING_MAX, Runs, join
from schemas.events.agent.runs import RunFinished
from schemas.events.feedback import FeedbackGiven
from tests.support.processors import NOON, at, ident, of_run


def ended(run="r1", seconds=10.0):
    return of_run(
        RunFinished,
        run,
        run,
        seconds,
        outcome="completed",
        started_at=at(0),
        wait_ms=1,
        model="small",
        cost_usd="0.5",
    )


def given(name="f1", run="r1", seconds=20.0, score=1.0):
    return FeedbackGiven(
        id=ident(name),
        at=at(seconds),
        tenant="acme",
        session="s",
        run=ident(run),
        score=score,
        label="thumb",
        comment="fine",
        user="ada",
    )


def play(*events):
    runs, said = Runs(), []
    for event in events:
        runs, more = join(runs, event)
        said += more
    return runs, said


def test_feedback_is_joined_with_version_outcome_and_cost():
    _, [joined] = play(ended(), given())
    assert (
        joined.agent,
        joined.agent_version,
        joined.outcome,
        joined.model,
        str(joined.run_cost_usd),
    ) == ("support", 1, "completed", "small", "0.5")
    assert (joined.score, joined.label, joined.comment, joined.user, joined.delay_ms) == (
        1.0,
        "thumb",
        "fine",
        "ada",
        10_000,
    )


def test_before_the_end_it_waits_and_says_the_same():
    early = given(seconds=5)
    assert play(early)[1] == []
    assert play(early, ended())[1] == play(ended(), early)[1]
    assert (play(early, ended())[1][0].at, play(early, ended())[1][0].delay_ms) == (at(10), 0)


def test_weeks_later_and_several_times():
    late = given("f2", seconds=timedelta(weeks=5).total_seconds(), score=-1)
    _, said = play(ended(), given("f1"), late, given("f3", seconds=1))
    assert [joined.score for joined in said] == [1, -1, 1]
    assert said[1].at == NOON + timedelta(weeks=5)


def test_any_order_joins_the_same():
    events = [ended("a"), ended("b"), given("1", "a"), given("2", "b"), given("3", "a")]
    outcomes = {
        frozenset(joined.id for joined in play(*order)[1]) for order in permutations(events)
    }
    assert [len(ids) for ids in outcomes] == [3]


def test_memory_is_bounded_and_forgets_the_oldest():
    runs, _ = play(*(ended(str(n)) for n in range(RUNS_REMEMBERED + 1)))
    assert len(runs.ended) == RUNS_REMEMBERED
    assert ident("0").hex not in runs.ended
    runs, _ = play(*(given(str(n), "none") for n in range(WAITING_MAX + 1)))
    assert len(runs.waiting) == WAITING_MAX
    assert runs.waiting[0].id == ident("1")
