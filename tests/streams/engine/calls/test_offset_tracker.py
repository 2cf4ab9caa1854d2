"""Does the tracker of a partition know after any crash exactly what is unfinished, within the
broker's limit?
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.calls.offset_tracker import (
    METADATA_CHARS_MAX,
    UNFINISHED_MAX,
    Tracker,
    decode,
    pack,
    unpack,
)

rising = st.lists(st.integers(0, 5_000_000), unique=True, max_size=400).map(sorted)


@given(rising)
def test_what_is_packed_comes_out_again(numbers):
    assert unpack(pack(numbers)) == numbers


@pytest.mark.parametrize(
    "numbers", [[], [0], [127, 128, 16_383, 16_384], list(range(3_000)), list(range(0, 9_000, 7))]
)
def test_edges_of_the_packing(numbers):
    assert unpack(pack(numbers)) == numbers


def test_foreign_metadata_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="written by something else"):
        Tracker.restored(7, '{"f": 1}', 2)


@pytest.mark.parametrize(
    "answered, offset, unfinished",
    [
        (set(), 10, set()),
        ({10, 11, 12, 13, 14}, 15, set()),
        ({12, 14}, 10, {10, 11, 13}),
        ({10, 12}, 11, {11}),
    ],
)
def test_commits_no_further_than_the_oldest_unfinished(answered, offset, unfinished):
    tracker = Tracker(10, positions=[0])
    assert all(tracker.take(offset) for offset in range(10, 15))
    at, metadata = tracker.commit(answered)
    assert (at, decode(at, metadata)[1]) == (offset, unfinished)


class Log:
    """A partition of questions and its answer topic; only committed metadata survives a crash."""

    def __init__(self, gaps: random.Random, length: int):
        self.offsets, offset = [], 0
        for _ in range(length):
            offset += gaps.choice([1, 1, 1, 2, 5])
            self.offsets.append(offset)
        self.answers: list[int] = []
        self.committed = 0, ""


def crash_and_recover(log: Log) -> Tracker:
    tracker = Tracker.restored(*log.committed, answer_topics=1)
    tracker.learn(log.answers[tracker.positions[0] :])
    return tracker


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 120), st.floats(0.5, 1), st.floats(0, 0.3))
def test_after_any_crash_exactly_the_unfinished_are_asked_again(seed, length, keep_offsets, crash):
    chance = random.Random(seed)
    log = Log(chance, length)
    tracker = crash_and_recover(log)
    while len(log.answers) < length:
        unread = [offset for offset in log.offsets if offset >= tracker.next_offset]
        for offset in unread[: chance.randint(0, 9)]:
            assert tracker.take(offset) == (offset not in log.answers)
        ready = set(chance.sample(list(tracker.waiting), chance.randint(0, len(tracker.waiting))))
        commit = tracker.commit(ready)
        log.answers += sorted(ready)
        tracker.positions[0] = len(log.answers)
        if (
            chance.random() <= keep_offsets
        ):  # else a killed broker kept the answers and lost the offsets
            log.committed = commit
            tracker.settle(ready)
        else:
            tracker = crash_and_recover(log)
        if chance.random() < crash:
            tracker = crash_and_recover(log)
    assert sorted(log.answers) == log.offsets


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_the_metadata_always_fits_and_is_always_enough(seed, stride):
    chance = random.Random(seed)
    log = Log(chance, 0)
    tracker, offset = Tracker(0, positions=[0]), 0
    for _ in range(60):
        while tracker.has_room() and chance.random() < 0.999:
            offset += chance.randint(1, stride)
            log.offsets.append(offset)
            tracker.take(offset)
        young = list(tracker.waiting)[chance.randint(0, 5) :]
        ready = set(chance.sample(young, len(young) // 3))
        marks = [o for o in list(tracker.waiting)[-40:] if o not in ready]
        marks = marks if tracker.can_start(marks) else []
        log.committed = tracker.commit(ready, marks)
        assert (
            len(log.committed[1]) <= METADATA_CHARS_MAX and len(tracker.waiting) <= UNFINISHED_MAX
        )
        log.answers += sorted(ready)
        tracker.settle(ready, marks)
        tracker.positions[0] = len(log.answers)
        if not tracker.has_room():
            oldest = set(list(tracker.waiting)[:200])
            log.committed = tracker.commit(oldest)
            assert len(log.committed[1]) <= METADATA_CHARS_MAX
            log.answers += sorted(oldest)
            tracker.settle(oldest)
    again = crash_and_recover(log)
    assert [o for o in log.offsets if o >= again.next_offset and again.take(o)] == sorted(
        {*log.offsets} - {*log.answers}
    )


def test_a_started_mark_lives_until_its_answer():
    tracker = Tracker(0, positions=[0])
    for offset in range(4):
        tracker.take(offset)
    committed = tracker.commit({0}, {2, 3})
    tracker.settle({0}, {2, 3})
    again = Tracker.restored(*committed, answer_topics=1)
    assert again.started == {2, 3}
    for offset in range(1, 4):
        again.take(offset)
    again.settle({2})
    assert again.started == {3}
    assert decode(*again.commit({3}))[2] == set()


def test_what_a_predecessor_left_is_not_forgotten_before_it_is_read_again():
    tracker = Tracker(10, positions=[0])
    for offset in range(10, 20):
        tracker.take(offset)
    again = Tracker.restored(*tracker.commit({11, 12, 13, 16, 19}), answer_topics=1)
    again.take(10)
    later = Tracker.restored(*again.commit({10}), answer_topics=1)
    assert [offset for offset in range(11, 20) if later.take(offset)] == [14, 15, 17, 18]
