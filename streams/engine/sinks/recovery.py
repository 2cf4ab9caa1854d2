"""Where a sink worker begins on the partitions that it is assigned, and what it has to replay.

Positions come from the broker, never from memory: the previous owner may have gone on.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from streams.engine.sinks.batches import (
    BatchRanges,
    Committed,
    Fate,
    Lane,
    Partition,
    fate_of,
)

Commits = Mapping[Partition, Committed]


@dataclass(frozen=True)
class Recovery:
    """The lanes, the offsets to read from (negative: the beginning), and the recorded batches that
    have to be written under their tokens first.
    """

    lanes: dict[Partition, Lane]
    offsets: dict[Partition, int]
    replays: list[BatchRanges]


def recover(
    commits: Commits,
    topic_ids: Mapping[str, str],
    committed: Callable[[Iterable[Partition]], Commits],
) -> Recovery:
    """What follows from the commits of the assigned partitions. `topic_ids` are those of their
    topics now; `committed` tells the commits of other partitions, which may share a batch. Raises
    RangeLostError.
    """
    fates: dict[str, Fate] = {}
    replays = []
    for metadata, ranges in _batches_of(commits).items():
        others = committed(ranges.ranges.keys() - commits.keys())
        fates[metadata] = fate_of(ranges, {**commits, **others})
        if fates[metadata] is Fate.OPEN:
            replays.append(ranges)
    lanes: dict[Partition, Lane] = {}
    offsets: dict[Partition, int] = {}
    for place, commit in commits.items():
        topic_id = topic_ids[place[0]]
        current = Committed(-1) if commit.is_of_another(topic_id) else commit
        lanes[place] = Lane(*place, topic_id, new=current.offset < 0)
        offsets[place] = current.offset
        if current.recorded is not None:
            fate = fates[current.recorded.metadata()]
            if fate is not Fate.VOID:
                offsets[place] = current.recorded.ranges[place].last + 1
            lanes[place].replaying = fate is Fate.OPEN
            if fate is not Fate.OPEN:
                lanes[place].stored = offsets[place]  # so that nobody takes the batch for open
    return Recovery(lanes, offsets, replays)


def _batches_of(commits: Commits) -> dict[str, BatchRanges]:
    """The batches that commits record, each once, by their metadata."""
    found = (commit.recorded for commit in commits.values())
    return {one.metadata(): one for one in found if one is not None}
