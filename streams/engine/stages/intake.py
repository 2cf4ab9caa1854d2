"""What a stage worker reads from Kafka, and when it reads no further."""

import logging
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.config import Settings
from streams.engine import kafka
from streams.engine.stages.assignment import Ownership
from streams.engine.stages.partition import Partition
from streams.engine.stages.processor import Taker, now_utc
from streams.engine.transactions import LostError
from streams.engine.worker import Worker

log = logging.getLogger(__name__)

UNDER_WAY_MAX = 2_000
READ_AGAIN = 1_600
"""At so many calls under way nothing more is read, until they are fewer than READ_AGAIN."""


class Intake:
    """The consumer of a stage worker."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        taker: Taker,
        ownership: Ownership,
        consumer: Consumer,
    ):
        self._settings, self._name = settings, name
        self._taker, self._ownership, self._consumer = taker, ownership, consumer

    def poll(self, wait_s: float, settle: Callable[[], None]) -> list[Message]:
        """Records of partitions held that their state has not seen. `settle` waits until what was
        committed last is over, so that more may have come.
        """
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        epoch = self._ownership.epoch
        settle()
        messages = (first, *self._consumer.consume(self._settings.batch_events - 1, 0))
        if epoch != self._ownership.epoch:  # the first is of an assignment that is over
            self._ownership.assign(self._consumer)
            return []
        fresh, skipped = [], 0
        for message in messages:
            error = message.error()
            if error is not None:
                self._heed(error, message)
                continue
            topic, number = kafka.partition_of(message)
            partition = self._ownership.held.get(number)
            if partition is None or partition.has_seen(topic, kafka.offset_of(message)):
                skipped += 1
            else:
                fresh.append(message)
        if skipped:
            self._ownership.worker.metrics.count(
                "weir_records_skipped", skipped, consumer=self._name
            )
        return fresh

    def pace(self, under_way: int, stopping: bool) -> None:
        """Reads no further while very many calls are under way, or the worker is to end."""
        own = self._ownership
        if stopping or under_way >= UNDER_WAY_MAX:
            own.pause(self._consumer)
        elif own.paused and under_way < READ_AGAIN:
            own.assign(self._consumer)

    def _heed(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            topic, number = kafka.partition_of(message)
            partition = self._ownership.held.get(number)
            if partition is not None:
                partition.ends[topic] = kafka.offset_of(message)
        elif kafka.is_fatal(error):
            raise LostError(f"consumer: {error.str()}")
        else:
            log.warning("consumer: %s %s", error.name(), error.str())

    def due(self) -> list[Partition]:
        """Partitions with a timer due, or so quiet that their windows may close."""
        now, quiet_before = now_utc(), time.monotonic() - self._settings.idle_close_s
        due = []
        for partition in self._ownership.held.values():
            if partition.quiet_since < quiet_before:
                partition.idle = partition.windows_may_be_open and self._is_idle(partition)
                partition.quiet_since = time.monotonic()
            wake_at = partition.core.next_wake
            if partition.idle or (wake_at is not None and wake_at <= now):
                due.append(partition)
        return due

    def _is_idle(self, partition: Partition) -> bool:
        """Read to the end, and the broker says that this still is the end: silence alone may be a
        broker away.
        """
        if not partition.place.offsets or len(partition.ends) != len(self._taker.types.topics):
            return False
        for name, end in partition.ends.items():
            place = TopicPartition(name, partition.number)
            high = kafka.patiently(
                lambda place=place: self._consumer.get_watermark_offsets(
                    place, timeout=kafka.ANSWER_S
                ),
                self._ownership.worker.beat,
            )[1]
            if high > end:
                return False
        return True

    def report_lag(self) -> None:
        """By what the last fetches told: no question to the broker."""
        metrics = self._ownership.worker.metrics
        lag: dict[str, int] = dict.fromkeys(self._taker.types.topics, 0)
        late: dict[str, int] = {}
        for number, partition in self._ownership.held.items():
            for name in lag:
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(name, number), cached=True
                )
                lag[name] += max(0, high - max(low, partition.place.offsets.get(name, 0)))
            for step, counts in partition.core.counts.items():
                late[step] = late.get(step, 0) + counts["late"]
        for step, events in late.items():
            metrics.gauge("weir_late_events", events, consumer=self._name, step=step)
        for name, records in lag.items():
            metrics.gauge("weir_lag_records", records, consumer=self._name, topic=name)


def partitions_of(
    settings: Settings, reads: list[str], writes: list[str], changelog: str, worker: Worker
) -> int:
    """The partition count of the inputs and the changelog, which must be one. Raises SystemExit
    with a sentence.
    """
    there = kafka.patiently(
        lambda: kafka.admin(settings).list_topics(timeout=5), worker.beat
    ).topics
    missing = [name for name in (*reads, *writes, changelog) if name not in there]
    if missing:
        raise SystemExit(
            f"these topics are missing: {', '.join(missing)}. `./weir deploy` creates them"
        )
    counts = {name: len(there[name].partitions) for name in (*reads, changelog)}
    if len(set(counts.values())) != 1:
        raise SystemExit(
            f"the topics of a stage must have one partition count, they have {counts}: a key's "
            "records would not meet its state. Create them anew under another WEIR_PREFIX"
        )
    return counts[changelog]
