"""The end of a worker's transaction: committed, aborted, or the process ends with it.

Only three things can become of it. What the client calls abortable raises AbortedError: the caller
aborts and reads its state back. What can be tried again is, a bounded number of times. Everything
else raises LostError: the process ends and its supervisor starts a new one, whose
`init_transactions` aborts what is open. No call here beats the watchdog's heart: one that hangs
(`send_offsets_to_transaction` was seen to, for 48 s, after a broker's restart) is ended by it.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from streams.engine.kafka import generation

log = logging.getLogger(__name__)

SETTLE_S = 0.002
"""From a commit to the next beginning. The broker still writes the marks of the commit; who begins
before it has, is told CONCURRENT_TRANSACTIONS and comes again after the client's 20 ms. Measured,
ten topics a transaction, p50 of a transaction that follows at once: 25 ms; 1 ms later 6.9; 2 ms
later 6.5; 4 ms later 6.3.
"""
TRIES = 40
PAUSE_S = 0.05
CALL_S = 30.0
FLUSH_S = 3.0
SLOW_S = 1.0


class AbortedError(Exception):
    """The transaction cannot be committed; aborting it makes the producer whole again."""


class LostError(Exception):
    """This producer can do nothing more, or another has taken its place: the process has to end."""


class RecordTooLargeError(Exception):
    """A record that no broker would take."""


class Transactions:
    """The transactions of one producer, one at a time."""

    def __init__(self, producer: Producer):
        self._producer, self._settled_at = producer, 0.0
        self._began, self._waits = time.monotonic(), True
        self._is_open = self._failed = False

    def init(self) -> None:
        """First of all: aborts what a dead twin with the same id left open."""
        self._call("init", self._producer.init_transactions, CALL_S)

    def settle(self) -> None:
        """Waits until the broker is done with the transaction before."""
        time.sleep(max(0.0, self._settled_at - time.monotonic()))

    def begin(self) -> None:
        self.settle()
        self._call("begin", self._producer.begin_transaction)
        self._is_open = True
        self._failed = False

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: list[tuple[str, Any]] | None = None,
        partition: int = -1,
    ) -> None:
        """Adds a record. A full queue is waited for. Raises RecordTooLargeError for what the broker
        would refuse.
        """
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
                return
            except BufferError:
                self._producer.poll(0.01)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise RecordTooLargeError(
                        f"a record for {topic} has {len(value or b'')} bytes"
                    ) from error
                raise LostError(f"produce to {topic}: {error.args[0].str()}") from error

    def commit(self, positions: list[TopicPartition], consumer: Consumer) -> None:
        """Offsets and records together. Refuses a consumer that is no member of its group now.

        The broker accepts a generation of -1 and then fences nobody.
        """
        member = consumer.consumer_group_metadata()
        if generation(member) < 0:
            raise AbortedError("this consumer is not a member of its group now")
        self._call(
            "send_offsets", self._producer.send_offsets_to_transaction, positions, member, CALL_S
        )
        self.commit_records()

    def commit_records(self) -> None:
        """Records alone: for what reads no group's offsets."""
        self._call("commit", self._producer.commit_transaction, CALL_S)
        self._is_open = False
        self._settled_at = time.monotonic() + SETTLE_S
        if self._waits:
            self._waits = False
            log.info("first commit after_s=%.2f", time.monotonic() - self._began)

    def abort(self) -> None:
        """Ends the transaction, if one is open. Raises LostError where even that fails."""
        if not self._is_open:
            return
        self._is_open = False
        if not self._failed:
            # records under way would reach the broker behind the abort, and nobody could read
            # beyond them
            self._producer.flush(FLUSH_S)
        try:
            self._call("abort", self._producer.abort_transaction, CALL_S)
        except AbortedError as error:
            raise LostError(f"abort: {error}") from error

    def _call(self, what: str, function: Callable[..., None], *args: Any) -> None:
        for _ in range(TRIES):
            began = time.monotonic()
            try:
                function(*args)
                if (seconds := time.monotonic() - began) > SLOW_S:
                    log.warning("transaction %s took %.1f s", what, seconds)
                return
            except KafkaException as caught:
                error = caught.args[0]
                log.warning("transaction %s: %s %s", what, error.name(), error.str())
                if error.fatal():
                    raise LostError(f"{what}: {error.str()}") from caught
                if error.txn_requires_abort():
                    self._failed = True
                    raise AbortedError(f"{what}: {error.str()}") from caught
                if not error.retriable():
                    raise LostError(f"{what}: {error.str()}") from caught
            time.sleep(PAUSE_S)
        raise LostError(f"{what}: tried {TRIES} times")
