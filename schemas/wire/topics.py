"""The topics, with what an operator needs to know of each: partitions, retention, owner, personal
data.

A topic holds one event class. All topics of one key have one partition count, because a stage needs
the same partition of each in one worker.
"""

from dataclasses import dataclass
from datetime import timedelta

from schemas.catalogue import event_classes
from schemas.events.base import PERSONAL, Event
from schemas.wire.avro_schema import schema_of

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
PARTITIONS = 1
"""Of each topic, unless told otherwise when it is created: a key's partition must never move while
there are records or state of it. One is right for a single machine: measured against four, it
halved the latency of a hop, and inserts into ClickHouse, which cost the same for one row as for a
thousand, became a quarter as many.
"""


@dataclass(frozen=True)
class Topic:
    """One topic. `retention` None means kept for ever (compacted)."""

    name: str
    event: type[Event]
    partitions: int
    retention: timedelta | None
    owner: str
    personal: bool

    @property
    def compacted(self) -> bool:
        return self.retention is None

    def config(self) -> dict[str, str]:
        """The topic's settings, in Kafka's names."""
        kept = (
            {"cleanup.policy": "compact"}
            if self.retention is None
            else {
                "cleanup.policy": "delete",
                "retention.ms": str(int(self.retention.total_seconds() * 1000)),
            }
        )
        return kept | {"max.message.bytes": str(MESSAGE_BYTES_MAX)}


def topic_of(kind: type[Event], partitions: int = PARTITIONS) -> Topic:
    """The topic of a class. What is kept for ever is read whole by every worker: it has one
    partition, so that its records have one order.
    """
    return Topic(
        kind.topic(),
        kind,
        1 if kind.retention is None else partitions,
        kind.retention,
        kind.owner,
        PERSONAL in str(schema_of(kind)),
    )


def topics(partitions: int = PARTITIONS) -> dict[str, Topic]:
    """Every topic by its name."""
    made = (topic_of(kind, partitions) for kind in event_classes().values())
    return {topic.name: topic for topic in made}
