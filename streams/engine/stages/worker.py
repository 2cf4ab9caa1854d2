"""The worker of a stage: state, outputs and offsets in one transaction, or none of them.

A loop polls, takes every record and every answer of its own calls into a buffer, and commits the
buffer: begin, write what follows and the changelog, send the offsets, commit. An abort reads the
state back from the changelog; nothing is ever undone in memory. A record whose consequences cannot
be written is found by taking what the buffer had one by one, and becomes a dead letter. A record
alone is committed at once; while a transaction is under way others gather, so batches grow with the
load by themselves.

Calls whose repetition harms nobody are made beside the transactions
(`streams/engine/calls/stage_calls.py`). Five things keep them exact:

1. Every transaction sends the offsets of every partition that it touches, moved or not. Those fence
   it: a worker that lost its partitions to another slot could otherwise still commit a transaction
   that holds nothing but answers.
2. A question is known by its id and a digest of its words.
3. Nothing is on the broker before the commit, and an abort reads back what was committed.
4. Few calls begin before their question is committed, and those made again take a part of the
   places; that a call is made again is committed before it is made.
5. What must not be repeated is not called here: the topology cannot be built so.
"""

import logging
import queue
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta

from confluent_kafka import Message

from schemas.events.operations import DeadLettered
from streams.config import Settings
from streams.engine import kafka
from streams.engine.calls.asking import Port, Report
from streams.engine.calls.pacing import wait_s
from streams.engine.calls.stage_calls import Answered, AskedAgain, StageCalls
from streams.engine.shapes import Step, inputs, kinds, stages
from streams.engine.stages.assignment import Ownership
from streams.engine.stages.buffer import HOLD_S, Buffer, positions
from streams.engine.stages.changelog import PLACE, topic
from streams.engine.stages.intake import Intake, partitions_of
from streams.engine.stages.partition import Partition
from streams.engine.stages.processor import Origin, Record, Taker, UnwritableError, now_utc
from streams.engine.transactions import AbortedError, LostError, RecordTooLargeError, Transactions
from streams.engine.untransacted import Untransacted
from streams.engine.worker import Worker

log = logging.getLogger(__name__)

POLL_S = 0.1
TOGETHER = 32
TRANSACTION_S = 1.0
LAG_S = 5.0
LINGER_MS = 5
"""A commit flushes at once, so a hop is no slower for it (5.9 ms against 8.0), and a full batch a
third cheaper.
"""
DRAIN_S = 10.0
LOOP_SILENT_S = 30.0


class TransactionRefusedError(Exception):
    """What follows from `origin` cannot be written; None where one cannot tell from what."""

    def __init__(self, origin: Origin, why: Exception):
        super().__init__(str(why))
        self.origin = origin


class Stage:
    """The worker of one slot of one stage. `ports` answer the calls that the stage makes."""

    def __init__(
        self,
        settings: Settings,
        key: str,
        slot: int,
        worker: Worker,
        pipeline: tuple[Step, ...],
        ports: Mapping[str, Port],
    ):
        self._settings, self._worker, self.name = settings, worker, f"stage-{key}"
        self._changelog = settings.prefix + topic(key, 0).name
        steps = stages(pipeline)[key]
        reads = sorted({settings.prefix + kind.topic() for kind in inputs(steps, pipeline)})
        said = {kind for step in steps for kind in kinds(step.writes)} | {DeadLettered}
        writes = sorted({settings.prefix + kind.topic() for kind in said})
        partitions = partitions_of(settings, reads, writes, self._changelog, worker)
        self._taker = Taker(settings, self.name, steps, worker.codec, partitions, pipeline)
        self._calls = StageCalls(
            ports,
            lambda: self._taker.definitions,
            settings.calls_at_once,
            Report(worker.metrics, self.name),
        )
        self._ownership = Ownership(settings, key, self._taker, worker, self._reassigned)
        self._transactions = self._maker(settings, slot)
        self._consumer = kafka.consumer(
            settings, self.name, slot, **{"enable.partition.eof": self._taker.has_windows}
        )
        self._intake = Intake(settings, self.name, self._taker, self._ownership, self._consumer)
        self._buffer = Buffer()
        self._careful = 0
        self._draining = False
        self._lag_at = self._moved_at = time.monotonic()
        log.info(
            "start worker=%s slot=%d reads=%s writes=%s owns=%s partitions=%d",
            self.name,
            slot,
            ",".join(reads),
            ",".join(writes),
            self._changelog,
            partitions,
        )

    def _maker(self, settings: Settings, slot: int) -> Transactions | Untransacted:
        if settings.control == "transactions":
            return Untransacted(kafka.producer(settings), last=self._changelog)
        return Transactions(
            kafka.producer(settings, f"{self.name}-{slot}", **{"linger.ms": LINGER_MS})
        )

    def run(self) -> None:
        """Until SIGTERM. Raises SystemExit with a sentence when most records are dead letters."""
        own = self._ownership
        self._consumer.subscribe(
            self._taker.types.topics,
            on_assign=own.on_assign,
            on_revoke=own.on_revoke,
            on_lost=own.on_revoke,
        )
        try:
            self._transactions.init()
            while not self._worker.stopping.is_set():
                self._round()
            self._drain()
        except LostError as error:
            self._worker.end(str(error))
        self._worker.ready(False)
        self._consumer.close()
        self._calls.stop()
        own.close()

    def _drain(self) -> None:
        """Takes no more records, begins no call, and lets what runs be answered and committed."""
        self._draining = True
        self._calls.close()
        until = time.monotonic() + DRAIN_S
        while time.monotonic() < until and (
            self._calls.running or not self._calls.done.empty() or self._buffer.since is not None
        ):
            self._round()

    def _round(self) -> None:
        """One poll, what it brought, what was answered meanwhile, and the commit if it is due."""
        self._worker.beat()
        if self._calls.silent_s > LOOP_SILENT_S:
            raise LostError(f"the loop that makes calls has stood still for {LOOP_SILENT_S:.0f} s")
        self._intake.pace(len(self._calls), self._draining)
        messages = self._intake.poll(self._wait_s(), self._transactions.settle)
        self._taker.use(self._worker.current_definitions)
        try:
            self._take_due()
            while messages:
                self._worker.beat()
                messages = messages[self._take(messages) :]
                self._hear()
                self._commit_if_full()
            self._hear()
            if self._buffer.due_in(time.monotonic()) == 0:
                self._commit()
        except AbortedError as error:
            self._abort(f"{error}")
        except (TransactionRefusedError, UnwritableError) as error:
            units = len(self._buffer.origins)
            self._abort(f"{error}")
            self._single_out(error, units)
        if time.monotonic() - self._lag_at > LAG_S:
            self._intake.report_lag()
            self._worker.metrics.gauge(
                "weir_calls_in_flight", self._calls.running, consumer=self.name
            )
            self._lag_at = time.monotonic()

    def _wait_s(self) -> float:
        """How long to wait for a record: until the next timer or commit, or as long as an answer
        may be kept waiting.
        """
        now = time.monotonic()
        waits = [POLL_S]
        wakes = [at for p in self._ownership.held.values() if (at := p.core.next_wake) is not None]
        if wakes:
            waits.append(max(0.0, (min(wakes) - now_utc()).total_seconds()))
        due_in = self._buffer.due_in(now)
        if due_in is not None:
            waits.append(due_in)
        if len(self._calls):
            waits.append(wait_s(now - self._moved_at))
        return min(waits) if self._calls.done.empty() else 0.0

    def _take(self, messages: list[Message]) -> int:
        """Takes the first of the messages, and more; returns how many. Raises UnwritableError."""
        some = messages[: 1 if self._careful else TOGETHER]
        until = time.perf_counter() + TRANSACTION_S
        taken = self._taker.take(self._ownership.held, some, now_utc(), until)
        if self._taker.share.exceeded:
            raise SystemExit(self._taker.share.sentence(self.name, self._taker.last_death))
        for message, records in zip(some, taken, strict=False):
            topic_name, number = kafka.partition_of(message)
            self._buffer.count_message(topic_name)
            self._add(self._ownership.held[number], records, message)
        self._begin_calls(len(taken))
        return len(taken)

    def _take_due(self) -> None:
        """Fires the timers that are due, and closes the windows of partitions that are quiet."""
        now = now_utc()
        for partition in self._intake.due():
            before = partition.core.seq
            records = self._taker.wake(partition, now)
            self._worker.metrics.count(
                "weir_timers_fired", partition.core.seq - before, consumer=self.name
            )
            if partition.idle:
                partition.idle = False
                quiet_since = now - timedelta(seconds=self._settings.idle_close_s)
                records += self._taker.pass_time(partition, quiet_since, now)
            self._add(partition, records, None)
            self._begin_calls(1)
        self._commit_if_full()

    def _hear(self) -> None:
        """Takes what the calls have to say, as long as it is about what is still asked."""
        while True:
            try:
                done = self._calls.done.get_nowait()
            except queue.Empty:
                return
            if isinstance(done, BaseException):
                raise done
            self._moved_at = time.monotonic()
            partition = self._ownership.held.get(done.partition)
            call = None if partition is None else partition.core.waiting(done.key)
            if partition is None or call is None:
                if isinstance(done, AskedAgain):
                    self._calls.give_up([done.key])
                continue
            records: list[Record] = []
            if isinstance(done, Answered):
                records = self._taker.answer(partition, call, done.answer, now_utc())
                self._buffer.answer(done.key)
            else:
                partition.core.ask_again(done.key)
                self._buffer.repeated.append(done.key)
            self._add(partition, records, done.key)
            self._begin_calls(1)
            self._commit_if_full()

    def _add(self, partition: Partition, records: Iterable[Record], origin: Origin) -> None:
        self._buffer.touch(partition, time.monotonic())
        self._buffer.add(origin, records)

    def _begin_calls(self, units: int) -> None:
        """Begins what was asked. What was taken beside it and asks nothing waits for no answer."""
        asked, self._taker.asked = self._taker.asked, []
        for number, call in asked:
            if self._buffer.ask(number, call):
                self._calls.ask(number, call)
        self._buffer.eager |= len(asked) < units
        if asked:
            self._moved_at = time.monotonic()

    def _commit_if_full(self) -> None:
        buffer = self._buffer
        if buffer.since is None:
            return
        held_s = time.monotonic() - buffer.since
        full = buffer.messages >= self._settings.batch_events or held_s >= TRANSACTION_S
        if self._careful or full or (buffer.unbegun and held_s >= HOLD_S):
            self._commit()

    def _commit(self) -> None:
        """One transaction with all that the buffer holds. Raises AbortedError,
        TransactionRefusedError, LostError.
        """
        buffer, began = self._buffer, time.perf_counter()
        self._transactions.begin()
        for (name, value, key, headers), origin in buffer.records:
            try:
                self._transactions.produce(name, value, key, headers)
            except RecordTooLargeError as error:
                raise TransactionRefusedError(origin, error) from error
        self._write_state(buffer)
        self._transactions.commit(
            positions(buffer.touched.values(), self._settings.control == "offsets"), self._consumer
        )
        self._buffer = Buffer()
        for partition in buffer.touched.values():
            partition.moved.clear()
            partition.dirty = False
        self._calls.committed(buffer.answered, buffer.repeated)
        for number, call in buffer.unbegun:
            self._calls.ask(number, call)
        for session, run in self._taker.over:
            self._calls.over(session, run)
        self._careful = max(0, self._careful - len(buffer.origins))
        self._report(buffer, time.perf_counter() - began)

    def _write_state(self, buffer: Buffer) -> None:
        count = 0
        try:
            for number, partition in buffer.touched.items():
                partition.place.turn += 1
                for key, value in partition.core.changes():
                    self._transactions.produce(self._changelog, value, key, partition=number)
                    count += 1
                self._transactions.produce(
                    self._changelog, partition.place.to_json(), PLACE, partition=number
                )
        except (
            RecordTooLargeError,
            TypeError,
            ValueError,
        ) as error:  # too large, or a state that has no JSON
            raise TransactionRefusedError(buffer.sole_origin, error) from error
        self._worker.metrics.count(
            "weir_state_records_written", count + len(buffer.touched), consumer=self.name
        )

    def _abort(self, why: str) -> None:
        log.warning("transaction aborted worker=%s why=%s", self.name, why)
        self._worker.metrics.count("weir_transactions", consumer=self.name, outcome="aborted")
        self._transactions.abort()
        self._forget_buffer()
        self._ownership.reload(self._consumer)
        self._ask_again()

    def _forget_buffer(self) -> None:
        """What is not committed has not happened; its calls go on and may be asked for again."""
        self._taker.tell(None)
        self._taker.asked.clear()
        self._calls.give_up(self._buffer.repeated)
        self._buffer = Buffer()

    def _reassigned(self) -> None:
        self._forget_buffer()
        if self._ownership.held:
            self._calls.keep_only(set(self._ownership.held))
            self._ask_again()

    def _ask_again(self) -> None:
        """Asks every question that has no committed answer: the calls know which they make."""
        for number, partition in self._ownership.held.items():
            for call in partition.core.open_calls():
                self._calls.ask(number, call, again=True)

    def _single_out(self, error: TransactionRefusedError | UnwritableError, units: int) -> None:
        """The record becomes a dead letter when it comes again; an unknown one is looked for one by
        one.
        """
        if error.origin is not None:
            self._taker.refuse(error.origin, str(error))
        elif self._careful or units <= 1:
            raise LostError(f"what follows from a timer cannot be written: {error}")
        else:
            self._careful = units

    def _report(self, buffer: Buffer, seconds: float) -> None:
        metrics = self._worker.metrics
        for name, count in buffer.topics.items():
            metrics.count("weir_records_taken", count, consumer=self.name, topic=name)
        for name, count in buffer.made.items():
            metrics.count("weir_events_made", count, consumer=self.name, event=name)
        self._taker.tell(metrics)
        metrics.count("weir_transactions", consumer=self.name, outcome="committed")
        metrics.observe("weir_transaction_seconds", seconds, consumer=self.name)
        metrics.observe("weir_batch_records", buffer.messages, consumer=self.name)


def run(
    settings: Settings,
    key: str,
    slot: int,
    worker: Worker,
    pipeline: tuple[Step, ...],
    ports: Mapping[str, Port],
) -> None:
    """Runs the stage of a key in a pipeline until SIGTERM. `ports` answer the calls that it makes
    itself.
    """
    table = stages(pipeline)
    if key not in table:
        raise SystemExit(f"there is no stage {key!r}: there are {', '.join(table)}")
    Stage(settings, key, slot, worker, pipeline, ports).run()
