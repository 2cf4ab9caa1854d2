"""How does a stage worker take records exactly once? State, outputs and offsets in one transaction,
or none of them.

A loop: poll, begin, take every record, write what follows and the changelog, send the offsets,
commit. An abort reads the state back from the changelog; nothing is ever undone in memory. A record
whose consequences cannot be written is found by taking the records of its batch one by one, and
becomes a dead letter. A record alone is taken at once; while a transaction is under way others
gather, so batches grow with the load by themselves.
"""

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from confluent_kafka import KafkaError, Message, TopicPartition

from schemas.events.operations import DeadLettered
from schemas.wire.record_types import event_name
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import Step, inputs, kinds, stages
from streams.engine.stages.assignment import Ownership
from streams.engine.stages.changelog import PLACE, topic
from streams.engine.stages.processor import Partition, Record, Taker, Unwritable, now_utc
from streams.engine.stages.untransacted import Untransacted
from streams.engine.transactions import Aborted, Lost, TooLarge, Transactions
from streams.engine.worker import Worker

log = logging.getLogger(__name__)

POLL_S = 0.05
TOGETHER = 32
TRANSACTION_S = 1.0
LAG_S = 5.0
LINGER_MS = 5
"""A commit flushes at once, so a hop is no slower for it (5.9 ms against 8.0), and a full batch a
third cheaper.
"""


class Refused(Exception):
    """What follows from a record cannot be written. `message` is None where one cannot tell from
    which.
    """

    def __init__(self, message: Message | None, why: Exception):
        super().__init__(str(why))
        self.message = message


class Stage:
    """The worker of one slot of one stage."""

    def __init__(
        self, settings: Settings, key: str, slot: int, worker: Worker, steps: tuple[Step, ...]
    ):
        self._settings, self._worker, self.name = settings, worker, f"stage-{key}"
        self._changelog = settings.prefix + topic(key, 0).name
        reads = sorted({settings.prefix + kind.topic() for kind in inputs(steps)})
        said = {kind for step in steps for kind in kinds(step.writes)} | {DeadLettered}
        writes = sorted({settings.prefix + kind.topic() for kind in said})
        partitions = partitions_of(settings, reads, writes, self._changelog, worker)
        self._taker = Taker(settings, self.name, steps, worker.codec, partitions)
        self._ownership = Ownership(settings, key, self._taker, worker)
        self._transactions = self._maker(settings, slot)
        self._consumer = kafka.consumer(
            settings, self.name, slot, **{"enable.partition.eof": self._taker.has_windows}
        )
        self._careful = 0
        self._lag_at = time.monotonic()
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
                self._worker.beat()
                self._round()
        except Lost as error:
            self._worker.end(str(error))
        self._worker.ready(False)
        self._consumer.close()
        own.close()

    def _round(self) -> None:
        """One poll, and the transactions for what it brought."""
        messages = self._poll()
        self._taker.use(self._worker.current_definitions)
        due = self._due()
        try:
            while messages or due:
                self._worker.beat()
                messages = messages[self._transact(messages, due) :]
                due = []
        except Aborted as error:
            self._abort(f"{error}")
        except Refused as error:
            self._abort(f"{error}")
            self._single_out(error, len(messages))
        if time.monotonic() - self._lag_at > LAG_S:
            self._say_lag()

    def _poll(self) -> list[Message]:
        """Records of partitions held that their state has not seen; waits for a moment or the next
        timer.
        """
        first = self._consumer.poll(self._wait_s())
        if first is None:
            return []
        self._transactions.settle()
        fresh, skipped, held = [], 0, self._ownership.held
        for message in (first, *self._consumer.consume(self._settings.batch_events - 1, 0)):
            error = message.error()
            partition = held.get(message.partition())
            if error is not None:
                self._heed(error, message, partition)
            elif partition is None or partition.has_seen(message):
                skipped += 1
            else:
                fresh.append(message)
        if skipped:
            self._worker.metrics.count("weir_records_skipped", skipped, consumer=self.name)
        return fresh

    def _wait_s(self) -> float:
        wakes = [at for p in self._ownership.held.values() if (at := p.core.next_wake) is not None]
        if not wakes:
            return POLL_S
        return min(POLL_S, max(0.0, (min(wakes) - now_utc()).total_seconds()))

    def _heed(self, error: KafkaError, message: Message, partition: Partition | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if partition is not None:
                partition.ends[message.topic()] = message.offset()
        elif kafka.is_fatal(error):
            raise Lost(f"consumer: {error.str()}")
        else:
            log.warning("consumer: %s %s", error.name(), error.str())

    def _due(self) -> list[Partition]:
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
                self._worker.beat,
            )[1]
            if high > end:
                return False
        return True

    def _transact(self, messages: list[Message], due: list[Partition]) -> int:
        """One transaction; returns how many of the messages are in it. Raises Aborted, Refused,
        Lost.
        """
        began, now, taken, made = time.perf_counter(), now_utc(), 0, {}
        held, touched = self._ownership.held, {partition.number: partition for partition in due}
        until = began + TRANSACTION_S
        self._transactions.begin()
        for partition in due:
            self._write(self._overdue(partition, now), None, made)
        most = int(not due) if self._careful else len(messages)
        while taken < most and (not taken or time.perf_counter() < until):
            taken += self._take(messages[taken : min(taken + TOGETHER, most)], now, until, made)
        touched |= {message.partition(): held[message.partition()] for message in messages[:taken]}
        self._write_state(touched, messages[0] if taken == 1 and not due else None)
        self._transactions.commit(positions(touched.values()), self._consumer)
        for partition in touched.values():
            partition.moved.clear()
        self._careful = max(0, self._careful - taken)
        self._say(messages[:taken], made, time.perf_counter() - began)
        return taken

    def _take(
        self, messages: list[Message], now: datetime, until: float, made: dict[str, int]
    ) -> int:
        """Takes the first of the messages, and more until then; returns how many."""
        try:
            taken = self._taker.take(self._ownership.held, messages, now, until)
        except Unwritable as error:
            raise Refused(error.message, error) from error
        if self._taker.share.exceeded:
            self._transactions.abort()
            raise SystemExit(self._taker.share.sentence(self.name, self._taker.last_death))
        for message, records in zip(messages, taken, strict=False):
            self._write(records, message, made)
        return len(taken)

    def _overdue(self, partition: Partition, now: datetime) -> list[Record]:
        before = partition.core.seq
        records = self._taker.wake(partition, now)
        self._worker.metrics.count(
            "weir_timers_fired", partition.core.seq - before, consumer=self.name
        )
        if partition.idle:
            partition.idle = False
            quiet_since = now - timedelta(seconds=self._settings.idle_close_s)
            records += self._taker.pass_time(partition, quiet_since, now)
        return records

    def _write(self, records: list[Record], cause: Message | None, made: dict[str, int]) -> None:
        produce = self._transactions.produce
        try:
            for name, value, key, headers in records:
                produce(name, value, key, headers)
                event = event_name(headers)
                made[event] = made.get(event, 0) + 1
        except TooLarge as error:
            raise Refused(cause, error) from error

    def _write_state(self, touched: dict[int, Partition], cause: Message | None) -> None:
        count = 0
        try:
            for number, partition in touched.items():
                partition.place.turn += 1
                for key, value in partition.core.changes():
                    self._transactions.produce(self._changelog, value, key, partition=number)
                    count += 1
                self._transactions.produce(
                    self._changelog, partition.place.to_json(), PLACE, partition=number
                )
        except (TooLarge, TypeError, ValueError) as error:  # too large, or a state that has no JSON
            raise Refused(cause, error) from error
        self._worker.metrics.count(
            "weir_state_records_written", count + len(touched), consumer=self.name
        )

    def _abort(self, why: str) -> None:
        log.warning("transaction aborted worker=%s why=%s", self.name, why)
        self._worker.metrics.count("weir_transactions", consumer=self.name, outcome="aborted")
        self._transactions.abort()
        self._taker.tell(None)
        self._ownership.reload(self._consumer)

    def _single_out(self, error: Refused, batch: int) -> None:
        """The record becomes a dead letter when it comes again; an unknown one is looked for one by
        one.
        """
        if error.message is not None:
            self._taker.refuse(error.message, str(error))
        elif self._careful or not batch:
            raise Lost(f"what follows from a timer cannot be written: {error}")
        else:
            self._careful = batch

    def _say(self, messages: list[Message], made: dict[str, int], seconds: float) -> None:
        metrics, taken = self._worker.metrics, {}
        for message in messages:
            taken[message.topic()] = taken.get(message.topic(), 0) + 1
        for name, count in taken.items():
            metrics.count("weir_records_taken", count, consumer=self.name, topic=name)
        for name, count in made.items():
            metrics.count("weir_events_made", count, consumer=self.name, event=name)
        self._taker.tell(metrics)
        metrics.count("weir_transactions", consumer=self.name, outcome="committed")
        metrics.observe("weir_transaction_seconds", seconds, consumer=self.name)
        metrics.observe("weir_batch_records", len(messages), consumer=self.name)

    def _say_lag(self) -> None:
        """By what the last fetches told: no question to the broker."""
        lag, late = dict.fromkeys(self._taker.types.topics, 0), {}
        for number, partition in self._ownership.held.items():
            for name in lag:
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(name, number), cached=True
                )
                lag[name] += max(0, high - max(low, partition.place.offsets.get(name, 0)))
            for step, counts in partition.core.counts.items():
                late[step] = late.get(step, 0) + counts["late"]
        for step, events in late.items():
            self._worker.metrics.gauge("weir_late_events", events, consumer=self.name, step=step)
        for name, records in lag.items():
            self._worker.metrics.gauge("weir_lag_records", records, consumer=self.name, topic=name)
        self._lag_at = time.monotonic()


def positions(touched: Iterable[Partition]) -> list[TopicPartition]:
    """The offsets that a transaction commits. Their metadata is the turn, so that one without
    records shows too.
    """
    return [
        TopicPartition(
            name, partition.number, partition.place.offsets[name], str(partition.place.turn)
        )
        for partition in touched
        for name in partition.moved or [next(iter(partition.place.offsets))]
    ]


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
            f"the topics of a stage must have one partition count, they have {counts}: a key's records "
            f"would not meet its state. Create them anew under another WEIR_PREFIX"
        )
    return counts[changelog]


def run(
    settings: Settings,
    key: str,
    slot: int,
    worker: Worker,
    pipeline: tuple[Step, ...],
) -> None:
    """Runs the stage of a key in a pipeline until SIGTERM."""
    table = stages(pipeline)
    if key not in table:
        raise SystemExit(f"there is no stage {key!r}: there are {', '.join(table)}")
    Stage(settings, key, slot, worker, table[key]).run()
