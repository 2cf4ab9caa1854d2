"""What a stage worker has taken since its last commit.

Nothing of it is on the broker: a transaction is opened, written and committed in one go, so none is
ever open while a call runs or a rebalance comes. What is buffered waits a moment for the answers to
its own questions, because a question and a quick answer then cost one transaction instead of two.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import TopicPartition

from schemas.wire.record_types import event_name
from streams.engine.calls.in_flight import CallKey
from streams.engine.stages.open_calls import OpenQuestion
from streams.engine.stages.partition import Partition

HOLD_S = 0.02
"""A question is committed after this time at the latest, answered or not."""
EAGER_S = 0.003
"""What waits for no call is held no longer than this for the sake of what does."""
SPECULATIVE_MAX = 30
"""Calls begun before their question is committed. A crash may have made these in vain, and no
record tells of them; the others wait for the commit.
"""


@dataclass
class Buffer:
    """Records with what they follow from, and the partitions, questions and answers in it."""

    since: float | None = None
    records: list[tuple[Any, Any]] = field(default_factory=list)
    touched: dict[int, Partition] = field(default_factory=dict)
    origins: list[Any] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    topics: dict[str, int] = field(default_factory=dict)
    unanswered: set[CallKey] = field(default_factory=set)
    answered: list[CallKey] = field(default_factory=list)
    repeated: list[CallKey] = field(default_factory=list)
    unbegun: list[tuple[int, OpenQuestion]] = field(default_factory=list)
    speculative: int = 0
    eager: bool = False

    def touch(self, partition: Partition, now: float) -> None:
        """Something of this partition is in the buffer; its offsets go along, moved or not."""
        partition.dirty = True
        self.touched[partition.number] = partition
        if self.since is None:
            self.since = now

    def add(self, origin: Any, records: Iterable[Any]) -> None:
        """Adds one unit of work: what follows from a record, an answer, or a timer (None)."""
        self.origins.append(origin)
        for record in records:
            self.records.append((record, origin))
            event = event_name(record[3])
            self.made[event] = self.made.get(event, 0) + 1

    def count_message(self, topic: str) -> None:
        self.topics[topic] = self.topics.get(topic, 0) + 1

    @property
    def messages(self) -> int:
        return sum(self.topics.values())

    @property
    def sole_origin(self) -> Any:
        """What all of it follows from, where that is one thing."""
        return self.origins[0] if len(self.origins) == 1 else None

    def ask(self, partition: int, call: OpenQuestion) -> bool:
        """Notes a question. Whether its call may begin before the question is committed."""
        self.unanswered.add(call.key)
        if self.speculative < SPECULATIVE_MAX:
            self.speculative += 1
            return True
        self.unbegun.append((partition, call))
        return False

    def answer(self, key: CallKey) -> None:
        self.answered.append(key)
        self.unanswered.discard(key)

    def due_in(self, now: float) -> float | None:
        """Seconds until it has to be committed, 0 for at once; None where it is empty."""
        if self.since is None:
            return None
        if not self.unanswered:
            return 0.0
        held_s = EAGER_S if self.eager else HOLD_S
        return max(0.0, self.since + held_s - now)


def positions(touched: Iterable[Partition], only_moved: bool = False) -> list[TopicPartition]:
    """The offsets that a transaction commits, of every partition in it. Their metadata is the turn,
    so that one without records shows too. `only_moved` is a negative control.
    """
    return [
        TopicPartition(
            name, partition.number, partition.place.offsets[name], str(partition.place.turn)
        )
        for partition in touched
        for name in partition.moved or list(partition.place.offsets)[: 0 if only_moved else 1]
    ]
