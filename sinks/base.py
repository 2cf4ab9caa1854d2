"""The contract of a sink: a system that committed events are written to, batch by batch.

The runtime decides which records a batch holds and never changes its decision: the same batch comes
again with the same token until it was written. A sink writes a batch once for one token, or in such
a way that a repeat does no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.events.base import Event
from schemas.wire.codec import HEAD
from schemas.wire.plain_values import Plain, plain_of_value


@dataclass(frozen=True)
class Batch:
    """Committed records of one class, those of a partition in order: their partitions, offsets,
    sequence numbers and fields. `records` are their values and `keys` their keys as on the log;
    a sink that archives needs them.
    """

    kind: type[Event]
    partitions: list[int]
    offsets: list[int]
    seqs: list[int]
    fields: list[Plain]
    topic_id: str = ""
    """Of the topic that the offsets are of, as the broker gave it; "" where it is not known."""
    records: Sequence[bytes] = ()
    keys: Sequence[bytes] = ()


@dataclass(frozen=True)
class EncodedBatch:
    """The same records without being decoded: each value is one whole event in Avro, under the
    class's own schema and without framing.
    """

    kind: type[Event]
    partitions: list[int]
    offsets: list[int]
    seqs: list[int]
    values: list[bytes]
    topic_id: str = ""
    records: Sequence[bytes] = ()
    keys: Sequence[bytes] = ()


class Sink(Protocol):
    """Where batches are written. `prepare` and `write` may run in different threads."""

    name: str
    rows_max: int
    """Most records in one batch."""
    epoch: str
    """Changes whenever the same records make other rows than before."""

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        """The greatest stored offset of a partition, by the id of its topic; empty where nothing is
        stored, or where a repeat does no harm.

        Raises whatever the client of the system raises.
        """
        ...

    def prepare(self, batch: Batch | EncodedBatch) -> Any:
        """What `write` takes. Depends on nothing but the batch.

        Raises ValueError, TypeError or OverflowError where a value can never be stored; the runtime
        then finds the record that holds it and makes it a dead letter.
        """

    def accepts_encoded(self, kind: type[Event]) -> bool:
        """Whether `prepare` takes an EncodedBatch of this class too, with the same result."""
        ...

    def group_of(self, kind: type[Event]) -> str:
        """The group of classes whose records one `write` stores: what a batch holds of them is
        written at once, under one token. The class's name where each is written by itself.
        """
        ...

    def joined(self, prepared: Sequence[Any]) -> Any:
        """What `write` takes of all classes of one group: `prepared` has an item a class."""

    def write(self, prepared: Any, token: str) -> None:
        """Stores what was prepared. Raises whatever the client of the system raises; the runtime
        tries again with the same until it is stored.
        """


def decoded(batch: Batch | EncodedBatch) -> Batch:
    """The batch with its events decoded."""
    if isinstance(batch, Batch):
        return batch
    empty_head = bytes(HEAD.size)
    fields = [plain_of_value(batch.kind, empty_head + value) for value in batch.values]
    return Batch(
        batch.kind,
        batch.partitions,
        batch.offsets,
        batch.seqs,
        fields,
        batch.topic_id,
        batch.records,
        batch.keys,
    )
