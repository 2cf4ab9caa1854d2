"""The offset commits of a sink worker: what it is about to write, and how far it has written.

A partition's commit says of which topic it is, by its id, and one of two things: "this batch is
being written" (the offset of the partition's first record, and the batch's ranges as metadata), or
"all before this offset is written". What it says is certain before anything is inserted.
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
from streams.engine.dead_letters import Rejection, ShareLimit, letter
from streams.engine.kafka import partition_of
from streams.engine.sinks.batches import (
    BatchRanges,
    Committed,
    Lane,
    Partition,
    SinkBatch,
    committed_in,
    metadata_of,
)
from streams.engine.sinks.decode import Bad
from streams.engine.transactions import AbortedError, Transactions

log = logging.getLogger(__name__)
COMMITTED_S = 60.0
NOT_A_MEMBER_NOW = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}


class OffsetCommits:
    """Offset commits of one worker, with dead letters, where there are any, in the same
    transaction.
    """

    def __init__(self, settings: Settings, name: str, slot: int, worker: Any, consumer: Consumer):
        self._settings, self._name, self._worker, self._consumer = settings, name, worker, consumer
        self._transactions = Transactions(kafka.producer(settings, f"{name}-{slot}"))
        self._limit = ShareLimit(settings.dead_share_max)

    def open(self) -> None:
        """First of all: a dead twin's transaction would keep the committed offsets back."""
        self._transactions.init()

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed]:
        """What is committed of partitions, whoever owns them. Raises TimeoutError after a minute
        without an answer, and RangeLostError for metadata of another program.
        """
        asked = [TopicPartition(*place) for place in partitions]
        if not asked:
            return {}
        deadline = time.monotonic() + COMMITTED_S
        while True:
            self._worker.beat()
            try:
                found = self._consumer.committed(asked, timeout=5)
                if not any(each.error for each in found):
                    return {
                        (each.topic, each.partition): committed_in(
                            (each.topic, each.partition), each.offset, each.metadata
                        )
                        for each in found
                    }
                why = next(each.error for each in found if each.error).str()
            except KafkaException as error:
                why = error.args[0].str()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the broker did not answer for the offsets of {self._name} within "
                    f"{COMMITTED_S:.0f} s: {why}"
                )
            log.warning("committed offsets: %s", why)

    def record(self, batch: SinkBatch | None, lanes: Iterable[Lane]) -> set[Partition]:
        """One commit of the batch that is about to be written, and of how far lanes are stored.

        Returns the partitions that are committed for certain; of the others the same must be said
        again. Raises KafkaException where another worker has taken this one's place.
        """
        offsets = [] if batch is None else offsets_of(batch.recorded)
        offsets += [_position_of(lane) for lane in lanes]
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
        return {(each.topic, each.partition) for each in done or () if each.error is None}

    def record_with_letters(self, batch: SinkBatch) -> bool:
        """The batch's ranges and its dead letters in one transaction; whether it was committed.

        Raises LostError where nobody can say: then the worker has to end, and its successor reads
        the commits.
        """
        metrics, now = self._worker.metrics, datetime.now(UTC)
        bad: list[Bad] = batch.bad
        first = bad[0]
        log.warning(
            "%d of %d records become dead letters, the first is %s[%d] at %d: %s: %s",
            len(bad),
            batch.rows,
            first.message.topic(),
            first.message.partition(),
            first.message.offset(),
            first.reason,
            first.detail,
        )
        self._transactions.begin()
        for each in bad:
            topic_id = batch.recorded.ranges[partition_of(each.message)].topic_id
            rejection = Rejection(each.reason, each.detail, self._name, now)
            event = letter(each.message, rejection, topic_id)
            self._transactions.produce(
                self._settings.prefix + event.topic(),
                self._worker.codec.encode(event),
                event.partition_key().encode(),
                headers_of(event),
            )
        try:
            self._transactions.commit(offsets_of(batch.recorded), self._consumer)
        except AbortedError as error:
            log.warning("dead letters, to be tried again: %s", error)
            self._transactions.abort()
            return False
        for each in bad:
            metrics.count("weir_dead_letters", consumer=self._name, reason=each.reason)
        return True

    def check_share(self, batch: SinkBatch) -> None:
        """Raises SystemExit with a sentence, before anything is recorded, where too many records
        are bad.
        """
        dead = {
            (each.message.topic(), each.message.partition(), each.message.offset())
            for each in batch.bad
        }
        messages = [message for each in batch.messages.values() for message in each]
        for message in messages if dead else messages[-200:]:
            self._limit.add((message.topic(), message.partition(), message.offset()) in dead)
            if self._limit.exceeded:
                last = batch.bad[-1]
                raise SystemExit(self._limit.sentence(self._name, f"{last.reason}: {last.detail}"))


def is_of_another(commit: TopicPartition, topic_id: str) -> bool:
    """Whether a commit is of another topic of the same name than the one with this id."""
    place = commit.topic, commit.partition
    return committed_in(place, commit.offset, commit.metadata).is_of_another(topic_id)


def offsets_of(batch: BatchRanges) -> list[TopicPartition]:
    """What a commit says of the partitions of a batch: the first offset, with all ranges."""
    metadata = batch.metadata()
    return [TopicPartition(*place, one.first, metadata) for place, one in batch.ranges.items()]


def _position_of(lane: Lane) -> TopicPartition:
    return TopicPartition(lane.topic, lane.partition, lane.written_to, metadata_of(lane.topic_id))
