"""The call runner: each call gets exactly one committed answer, though it takes seconds.

One thread speaks with Kafka: it polls, gives questions to the lanes, and commits what they
answered, answers and offsets in one short transaction; no call ever holds one open. Offsets go no
further than the oldest unfinished question, and their metadata says what is answered beyond it
(`offsets`), so a crash repeats only what was in flight. What must never be repeated waits until its
mark is committed, and is `Uncertain` to whoever finds the mark.
"""

import logging
import queue
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.codec import DecodeError, Headers, headers_of, trace_of, traceparent_of
from schemas.wire.large_bodies import ObjectStoreError
from schemas.wire.record_types import event_name
from schemas.wire.topics import MESSAGE_BYTES_MAX
from streams.config import Settings
from streams.engine import kafka
from streams.engine.calls import recovery
from streams.engine.calls.asking import Port
from streams.engine.calls.assignment import Holding, check_topics
from streams.engine.calls.cancellation import Hearing
from streams.engine.calls.dispatcher import (
    NAME,
    Finished,
    Lanes,
    Mark,
    Part,
    Place,
    Question,
    unreadable,
)
from streams.engine.calls.lease import Lease
from streams.engine.calls.pacing import wait_s
from streams.engine.dead_letters import Rejection, ShareLimit, letter
from streams.engine.shapes import Step, kinds
from streams.engine.transactions import AbortedError, LostError, Transactions
from streams.engine.worker import Worker

log = logging.getLogger(__name__)

REST_S = 0.1
"""How long the Kafka thread waits for a record where no call is under way."""
PUMP_S = 0.005
GAP_S, READ_MAX = 0.01, 500
OPEN_BYTES_MAX = 128 * 1024 * 1024
RECORD_BYTES_MAX = MESSAGE_BYTES_MAX - 65_536
DRAIN_S, LAG_S = 10.0, 5.0
Record = tuple[str, bytes, bytes, Headers, int]


class Calls:
    """The call runner of one slot: all questions, whatever port they go to."""

    def __init__(
        self,
        settings: Settings,
        slot: int,
        worker: Worker,
        steps: tuple[Step, ...],
        ports: Mapping[str, Port],
    ):
        self._settings, self._worker = settings, worker
        self._definitions = worker.current_definitions()
        self._lease = Lease(worker.end)
        self._lanes = Lanes(
            ports,
            lambda: self._definitions,
            settings.calls_at_once,
            self._lease.holds,
            worker.stopping,
            worker.metrics,
        )
        self._hearing = Hearing(settings, worker.codec, self._lanes.endings.waits, self._lanes.over)
        self._holding = Holding(settings, steps, worker, self._lanes, self._drain)
        self._share = ShareLimit(settings.dead_share_max)
        self._producer: Producer = kafka.producer(settings, f"{NAME}-{slot}")
        self._transactions = Transactions(self._producer)
        self._consumer: Consumer = kafka.consumer(
            settings,
            NAME,
            slot,
            **{"queued.min.messages": 1_000, "queued.max.messages.kbytes": 16_384},
        )
        self._finished: list[tuple[Finished, list[Record]]] = []
        self._marks: list[Mark] = []
        self._committed_at = self._lag_at = self._moved_at = 0.0
        check_topics(settings, steps, worker)
        log.info(
            "start worker=%s slot=%d reads=%s writes=%s",
            NAME,
            slot,
            ",".join(self._holding.asks),
            ",".join(
                sorted({settings.prefix + k.topic() for step in steps for k in kinds(step.writes)})
            ),
        )

    def run(self) -> None:
        """Until SIGTERM, and at most ten seconds longer. Raises SystemExit where most questions are
        dead letters.
        """
        hold = self._holding
        self._consumer.subscribe(
            sorted(hold.asks),
            on_assign=hold.on_assign,
            on_revoke=hold.on_revoke,
            on_lost=hold.on_lost,
        )
        try:
            self._transactions.init()
            while not self._worker.stopping.is_set():
                self._definitions = self._worker.current_definitions()
                self._take(self._wait_s())
                self._pump(0)
            self._worker.ready(False)
            self._drain(hold.parts.values(), DRAIN_S)
        except LostError as error:
            self._worker.end(str(error))
        hold.drop(hold.parts.values())
        self._consumer.close()
        self._hearing.close()
        self._lease.close()
        self._lanes.close()
        hold.close()

    def _wait_s(self) -> float:
        """How long to wait for a record: long at rest, less where an answer may come meanwhile."""
        if self._finished or self._marks or self._holding.new:
            return max(0.0, self._committed_at + GAP_S - time.monotonic())
        if not self._holding.open:
            return REST_S
        return wait_s(time.monotonic() - self._moved_at)

    def _take(self, wait_s: float) -> None:
        """Waits for questions, reads as many as there is room for, and gives them to the lanes."""
        hold = self._holding
        free = 2 * self._settings.calls_at_once - hold.open
        hold.pace(self._consumer, free > 0 and hold.open_bytes < OPEN_BYTES_MAX)
        questions, skipped = [], []
        first = self._consumer.poll(wait_s)
        more = self._consumer.consume(max(1, min(READ_MAX, free)), 0) if first else []
        for message in (first, *more) if first else ():
            error = message.error()
            if error is not None:
                self._heed(error)
                continue
            part = hold.parts.get(kafka.partition_of(message))
            offset = kafka.offset_of(message)
            if part is None or offset < part.tracker.next_offset:
                continue
            again = offset in part.tracker.left
            if part.tracker.take(offset):
                hold.open_record(part, offset, message)
                questions += self._question(part, offset, message, again)
            else:
                skipped.append(Place(part.topic, part.partition, offset))
        if questions:
            self._moved_at = time.monotonic()
            self._lanes.dispatch(questions)
        if skipped:
            self._lanes.forget(skipped)
            self._worker.metrics.count("weir_records_skipped", len(skipped), consumer=NAME)
        if time.monotonic() - self._lag_at > LAG_S:
            self._lag_at = time.monotonic()
            hold.say(self._consumer)

    def _question(self, part: Part, offset: int, message: Message, again: bool) -> list[Question]:
        [kind] = kinds(part.step.reads)
        try:
            event = self._worker.codec.decode(kind, message.value(), message.key())
        except DecodeError as error:
            self._note(Finished(part, offset, unreadable(part.step, error, self._definitions)))
            return []
        return [Question(part, offset, event, started=offset in part.tracker.started, again=again)]

    def _heed(self, error: KafkaError) -> None:
        if kafka.is_fatal(error):
            raise LostError(f"consumer: {error.str()}")
        log.warning("consumer: %s %s", error.name(), error.str())

    def _pump(self, wait_s: float) -> None:
        """Takes what the lanes are done with, and commits it when the last transaction is long
        enough ago.
        """
        self._worker.beat()
        self._lease.beat()
        try:
            self._sort(self._lanes.done.get(timeout=wait_s))
            while True:
                self._sort(self._lanes.done.get_nowait())
        except queue.Empty:
            due = time.monotonic() - self._committed_at >= GAP_S
        if due and (self._finished or self._marks or self._holding.new):
            self._commit()

    def _sort(self, done: Finished | Mark | Exception) -> None:
        self._moved_at = time.monotonic()
        if isinstance(done, Mark):
            self._marks.append(done)
        elif isinstance(done, Finished):
            self._note(done)
        else:
            raise done

    def _note(self, done: Finished) -> None:
        """Encodes an outcome at once, so that a transaction cannot fail over it."""
        if not done.part.live or done.offset not in done.part.records:
            return
        message, dead = done.part.records[done.offset], done.outcome.dead
        records: list[Record] = []
        try:
            records = [self._record(event, message) for event in done.outcome.events]
        except ObjectStoreError:
            raise
        except Exception as error:  # an answer that no class of event, or no broker, takes
            log.exception("an answer cannot be written")
            dead = ("error", f"its answer cannot be written: {type(error).__name__}: {error}")
        if dead:
            records = [self._letter(message, *dead)]
        self._share.add(dead is not None)
        if self._share.exceeded:
            raise SystemExit(self._share.sentence(NAME, str(dead)))
        self._finished.append((done, records))

    def _record(self, event: Event, message: Message) -> Record:
        value = self._worker.codec.encode(event)
        if len(value) > RECORD_BYTES_MAX:
            name = type(event).__name__
            raise ValueError(f"{name} of {len(value)} bytes: a record may have {RECORD_BYTES_MAX}")
        topic, number = kafka.partition_of(message)
        trace = trace_of(kafka.record_headers(message))
        headers = headers_of(event, traceparent_of(event, trace))
        headers.append(recovery.header(topic, kafka.offset_of(message)))
        return (
            self._settings.prefix + event.topic(),
            value,
            event.partition_key().encode(),
            headers,
            number,
        )

    def _letter(self, message: Message, reason: Any, detail: str) -> Record:
        made = letter(message, Rejection(reason, detail, NAME, datetime.now(UTC)))
        self._worker.metrics.count("weir_dead_letters", consumer=NAME, reason=reason)
        return (
            self._settings.prefix + DeadLettered.topic(),
            self._worker.codec.encode(made),
            made.partition_key().encode(),
            headers_of(made),
            -1,
        )

    def _commit(self) -> None:
        """One transaction with all that is finished. AbortedError, it is tried again for what is
        still held.
        """
        self._finished = [one for one in self._finished if one[0].part.live]
        marks, self._marks = self._grantable(self._marks)
        hold = self._holding
        touched: dict[Part, tuple[set[int], set[int]]] = {
            part: (set(), set()) for part in hold.take_new()
        }
        for done, _ in self._finished:
            touched.setdefault(done.part, (set(), set()))[0].add(done.offset)
        for mark in marks:
            touched.setdefault(mark.part, (set(), set()))[1].add(mark.offset)
        if not touched:
            return
        began = time.perf_counter()
        try:
            self._transactions.begin()
            for done, records in self._finished:
                for record in records:
                    self._produce(done.part, *record)
            self._transactions.commit(
                [position(part, *change) for part, change in touched.items()], self._consumer
            )
        except AbortedError as error:
            log.warning("transaction aborted worker=%s why=%s", NAME, error)
            self._transactions.abort()
            self._worker.metrics.count("weir_transactions", consumer=NAME, outcome="aborted")
            self._marks += marks
            hold.put_back_new(touched)
            self._committed_at = time.monotonic()
            return
        self._settle(touched, marks, time.perf_counter() - began)

    def _settle(
        self, touched: dict[Part, tuple[set[int], set[int]]], marks: list[Mark], seconds: float
    ) -> None:
        self._committed_at = time.monotonic()
        for part, (offsets, started) in touched.items():
            part.tracker.settle(offsets, started)
            self._holding.close_records(part, offsets)
        for mark in marks:
            mark.granted(True)
        self._lanes.forget(
            [Place(done.part.topic, done.part.partition, done.offset) for done, _ in self._finished]
        )
        metrics = self._worker.metrics
        made = [record for _, records in self._finished for record in records]
        for event, count in Counter(event_name(record[3]) for record in made).items():
            metrics.count("weir_events_made", count, consumer=NAME, event=event)
        self._finished = []
        metrics.count("weir_transactions", consumer=NAME, outcome="committed")
        metrics.observe("weir_transaction_seconds", seconds, consumer=NAME)

    def _grantable(self, marks: list[Mark]) -> tuple[list[Mark], list[Mark]]:
        """Marks that can be committed now, and those that wait until others are answered."""
        now: dict[Part, list[Mark]] = {}
        later = []
        for mark in marks:
            those = now.setdefault(mark.part, [])
            if not mark.part.live:
                mark.granted(False)
            elif mark.part.tracker.can_start([mark.offset, *(other.offset for other in those)]):
                those.append(mark)
            else:
                later.append(mark)
        return [mark for those in now.values() for mark in those], later

    def _produce(
        self, part: Part, topic: str, value: bytes, key: bytes, headers: Headers, partition: int
    ) -> None:
        def delivered(error: Any, message: Message) -> None:
            if error is not None:
                return
            place = self._holding.answer_places(part).get(kafka.partition_of(message))
            if place is not None:
                part.tracker.positions[place] = max(
                    part.tracker.positions[place], kafka.offset_of(message) + 1
                )

        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition, on_delivery=delivered, headers=headers
                )
                return
            except BufferError:
                self._producer.poll(0.01)
            except KafkaException as error:
                raise LostError(f"produce to {topic}: {error.args[0].str()}") from error

    def _drain(self, parts: Iterable[Part], at_most_s: float) -> None:
        """Begins nothing more of these partitions, and lets what runs come to its end and be
        committed.
        """
        parts, deadline = list(parts), time.monotonic() + at_most_s
        for part in parts:
            part.draining = True
        if parts and self._worker.stopping.is_set():
            self._consumer.pause([TopicPartition(part.topic, part.partition) for part in parts])
        while time.monotonic() < deadline and (
            any(part.running for part in parts) or self._finished
        ):
            self._pump(PUMP_S)
        self._committed_at = 0.0
        self._pump(0.001)


def position(part: Part, answered_now: set[int], started: set[int]) -> TopicPartition:
    offset, metadata = part.tracker.commit(answered_now, started)
    return TopicPartition(part.topic, part.partition, offset, metadata)


def run(
    settings: Settings,
    slot: int,
    worker: Worker,
    steps: tuple[Step, ...],
    ports: Mapping[str, Port],
) -> None:
    """Runs the Calls among the steps, through the ports, until SIGTERM."""
    Calls(settings, slot, worker, steps, ports).run()
