"""The offset commits of a sink worker: what is about to be written, and what has been.

An offset commit says of which topic it is, by its id, and one of two things of a partition: "these
records are being written" (the offset of the first, and the range as metadata), or "all before this
offset is written". What it says is certain before anything is inserted.
"""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.wire.codec import headers_of
from streams.config import Settings
from streams.engine import kafka
from streams.engine.dead_letters import ShareLimit, letter
from streams.engine.sinks.batches import Lane, Place, metadata_of
from streams.engine.sinks.decode import Bad
from streams.engine.transactions import Aborted, Transactions

log = logging.getLogger(__name__)
COMMITTED_S = 60.0
NOT_A_MEMBER_NOW = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}


class Ledger:
    """Offset commits of one worker, with dead letters in the same transaction where there are any."""

    def __init__(self, settings: Settings, name: str, slot: int, worker: Any, consumer: Consumer):
        self._settings, self._name, self._worker, self._consumer = settings, name, worker, consumer
        self._transactions = Transactions(kafka.producer(settings, f"{name}-{slot}"))
        self._limit = ShareLimit(settings.dead_share_max)

    def open(self) -> None:
        """First of all: a dead twin's transaction would keep the committed offsets back."""
        self._transactions.init()

    def committed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The committed offsets with their metadata. Raises after a minute without an answer."""
        deadline = time.monotonic() + COMMITTED_S
        while True:
            self._worker.beat()
            try:
                found = self._consumer.committed(partitions, timeout=5)
                if not any(each.error for each in found):
                    return found
                why = next(each.error for each in found if each.error).str()
            except KafkaException as error:
                why = error.args[0].str()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the broker did not tell the offsets of {self._name} for {COMMITTED_S:.0f} s: "
                    f"{why}"
                )
            log.warning("committed offsets: %s", why)

    def record(self, lanes: Iterable[Lane]) -> set[Place]:
        """One commit of what these lanes are about to write, or have written.

        Returns the places that are committed for certain; of the others the same must be said
        again. Raises KafkaException where another worker has taken this one's place.
        """
        offsets = [offset_of(lane) for lane in lanes]
        if not offsets:
            return set()
        try:
            done = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if (
                kafka.is_fatal(error.args[0])
                or error.args[0].code() == KafkaError.FENCED_INSTANCE_ID
            ):
                raise
            log.warning("commit, to be tried again: %s", error.args[0].str())
            if error.args[0].code() not in NOT_A_MEMBER_NOW:
                time.sleep(0.2)
            return set()
        return {(each.topic, each.partition) for each in done if each.error is None}

    def record_with_letters(self, lane: Lane, bad: list[Bad]) -> bool:
        """The cut's range and its dead letters in one transaction; whether it was committed.

        Raises Lost where nobody can say: then the worker has to end, and its successor asks the
        broker.
        """
        metrics, now = self._worker.metrics, datetime.now(UTC)
        log.warning(
            "%s[%d]: %d of %d records go to the dead letters, first offset %d: %s: %s",
            lane.topic,
            lane.partition,
            len(bad),
            len(lane.cut.messages),
            bad[0].message.offset(),
            bad[0].reason,
            bad[0].detail,
        )
        self._transactions.begin()
        for each in bad:
            event = letter(each.message, each.reason, each.detail, self._name, now, lane.topic_id)
            self._transactions.produce(
                self._settings.prefix + event.topic(),
                self._worker.codec.encode(event),
                event.partition_key().encode(),
                headers_of(event),
            )
        try:
            self._transactions.commit([offset_of(lane)], self._consumer)
        except Aborted as error:
            log.warning("dead letters, to be tried again: %s", error)
            self._transactions.abort()
            return False
        for each in bad:
            metrics.count("weir_dead_letters", consumer=self._name, reason=each.reason)
        return True

    def check_share(self, lane: Lane, bad: list[Bad]) -> None:
        """Raises SystemExit with a sentence, before anything is recorded, where too many records
        are bad.
        """
        dead = {each.message.offset() for each in bad}
        for message in lane.cut.messages if dead else lane.cut.messages[-200:]:
            self._limit.add(message.offset() in dead)
            if self._limit.exceeded:
                last = bad[-1]
                raise SystemExit(self._limit.sentence(self._name, f"{last.reason}: {last.detail}"))


def offset_of(lane: Lane) -> TopicPartition:
    """What a commit says of a lane: the first offset of its cut with the range, or how far rows are
    stored.
    """
    if lane.cut:
        return TopicPartition(
            lane.topic, lane.partition, lane.cut.range.first, lane.cut.range.metadata()
        )
    return TopicPartition(lane.topic, lane.partition, lane.written_to, metadata_of(lane.topic_id))
