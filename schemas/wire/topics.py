"""The topics, with what an operator needs to know of each: classes, partitions, retention, owner,
personal data.

What other services write or read has a topic of its own. What Weir tells itself of one key shares a
log with other classes of the same stages and call steps: a transaction costs the broker a request
for each partition that it writes to, and every reader of a log is woken by all of it. All topics of
one key have one partition count, because a stage needs the same partition of each in one worker.
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
    events: tuple[type[Event], ...]
    partitions: int
    retention: timedelta | None
    owner: str
    personal: bool

    @property
    def key(self) -> str:
        """What its records are keyed by."""
        return self.events[0].key

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
    """The topic that holds a class."""
    return topics(partitions)[kind.topic()]


def topics(partitions: int = PARTITIONS) -> dict[str, Topic]:
    """Every topic by its name."""
    classes: dict[str, list[type[Event]]] = {}
    for kind in event_classes().values():
        classes.setdefault(kind.topic(), []).append(kind)
    return {name: _topic(name, tuple(those), partitions) for name, those in classes.items()}


def _topic(name: str, events: tuple[type[Event], ...], partitions: int) -> Topic:
    """What is kept for ever is read whole by every worker: it has one partition, so that its
    records have one order.
    """
    retention = events[0].retention
    return Topic(
        name,
        events,
        1 if retention is None else partitions,
        retention,
        ", ".join(sorted({kind.owner for kind in events})),
        any(PERSONAL in str(schema_of(kind)) for kind in events),
    )
