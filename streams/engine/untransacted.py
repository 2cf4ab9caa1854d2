"""What would happen without transactions? The negative control of `weir chaos`: it must lose or
double something.

The same calls as `transactions.Transactions`, on a plain producer: outputs first, then the
changelog, then the offsets, each by itself, with a gap between them that a crash can fall into. A
control that never bites proves nothing.
"""

import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.engine.transactions import LostError

GAP_S = 0.15
PATIENCE_S = 30.0


class Untransacted:
    """Records of `last` (the changelog) are written after all others."""

    def __init__(self, producer: Producer, last: str):
        self._producer, self._last = producer, last
        self._held: list[tuple[Any, ...]] = []

    def init(self) -> None:
        """Nothing is open that could be aborted."""

    def settle(self) -> None:
        """Nothing is under way between two of its loads."""

    def begin(self) -> None:
        self._held.clear()

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes,
        headers: list[tuple[str, Any]] | None = None,
        partition: int = -1,
    ) -> None:
        if topic == self._last:
            self._held.append((topic, value, key, partition))
        else:
            self._producer.produce(topic, value, key, partition, headers=headers)

    def commit(self, positions: list[TopicPartition], consumer: Consumer) -> None:
        self._flush()
        time.sleep(GAP_S)
        for record in self._held:
            self._producer.produce(*record)
        self._flush()
        try:
            consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            raise LostError(f"commit: {error.args[0].str()}") from error

    def abort(self) -> None:
        """What is written stays written: that is the point."""
        self._held.clear()

    def _flush(self) -> None:
        if self._producer.flush(PATIENCE_S):
            raise LostError("Kafka did not take the records in time")
