"""Batches are cut by size and age, and are replayed exactly as they were recorded."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.sinks.batches import (
    PASSED_S,
    BatchRanges,
    Committed,
    Fate,
    Lane,
    Limits,
    Partition,
    Range,
    RangeLostError,
    committed_in,
    fate_of,
    metadata_of,
    next_batch,
    replayed,
)
from streams.engine.sinks.recovery import recover

LIMITS = Limits(rows=3, size=100)
A: Partition = ("a", 0)
B: Partition = ("b", 1)
BOTH = BatchRanges({A: Range(0, 4), B: Range(7, 7)}, "e")


@dataclass(frozen=True)
class Record:
    """As much of a Kafka message as a lane looks at."""

    at: int
    size: int = 1

    def offset(self) -> int:
        return self.at

    def __len__(self) -> int:
        return self.size


def lane_with(*records: Record, place: Partition = A, now: float = 0.0) -> Lane:
    lane = Lane(*place)
    for record in records:
        lane.add(record, now)
    return lane


def offsets_of(batch) -> dict[Partition, list[int]] | None:
    return batch and {
        place: [record.offset() for record in messages]
        for place, messages in batch.messages.items()
    }


@pytest.mark.parametrize(
    "records, taken",
    [
        ([], None),
        ([Record(4)], [4]),
        ([Record(4), Record(6), Record(9), Record(10)], [4, 6, 9]),  # offsets have gaps
        ([Record(4, 60), Record(5, 60)], [4]),  # too many bytes for one
        ([Record(4, 500), Record(5)], [4]),  # one that is too large alone still goes
        ([Record(4, 30), Record(5, 30), Record(6, 30), Record(7, 30)], [4, 5, 6]),
    ],
)
def test_a_batch_takes_what_fits(records, taken):
    batch = next_batch([lane_with(*records)], LIMITS, "e", 1.0)
    assert offsets_of(batch) == (None if taken is None else {A: taken})


def test_a_batch_takes_what_waits_longest_first_and_the_rest_waits_on():
    older = lane_with(Record(7), place=B, now=1.0)
    newer = lane_with(*map(Record, range(5)), now=2.0)
    batch = next_batch([newer, older], LIMITS, "e", 3.0)
    assert offsets_of(batch) == {B: [7], A: [0, 1]}
    assert batch.recorded == BatchRanges({A: Range(0, 1), B: Range(7, 7)}, "e")
    assert offsets_of(next_batch([newer, older], LIMITS, "e", 3.0)) == {A: [2, 3, 4]}
    assert next_batch([newer, older], LIMITS, "e", 3.0) is None


def test_a_record_that_does_not_fit_beside_others_keeps_its_age():
    first = lane_with(Record(0, 60), now=1.0)
    second = lane_with(Record(7, 60), place=B, now=2.0)
    assert offsets_of(next_batch([first, second], LIMITS, "e", 9.0)) == {A: [0]}
    assert second.since == 2.0


def test_the_metadata_of_the_largest_batch_is_what_the_broker_takes():
    lanes = [
        lane_with(Record(10**15), place=(f"weir.some-domain.some-event-{number}", 100))
        for number in range(200)
    ]
    batch = next_batch(lanes, Limits(1_000), "e" * 8, 1.0)
    assert 20 < len(batch.messages) < 200
    assert len(batch.recorded.metadata().encode()) <= 4_096


def test_a_record_that_was_read_before_is_not_taken_twice():
    lane = lane_with(Record(1), Record(2), Record(2), Record(1))
    assert offsets_of(next_batch([lane], LIMITS, "e", 5.0)) == {A: [1, 2]}


RANGES = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 100)),
    st.builds(Range, st.integers(0, 2**62), st.integers(0, 2**62), st.just("id")),
    min_size=1,
    max_size=5,
)


@given(RANGES, st.text(max_size=20), st.text(max_size=22))
def test_metadata_keeps_a_batch_and_the_topic(ranges, epoch, topic_id):
    made = BatchRanges(ranges, epoch)
    for place in ranges:
        assert committed_in(place, 3, made.metadata()) == Committed(3, made, "id")
    assert committed_in(A, 3, metadata_of(topic_id)) == Committed(3, None, topic_id)


@pytest.mark.parametrize(
    "metadata, another",
    [
        (None, False),
        ("", False),
        (metadata_of("id"), False),
        (metadata_of("before"), True),
        (BatchRanges({A: Range(1, 2, "id")}, "e").metadata(), False),
        (BatchRanges({A: Range(1, 2, "before")}, "e").metadata(), True),
    ],
)
def test_a_commit_of_another_topic_is_told_from_one_that_an_operator_made(metadata, another):
    assert committed_in(A, 5, metadata).is_of_another("id") == another


@pytest.mark.parametrize("metadata", ["junk", "{}", '{"r": {"t": 1}, "e": ""}', "[1]", '{"r": []}'])
def test_metadata_of_another_program_is_refused(metadata):
    with pytest.raises(RangeLostError, match="another program"):
        committed_in(A, 0, metadata)


def test_a_topic_made_anew_is_read_from_its_beginning_and_the_rest_of_its_batch_is_replayed():
    batch = BatchRanges({A: Range(0, 4, "before"), B: Range(7, 7, "b")}, "e")
    commits = {A: Committed(0, batch, "before"), B: Committed(7, batch, "b")}
    found = recover(commits, {"a": "now", "b": "b"}, lambda places: {})
    assert (found.offsets, found.replays) == ({A: -1, B: 8}, [batch])
    assert [lane.new for lane in found.lanes.values()] == [True, False]


@pytest.mark.parametrize(
    "other",
    [
        BatchRanges({A: Range(0, 5)}, "e"),
        BatchRanges({A: Range(0, 4)}, "f"),
        BatchRanges({A: Range(0, 4, "made anew")}, "e"),
        BOTH,
    ],
)
def test_tokens_of_other_ranges_epochs_or_groups_differ(other):
    one = BatchRanges({A: Range(0, 4)}, "e")
    assert other.token("x") != one.token("x")
    assert one.token("x") != one.token("y")


@pytest.mark.parametrize(
    "at_b, fate",
    [
        (Committed(7, BOTH), Fate.OPEN),
        (Committed(8, None), Fate.STORED),
        (Committed(9, BatchRanges({B: Range(9, 9)}, "e")), Fate.STORED),
        (Committed(7, None), Fate.VOID),
        (Committed(5, BatchRanges({B: Range(5, 6)}, "e")), Fate.VOID),
    ],
)
def test_what_became_of_a_batch_is_read_from_all_of_its_partitions(at_b, fate):
    assert fate_of(BOTH, {A: Committed(0, BOTH), B: at_b}) is fate


def test_a_batch_of_a_partition_whose_offsets_are_gone_is_refused():
    with pytest.raises(RangeLostError, match=r"b\[1\]: its offsets are gone"):
        fate_of(BOTH, {A: Committed(0, BOTH), B: Committed(-1001, None)})


@pytest.mark.parametrize("read", [[1, 4], [0, 3], [], [4]])
def test_a_recorded_range_that_is_not_there_any_more_is_refused(read):
    with pytest.raises(RangeLostError, match="records 0 to 4"):
        replayed(BOTH, {A: [*map(Record, read)], B: [Record(7)]})


class Stack:
    """The logs, the commits and the sink that workers have in common, and what crashes next."""

    def __init__(self, records: list[list[tuple[int, bool]]], endings: list[str]):
        self.logs = {
            ("t", nth): [Record(offset, size) for offset, (size, _) in enumerate(one)]
            for nth, one in enumerate(records)
        }
        self.wanted = [
            (("t", nth), offset)
            for nth, one in enumerate(records)
            for offset, (_, is_wanted) in enumerate(one)
            if is_wanted
        ]
        self.commits = {place: Committed(0, None) for place in self.logs}
        self.written: dict[str, list[tuple[Partition, int]]] = {}
        self._endings = iter(endings)

    @property
    def done(self) -> bool:
        return all(
            self.commits[place] == Committed(len(log), None) for place, log in self.logs.items()
        )

    def write(self, batch) -> None:
        rows = [
            (place, record.offset())
            for place, messages in sorted(batch.messages.items())
            for record in messages
            if (place, record.offset()) in self.wanted
        ]
        assert self.written.setdefault(batch.recorded.token("g"), rows) == rows

    def store(self, batch, owned) -> None:
        for place, one in batch.recorded.ranges.items():
            if place in owned:
                self.commits[place] = Committed(one.last + 1, None)

    def live(self, owned: list[Partition]) -> None:
        """One worker from its assignment to its death, or until it has written all."""
        found = recover({place: self.commits[place] for place in owned}, {"t": ""}, self.committed)
        for lane in found.lanes.values():
            if lane.stored is not None:
                self.commits[lane.place] = Committed(lane.stored, None)
        for ranges in found.replays:
            again = {at: self.logs[at][r.first : r.last + 1] for at, r in ranges.ranges.items()}
            batch = replayed(ranges, again)
            self.write(batch)
            self.store(batch, owned)
        for place, lane in found.lanes.items():
            for record in self.logs[place][found.offsets[place] :]:
                is_wanted = (place, record.at) in self.wanted
                (lane.add if is_wanted else lane.pass_over)(record, 0.0)
        while batch := next_batch(found.lanes.values(), LIMITS, "e", 1.0):
            for place, one in batch.recorded.ranges.items():
                self.commits[place] = Committed(one.first, batch.recorded)
            ending = next(self._endings, "goes on")
            if ending != "dies after recording":
                self.write(batch)
            if ending != "goes on":
                return
            self.store(batch, owned)
        for place, lane in found.lanes.items():
            lane.replaying = False
            if lane.needs_commit(9.0):
                self.commits[place] = Committed(lane.written_to)

    def committed(self, places) -> dict[Partition, Committed]:
        return {place: self.commits[place] for place in places}


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=30),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.sampled_from(["goes on", "dies after recording", "dies after writing"])),
    st.randoms(use_true_random=False),
)
def test_each_record_is_in_one_token_whatever_crashes_and_whoever_owns_it_next(
    records, endings, chance
):
    """Each partition's next owner knows the commits alone; partitions are assigned anew after each
    death, and owners that share a recorded batch all write it. Records that the sink does not want
    stand between the others.
    """
    stack = Stack(records, endings)
    while not stack.done:
        places = [*stack.logs]
        chance.shuffle(places)
        half = chance.randint(0, len(places))
        stack.live(places[:half])
        stack.live(places[half:])
    rows = [row for each in stack.written.values() for row in each]
    assert sorted(rows) == stack.wanted


def test_what_is_passed_over_is_told_after_a_while_and_never_while_records_wait():
    lane = lane_with(Record(3), now=0.0)
    lane.pass_over(Record(4), 0.5)
    assert not lane.needs_commit(99.0)
    assert next_batch([lane], LIMITS, "e", 5.0)
    lane.committed()
    lane.pass_over(Record(7), 10.0)
    assert not lane.needs_commit(10.1)
    assert (lane.needs_commit(10.0 + PASSED_S), lane.written_to) == (True, 8)


@pytest.mark.parametrize("fact", ["new", "replaying"])
def test_nothing_is_told_of_a_partition_that_is_unknown_or_to_be_replayed(fact):
    lane = Lane(*A)
    setattr(lane, fact, True)
    lane.pass_over(Record(4), 0.0)
    assert not lane.needs_commit(99.0)


def test_a_batch_that_was_never_recorded_whole_is_begun_anew_and_said_so():
    commits = {A: Committed(0, BOTH), B: Committed(7, None)}
    found = recover(
        {A: commits[A]}, {"a": ""}, lambda places: {place: commits[place] for place in places}
    )
    assert (found.offsets, found.replays, found.lanes[A].stored) == ({A: 0}, [], 0)
