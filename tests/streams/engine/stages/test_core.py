"""Does a stage's partition take everything or nothing, wake once, and come back from its changelog
the same?
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.definitions.kinds import Definitions, Tool
from schemas.events.base import UnprocessableError
from streams.engine.shapes import Call, Each, Fold, SessionGap, Step, Tumbling
from streams.engine.stages.core import Core
from tests.support.toy_pipelines import (
    COUNT,
    Count,
    Counted,
    Doubled,
    Grouped,
    Ping,
    Rang,
    append,
    at,
    count,
    double,
    grouping,
    none,
    ping,
    speak,
)

GROUP = grouping(Tumbling(timedelta(milliseconds=10)), grace_ms=5)
STAGE = (COUNT, GROUP, Step("double", Each(double)))

PINGS = st.builds(
    dict,
    ms=st.integers(-30, 60),
    n=st.integers(-3, 5),
    session=st.sampled_from(["a", "b", "c"]),
    sleep_ms=st.sampled_from([0, 0, 3, 20]),
)
ACTS = st.one_of(
    PINGS.map(lambda p: ("take", p)),
    st.integers(0, 120).map(lambda t: ("fire", t)),
    st.integers(0, 90).map(lambda t: ("idle", t)),
)


def do(core: Core, number: int, act) -> list:
    """One act on a core; what it said, with a poison's name for what it raised."""
    what, value = act
    if what == "fire":
        return core.fire(at(value))
    if what == "idle":
        return core.pass_time(at(value))
    try:
        return core.take(ping(number, **value))
    except UnprocessableError as error:
        return [str(error)]


def again(changelog, steps=STAGE) -> Core:
    core = Core(steps)
    for key, value in changelog.items():
        core.load(key, value)
    return core


def kept(changelog) -> dict:
    return {key: value for key, value in changelog.items() if value is not None}


@given(st.lists(ACTS, max_size=30), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_cuts_and_restarts_change_nothing(acts, cuts, restarts):
    whole, pieces, changelog = Core(STAGE), Core(STAGE), {}
    for number, act in enumerate(acts):
        assert do(pieces, number, act) == do(whole, number, act)
        assert pieces.next_wake == whole.next_wake
        if number in cuts | restarts:
            changelog.update(pieces.changes())
        if number in restarts:
            pieces = again(changelog)
    changelog.update(pieces.changes())
    assert kept(changelog) == kept(dict(whole.changes()))
    assert (pieces.seq, pieces.watermark, pieces.counts) == (
        whole.seq,
        whole.watermark,
        whole.counts,
    )


@given(
    st.lists(PINGS.filter(lambda p: p["session"] != "b"), max_size=8),
    st.lists(PINGS.map(lambda p: p | {"session": "b"}), max_size=8),
    st.randoms(),
)
def test_any_interleaving_of_keys_leaves_each_keys_story_unchanged(some, others, rng):
    acts = [("x", number, p) for number, p in enumerate(some)] + [
        ("b", 100 + n, p) for n, p in enumerate(others)
    ]
    mixed, rest = [], {who: [act for act in acts if act[0] == who] for who in "xb"}
    while any(rest.values()):
        mixed.append(rest[rng.choice([who for who in "xb" if rest[who]])].pop(0))

    def story(order, session):
        core = Core((COUNT, Step("double", Each(double))))
        told = [event for _, number, p in order for event in do(core, number, ("take", p))]
        told += core.fire(at(1_000))
        return [event for event in told if getattr(event, "session", None) == session]

    for session in "abc":
        assert story(mixed, session) == story(acts, session)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.sampled_from("ab")), max_size=20)
)
def test_a_poison_leaves_no_trace(given_pings):
    """As if the events that raised had never come."""
    core, clean = Core(STAGE), Core(STAGE)
    for number, (ms, n, session) in enumerate(given_pings):
        event = ping(number, ms, n, session, sleep_ms=n)
        try:
            heard = core.take(event)
        except UnprocessableError:
            assert core.seq == clean.seq and core.drain_late() == []
            continue
        assert heard == clean.take(event)
        assert core.drain_late() == clean.drain_late()
    assert kept(dict(core.changes())) == kept(dict(clean.changes()))
    assert core.fire(at(200)) == clean.fire(at(200))


def test_what_a_step_says_another_of_the_stage_takes_at_once():
    core = Core(STAGE)
    counted, doubled = core.take(ping(1, n=4))
    assert (type(counted), counted.total) == (Counted, 4)
    assert (type(doubled), doubled.total, doubled.cause) == (Doubled, 8, counted.id)
    assert core.seq == 1 and core.watermark == at(0)


def test_nothing_changed_is_nothing_written():
    core = Core(STAGE)
    assert core.changes() == []
    core.take(ping(1))
    assert [key for key, _ in core.changes()] == [
        b'["fold","count","acme/s1"]',
        b'["window","group","acme/s1",%d,%d]' % span_ms(0),
        b'["core"]',
    ]
    assert core.changes() == []


def span_ms(start):
    first = int(at(start).timestamp() * 1000)
    return first, first + 10


def test_a_state_that_is_none_is_forgotten():
    core = Core((COUNT,))
    core.take(ping(1, n=5))
    core.changes()
    core.take(ping(2, n=-5))
    assert core.changes()[0] == (b'["fold","count","acme/s1"]', None)
    assert core.take(ping(3, n=1))[0].total == 1


class TestTimers:
    def test_they_fire_in_their_order_and_once(self):
        core = Core((COUNT,))
        core.take(ping(1, 0, sleep_ms=30, session="late"))
        core.take(ping(2, 0, sleep_ms=10, session="soon"))
        assert core.next_wake == at(10)
        assert core.fire(at(9)) == []
        woke, counted, second, _ = core.fire(at(30))
        assert (type(woke), woke.at, woke.session, woke.step_name) == (
            Rang,
            at(10),
            "soon",
            "count",
        )
        assert (counted.cause, counted.total) == (woke.id, -1)
        assert second.session == "late" and core.next_wake is None and core.fire(at(99)) == []
        assert core.seq == 4

    def test_a_new_time_replaces_the_old_one(self):
        core = Core((COUNT,))
        core.take(ping(1, 0, sleep_ms=10))
        core.take(ping(2, 5, sleep_ms=10))
        assert core.next_wake == at(15) and core.fire(at(14)) == []
        assert len(core.fire(at(15))) == 2

    def test_the_same_timer_has_the_same_id_in_a_replay(self):
        first, second = Core((COUNT,)), Core((COUNT,))
        for core in (first, second):
            core.take(ping(1, 0, sleep_ms=10))
        assert first.fire(at(10)) == second.fire(at(5_000))

    def test_a_state_that_keeps_its_time_is_woken_for_it_once_also_after_a_restart(self):
        def ignore(state: Count, event: Ping | Rang) -> tuple[Count, list[Counted]]:
            woken = isinstance(event, Rang)
            return (
                replace(state, rung=state.rung + 1) if woken else replace(state, wake_at=at(10))
            ), []

        steps = (Step("count", Fold(Count, ignore, wakes=Rang)),)
        core, changelog = Core(steps), {}
        core.take(ping(1))
        assert len(core.fire(at(10))) == 1 and core.next_wake is None
        changelog.update(core.changes())
        assert again(changelog, steps).fire(at(99)) == []

    def test_one_that_raises_is_done_with_and_reported_and_others_fire(self):
        def fail(state: Count, event: Ping | Rang) -> tuple[Count | None, list[Counted]]:
            if isinstance(event, Rang) and event.session == "bad":
                raise ZeroDivisionError("a mistake")
            return count(state, event)

        core = Core((Step("count", Fold(Count, fail, wakes=Rang)),))
        core.take(ping(1, 0, sleep_ms=10, session="bad"))
        core.take(ping(2, 0, sleep_ms=11, session="good"))
        assert [event.session for event in core.fire(at(20))] == ["bad", "good", "good"]
        [failed] = core.drain_failed()
        assert (failed.step, failed.key, failed.at, str(failed.error)) == (
            "count",
            "acme/bad",
            at(10),
            "a mistake",
        )
        assert core.drain_failed() == [] and core.next_wake is None


class TestMistakesInATable:
    def test_an_event_that_its_function_does_not_declare(self):
        def wrong(event: Counted) -> list[Grouped]:
            return list(double(event))

        core = Core((Step("double", Each(wrong)),))
        with pytest.raises(TypeError, match="double wrote a Doubled, which its function"):
            core.take(ping(1).then(Counted, total=1))

    def test_a_fused_event_that_changes_its_key(self):
        def move(event: Ping) -> list[Counted]:
            return [event.then(Counted, total=1, session="other")]

        steps = (
            Step("move", Each(move)),
            Step("double", Each(double)),
        )
        with pytest.raises(ValueError, match="must keep its key"):
            Core(steps).take(ping(1))

    def test_a_call_in_a_stage(self):
        def ask(event: Ping) -> Ping:
            return event

        def tell(event: Ping, answer: int) -> list[Counted]:
            return [event.then(Counted, total=answer)]

        with pytest.raises(TypeError, match="call runner"):
            Core((Step("ask", Call(ask, "chat", tell)),))


def test_a_window_that_cannot_speak_is_reported_with_its_total_and_others_speak():
    def close(key, start, end, numbers) -> Iterable[Grouped]:
        if 13 in numbers:
            raise ZeroDivisionError("a mistake")
        return speak(key, start, end, numbers)

    core = Core((replace(GROUP, by=replace(GROUP.by, close=close)),))
    core.take(ping(1, 0, n=13, session="bad"))
    core.take(ping(2, 0, n=1, session="good"))
    assert [event.who for event in core.pass_time(at(50))] == ["acme/good"]
    [failed] = core.drain_failed()
    assert (failed.step, failed.key, failed.at, failed.subject) == (
        "group",
        "acme/bad",
        at(0),
        "[13]",
    )
    assert core.pass_time(at(99)) == []


def test_a_window_that_spoke_is_gone_also_when_the_next_event_is_undone():
    core, changelog = Core(STAGE), {}
    core.take(ping(1, 0, n=1))
    changelog.update(core.changes())
    assert Grouped in map(type, core.take(ping(2, 50, n=1, session="other")))
    with pytest.raises(UnprocessableError):
        core.take(ping(3, 51, n=12))
    changelog.update(core.changes())
    assert [changelog[key] for key in changelog if b'"window","group","acme/s1"' in key] == [None]


def test_windows_of_several_steps_speak_in_the_order_of_their_ends():
    steps = tuple(
        replace(grouping(Tumbling(timedelta(milliseconds=size))), name=name)
        for name, size in (("long", 10), ("short", 2))
    )
    core = Core(steps)
    core.take(ping(1, 0))
    assert [(group.start, group.end) for group in core.pass_time(at(20))] == [
        (at(0), at(2)),
        (at(0), at(10)),
    ]


def test_time_moves_within_one_take_too():
    """A step says two events; the first moves the watermark past the session that the second would
    have joined.
    """

    def scatter(event: Counted) -> list[Ping]:
        moments = (100, 5) if event.total > 1 else (0,)
        return [event.then(Ping, n, at=at(ms), n=ms) for n, ms in enumerate(moments)]

    core = Core(
        (
            Step("scatter", Each(scatter)),
            grouping(SessionGap(timedelta(milliseconds=10))),
        )
    )
    for total in (1, 2):
        said = core.take(ping(total).then(Counted, total=total))
    assert [event.numbers for event in said if isinstance(event, Grouped)] == [(0,)]
    assert [event.n for _, event in core.drain_late()] == [5]


def test_a_late_event_is_reported_and_other_steps_take_it():
    core = Core((COUNT, GROUP))
    core.take(ping(1, 100))
    assert [event.total for event in core.take(ping(2, 0))] == [2]
    assert core.drain_late() == [("group", ping(2, 0))] and core.drain_late() == []
    assert core.counts["group"]["accepted"] == 1 and core.counts["group"]["late"] == 1


def test_a_step_may_be_given_the_definitions():
    snapshots = [Definitions(), Definitions.of(Tool(name="lookup", url="http://t"))]

    def see(event: Ping, definitions: Definitions) -> list[Counted]:
        return [event.then(Counted, total=len(definitions.bodies))]

    core = Core((Step("see", Each(see)),), definitions=lambda: snapshots[0])
    assert core.take(ping(1))[0].total == 0
    snapshots.pop(0)
    assert core.take(ping(2))[0].total == 1


def test_cells_of_steps_that_left_the_table_are_left_out():
    core, changelog = Core(STAGE), {}
    core.take(ping(1, n=5, sleep_ms=3))
    changelog.update(core.changes())
    assert again(changelog, (GROUP,)).counts == core.counts


def test_a_total_that_begins_by_a_function_is_restored_by_its_return_type():
    assert append(none(), ping(1, n=3)) == (3,)
    core, changelog = Core((GROUP,)), {}
    core.take(ping(1, n=3))
    changelog.update(core.changes())
    assert again(changelog, (GROUP,)).pass_time(at(20))[0].numbers == (3,)
