"""Do windows say what a brute-force reading of their definition says, whatever the order of
events?
"""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from streams.engine.shapes import Hopping, SessionGap, Tumbling, Window
from streams.engine.stages.core import Core
from streams.engine.stages.windows import hops, touched
from tests.support.toy_pipelines import append, at, grouping, none, ping, speak

STREAMS, PARTS = 10_000, 10
NEVER = -(10**15)


def ms(length: int) -> timedelta:
    return timedelta(milliseconds=length)


class Oracle:
    """The definition, read literally: every window keeps its events and is looked at after every
    step of time.
    """

    def __init__(self, spans, grace: int):
        self.spans, self.grace, self.watermark = spans, grace, NEVER
        self.windows, self.late, self.taken = (
            [],
            [],
            0,
        )  # a window: [key, start, end, numbers, times]

    def take(self, key: str, when: int, number: int) -> list[tuple]:
        self.taken += 1
        joined = (
            self._join_session(key, when, number)
            if isinstance(self.spans, SessionGap)
            else (self._join_all(key, when, number))
        )
        if not joined:
            self.late.append(number)
        return self.pass_time(when)

    def _join_all(self, key: str, when: int, number: int) -> bool:
        size = self.spans.size // ms(1)
        step = self.spans.step // ms(1) if isinstance(self.spans, Hopping) else size
        mine = [
            s
            for s in range((when - size) // step * step - step, when + step, 1)
            if s % step == 0 and s <= when < s + size
        ]
        still_open = [s for s in mine if s + size + self.grace > self.watermark]
        for start in still_open:
            window = next((w for w in self.windows if w[:2] == [key, start]), None)
            if window is None:
                self.windows.append(window := [key, start, start + size, [], []])
            window[3].append(number)
        return bool(still_open) or not mine

    def _join_session(self, key: str, when: int, number: int) -> bool:
        gap = self.spans.gap // ms(1)
        mine = [
            w
            for w in self.windows
            if w[0] == key
            and w[2] + self.grace > self.watermark
            and any(abs(when - other) < gap for other in w[4])
        ]
        if not mine and when + gap + self.grace <= self.watermark:
            return False
        times = [when] + [other for w in mine for other in w[4]]
        numbers = [n for w in mine for n in w[3]] + [number]
        self.windows = [w for w in self.windows if w not in mine]
        self.windows.append([key, min(times), max(times) + gap, numbers, times])
        return True

    def pass_time(self, to: int) -> list[tuple]:
        self.watermark = max(self.watermark, to)
        over = sorted(
            (w for w in self.windows if w[2] + self.grace <= self.watermark),
            key=lambda w: (w[2], w[1], w[0]),
        )
        self.windows = [w for w in self.windows if w not in over]
        return [(w[0], at(w[1]), at(w[2]), sorted(w[3])) for w in over]


def a_stream(rng: random.Random):
    """Spans, grace, and steps: ("take", key, time, number) or ("idle", time)."""
    size = rng.choice([1, 2, 3, 5, 7, 10])
    spans = rng.choice(
        [Tumbling(ms(size)), Hopping(ms(size), ms(rng.randint(1, 12))), SessionGap(ms(size))]
    )
    grace, keys = rng.choice([0, 0, 1, 4, 20]), [f"s{n}" for n in range(rng.choice([1, 2, 4]))]
    shape = rng.choice(["walk", "shuffled", "equal", "jumps", "backwards", "idle"])
    now, steps = rng.choice([0, 0, -5_000]), []
    for number in range(rng.randint(1, 24)):
        match shape:
            case "walk":
                now += rng.randint(-3, 5)
            case "shuffled":
                now = rng.randint(-20, 40)
            case "equal":
                now += rng.choice([0, 0, 0, 1, size])
            case "jumps":
                now += rng.choice([0, 1, 1, 50, -30, 1_000])
            case "backwards":
                now -= rng.randint(-1, 3)
            case "idle":
                now += rng.choice([0, 1, 2, 10 * size])
        idle = shape == "idle" and rng.random() < 0.25
        steps.append(
            ("idle", now + rng.randint(-2, 30)) if idle else ("take", rng.choice(keys), now, number)
        )
    return spans, grace, steps


def said(events) -> list[tuple]:
    return [
        (event.who.partition("/")[2], event.start, event.end, sorted(event.numbers))
        for event in events
    ]


def run(rng: random.Random) -> None:
    spans, grace, steps = a_stream(rng)
    table, oracle = (grouping(spans, grace),), Oracle(spans, grace)
    core, changelog, spoken, late = Core(table), {}, [], []
    for step in steps:
        if step[0] == "idle":
            heard, expected = core.pass_time(at(step[1])), oracle.pass_time(step[1])
        else:
            _, key, when, number = step
            heard, expected = (
                core.take(ping(number, when, number, key)),
                oracle.take(key, when, number),
            )
        assert said(heard) == expected, (spans, grace, steps, step)
        spoken += [(event.who, event.start, event.end) for event in heard]
        late += [event.n for _, event in core.drain_late()]
        if rng.random() < 0.2:
            changelog.update(core.changes())
            if rng.random() < 0.5:
                core = restored(table, changelog)
    counts = core.counts["group"]
    assert late == oracle.late and counts["late"] == len(late)
    assert counts["accepted"] + counts["late"] == oracle.taken
    assert isinstance(spans, SessionGap) or len(set(spoken)) == len(spoken)


def restored(table, changelog) -> Core:
    core = Core(table)
    for key, value in changelog.items():
        core.load(key, value)
    return core


@pytest.mark.parametrize("part", range(PARTS))
def test_windows_equal_the_oracle(part):
    for number in range(STREAMS // PARTS):
        run(random.Random(f"{part}/{number}"))


@pytest.mark.parametrize(
    "when, size, step, starts",
    [
        (0, 10, 10, [0]),
        (9, 10, 10, [0]),
        (10, 10, 10, [10]),
        (-1, 10, 10, [-10]),
        (12, 10, 5, [5, 10]),
        (12, 10, 4, [4, 8, 12]),  # a step that does not divide the size
        (13, 2, 10, []),  # a step longer than the size leaves moments in no window
    ],
)
def test_hops(when, size, step, starts):
    assert hops(when, size, step) == [(start, start + size) for start in starts]


@pytest.mark.parametrize(
    "when, found",
    [
        (4, []),
        (6, [(10, 20)]),
        (15, [(10, 20)]),
        (19, [(10, 20)]),
        (20, []),
        (26, [(30, 40)]),
        (25, []),
    ],
)
def test_touched(when, found):
    assert touched(((10, 20), (30, 40)), when, gap_ms=5) == tuple(found)


def test_an_event_between_two_sessions_joins_them():
    core = Core((grouping(SessionGap(ms(10))),))
    core.take(ping(1, 0, n=1))
    core.take(ping(2, 15, n=2))  # watermark 15: the first session was over at 10
    assert said(core.pass_time(at(24))) == []
    core = Core((grouping(SessionGap(ms(10)), grace_ms=100),))
    for number, when in enumerate([0, 15, 8]):
        core.take(ping(number, when, n=number))
    assert said(core.pass_time(at(125))) == [("s1", at(0), at(25), [0, 1, 2])]


@pytest.mark.parametrize(
    "spans",
    [
        Tumbling(ms(0)),
        Tumbling(ms(-1)),
        Tumbling(timedelta(microseconds=1500)),
        Hopping(ms(0), ms(1)),
        Hopping(ms(1), ms(0)),
        Hopping(ms(1), ms(-5)),
        SessionGap(ms(0)),
        SessionGap(ms(-1)),
    ],
)
def test_a_length_that_is_none_is_refused(spans):
    with pytest.raises(ValueError, match="at least 1.*timedelta"):
        Core((grouping(spans),))


def test_a_negative_grace_and_sessions_without_merge_are_refused():
    with pytest.raises(ValueError, match="grace must be"):
        Core((grouping(Tumbling(ms(1)), grace_ms=-1),))
    step = grouping(SessionGap(ms(1)))
    with pytest.raises(ValueError, match="merge"):
        Core((replace(step, by=Window(none, append, speak, SessionGap(ms(1)))),))
