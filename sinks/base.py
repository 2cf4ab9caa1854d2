"""What is a sink: something outside that committed events are written to, batch by batch?

The runtime decides which records a batch holds and never changes its mind: the same batch comes
again with the same token until it was written. A sink writes it once for one token, or in such a
way that again does no harm.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from schemas.events.base import Event
from schemas.wire.plain_values import Plain


@dataclass(frozen=True)
class Batch:
    """Committed records of one partition of one topic, in order: their offsets, sequence numbers
    and fields.
    """

    kind: type[Event]
    partition: int
    offsets: list[int]
    seqs: list[int]
    fields: list[Plain]
    topic_id: str = ""
    """Of the topic that the offsets are of, as the broker gave it; "" where it is not known."""


@dataclass(frozen=True)
class Bodies:
    """The same, unread: each value is one whole event in Avro, under the class's own schema and
    without framing.
    """

    kind: type[Event]
    partition: int
    offsets: list[int]
    seqs: list[int]
    values: list[bytes]
    topic_id: str = ""


class Sink(Protocol):
    """Where batches go. `prepare` and `write` may run in different threads."""

    name: str
    rows_max: int
    """Most records in one batch."""
    epoch: str
    """Changes whenever the same records make other rows than before."""

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        """Of the records of a partition that are stored, by the id of their topic; nothing where
        again does no harm.

        Raises whatever the world does.
        """

    def prepare(self, batch: Batch | Bodies) -> Any:
        """What `write` takes. Looks at nothing but the batch.

        Raises ValueError, TypeError or OverflowError where a value can never be stored; the runtime
        then finds the record that holds it and puts that one among the dead letters.
        """

    def takes_bytes(self, kind: type[Event]) -> bool:
        """Whether `prepare` takes Bodies of this class too, with the same outcome."""

    def write(self, prepared: Any, token: str) -> None:
        """Stores it. Raises whatever the world does; the runtime tries again with the same until it
        is stored.
        """
