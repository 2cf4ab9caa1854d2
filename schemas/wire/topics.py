"""Which topics are there, and what does an operator need to know of each: partitions, retention,
owner, personal data?

A topic holds one event class. All topics of one key have one partition count, because a stage needs
the same partition of each in one worker.
"""

from dataclasses import dataclass
from datetime import timedelta

from schemas.definitions import kinds  # noqa: F401 - together they know every event class
from schemas.events.agent import approvals, runs, signals, subagents  # noqa: F401 - together they know every event class
from schemas.events.base import PERSONAL, Event, event_classes
from schemas.wire.avro_schema import schema_of

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
PARTITIONS = 4
"""Of each topic, unless told otherwise when it is created: a key's partition must never move
afterwards.
"""

READ_WHOLE = {"place": 1}
"""Partitions by key where all workers read the whole topic: one, so that its records have one
order.
"""

MONTH = timedelta(days=30)
OWNERS = {
    "agent": "agent-platform",
    "approvals": "agent-platform",
    "guardrails": "security",
    "usage": "finance",
    "knowledge": "knowledge",
    "feedback": "product",
    "quality": "product",
    "tracing": "observability",
    "operations": "operations",
    "registry": "governance",
    "stream": "agent-platform",
    "webhooks": "agent-platform",
}
RETENTION = {
    "stream": timedelta(days=1),
    "operations": 3 * MONTH,
    "usage": 13 * MONTH,
    "feedback": 13 * MONTH,
    "approvals": 13 * MONTH,
    "quality": 13 * MONTH,
}


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
    compacted = kind.family == "registry"
    return Topic(
        kind.topic(),
        kind,
        READ_WHOLE.get(kind.key, partitions),
        None if compacted else RETENTION.get(kind.family, MONTH),
        OWNERS[kind.family],
        PERSONAL in str(schema_of(kind)),
    )


def topics(partitions: int = PARTITIONS) -> dict[str, Topic]:
    """Every topic by its name."""
    made = (topic_of(kind, partitions) for kind in event_classes().values())
    return {topic.name: topic for topic in made}
