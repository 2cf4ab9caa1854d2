"""Are batches cut when they should be, and cut again exactly as they were recorded?"""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.sinks.batches import (
    PASSED_S,
    CommitMetadata,
    Lane,
    Limits,
    Range,
    RangeLost,
    metadata_of,
    read_metadata,
)

LIMITS = Limits(rows=3, age_s=1.0, size=100)


@dataclass(frozen=True)
class Record:
    """As much of a Kafka message as a lane looks at."""

    at: int
    size: int = 1

    def offset(self) -> int:
        return self.at

    def __len__(self) -> int:
        return self.size


def lane_with(*records: Record, pending: Range | None = None, now: float = 0.0) -> Lane:
    lane = Lane("t", 0, "id", pending)
    for record in records:
        lane.add(record, now)
    return lane


def cut_offsets(lane: Lane, now: float = 0.0, limits: Limits = LIMITS) -> list[int] | None:
    cut = lane.make_cut(limits, "e1", now)
    return cut and [record.offset() for record in cut.messages]


@pytest.mark.parametrize(
    "records, now, cut",
    [
        ([], 9, None),
        ([Record(4)], 0.5, None),
        ([Record(4)], 1.0, [4]),  # old enough
        (
            [Record(4), Record(6), Record(9), Record(10)],
            0,
            [4, 6, 9],
        ),  # large enough; offsets have gaps
        ([Record(4, 60), Record(5, 60)], 0, [4]),  # too many bytes for one
        ([Record(4, 500)], 0, [4]),  # one that is too large alone still goes
        ([Record(4, 30), Record(5, 30), Record(6, 30), Record(7, 30)], 0, [4, 5, 6]),
    ],
)
def test_a_cut_is_made_by_size_or_age(records, now, cut):
    assert cut_offsets(lane_with(*records), now) == cut


def test_only_one_cut_at_a_time_and_the_rest_waits_its_own_time():
    lane = lane_with(*map(Record, range(5)))
    assert cut_offsets(lane, now=1.0) == [0, 1, 2]
    assert cut_offsets(lane, now=9.0) is None
    lane.finish()
    assert (lane.stored, cut_offsets(lane, now=1.5), cut_offsets(lane, now=2.0)) == (
        3,
        None,
        [3, 4],
    )


@pytest.mark.parametrize(
    "read, cut",
    [
        ([5], None),  # not read whole yet
        ([5, 7, 8], None),
        ([5, 7, 8, 11], [5, 7, 8, 11]),
        (
            [5, 7, 8, 11, 12, 13],
            [5, 7, 8, 11],
        ),  # not one more, though there is more, and more than fits
    ],
)
def test_a_recorded_range_is_replayed_exactly_whatever_else_is_there(read, cut):
    lane = lane_with(*map(Record, read), pending=Range(5, 11, "old", "id"))
    assert cut_offsets(lane, now=99) == cut
    if cut:
        assert (lane.cut.recorded, lane.cut.range.epoch) == (True, "old")


@pytest.mark.parametrize("read", [[6, 11], [5, 12], [12]])
def test_a_recorded_range_that_is_not_there_any_more_is_said_loudly(read):
    with pytest.raises(RangeLost, match="records 5 to 11"):
        cut_offsets(lane_with(*map(Record, read), pending=Range(5, 11, "old", "id")))


def test_a_record_that_was_read_before_is_not_taken_twice():
    assert cut_offsets(lane_with(Record(1), Record(2), Record(2), Record(1)), now=5) == [1, 2]


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.text(max_size=20), st.text(max_size=22))
def test_metadata_keeps_a_range_and_its_topic(first, last, epoch, topic_id):
    made = Range(first, last, epoch, topic_id)
    assert read_metadata(made.metadata()) == CommitMetadata(topic_id, made)
    assert read_metadata(metadata_of(topic_id)) == CommitMetadata(topic_id)


@pytest.mark.parametrize(
    "metadata, another",
    [
        (None, False),
        ("", False),
        (metadata_of("id"), False),
        (metadata_of("before"), True),
        (Range(1, 2, "e", "id").metadata(), False),
        (Range(1, 2, "e", "before").metadata(), True),
    ],
)
def test_a_commit_of_another_topic_is_told_from_one_that_an_operator_made(metadata, another):
    assert read_metadata(metadata).is_of_another("id") == another


def test_the_same_range_of_a_topic_made_anew_has_another_token():
    assert Range(0, 2, "e", "before").token("t", 0, "E") != Range(0, 2, "e", "now").token(
        "t", 0, "E"
    )


@pytest.mark.parametrize(
    "metadata", ["junk", "{}", '{"f": "x", "l": 1, "e": "", "t": ""}', '{"f": 1, "t": ""}', "[1]"]
)
def test_metadata_of_another_program_is_refused(metadata):
    with pytest.raises(RangeLost, match="another program"):
        read_metadata(metadata)


def test_skipped_records_are_committed_after_a_while_and_never_while_records_wait():
    lane = lane_with(Record(3), now=0.0)
    lane.pass_over(Record(4), 0.5)
    assert not lane.needs_commit(99)
    lane.make_cut(LIMITS, "e", now=5)
    assert not lane.needs_commit(99)
    lane.finish()
    assert (lane.needs_commit(5), lane.written_to) == (True, 5)
    lane.committed()
    lane.pass_over(Record(7), 10.0)
    assert not lane.needs_commit(10.1)
    assert (lane.needs_commit(10.0 + PASSED_S), lane.written_to) == (True, 8)


@pytest.mark.parametrize("fact", [{"new": True}, {"pending": Range(9, 12, "old", "id")}])
def test_nothing_is_committed_for_a_partition_that_is_unknown_or_to_be_replayed(fact):
    lane = Lane("t", 0, "id", fact.get("pending"), new=fact.get("new", False))
    lane.pass_over(Record(4), 0.0)
    assert not lane.needs_commit(99)


def test_a_recorded_range_may_begin_and_end_with_records_that_nobody_wants_any_more():
    lane = Lane("t", 0, "id", Range(5, 8, "old", "id"))
    for record in map(Record, (5, 6, 8)):
        (lane.add if record.at == 6 else lane.pass_over)(record, 0.0)
    assert cut_offsets(lane, now=0) == [5, 6, 8]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60),
    st.lists(st.booleans(), max_size=60),
)
def test_cuts_are_a_partition_of_what_was_read_however_it_arrives_and_whatever_crashes(
    records, crashes
):
    """A successor starts at the committed offset, with the recorded range or none, and makes the
    same tokens. Records that the sink does not want stand between the others.
    """
    log = [Record(offset, size) for offset, (size, _) in enumerate(records)]
    wanted = [offset for offset, (_, is_wanted) in enumerate(records) if is_wanted]
    stored: dict[str, list[int]] = {}
    crashes, position, pending = iter(crashes), 0, None
    while any(offset >= position for offset in wanted):
        lane = Lane("t", 0, "id", pending)
        for record in log[position:]:
            (lane.add if record.at in wanted else lane.pass_over)(record, 0.0)
        cut = lane.make_cut(LIMITS, "e", now=5)
        position, pending = cut.range.first, cut.range  # committed
        offsets = [record.offset() for record in cut.messages if record.offset() in wanted]
        assert stored.setdefault(cut.range.token("t", 0, "TokensUsed"), offsets) == offsets
        if not next(crashes, False):
            position, pending = cut.range.last + 1, None
    assert [offset for offsets in stored.values() for offset in offsets] == wanted
