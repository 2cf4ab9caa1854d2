"""The sink worker: committed events are written to a sink, each exactly once, whatever is killed.

Batches have boundaries that are recorded in the offset commit's metadata before the insert; each
insert carries a token of topic, topic id, partition, boundaries, epoch and class; whoever comes
next replays a recorded range under its recorded epoch. A log may hold several classes: a batch is a
range of the log, and what it holds of each class is one insert. Killed 32 times with the database
killed 7 times, 500,000 rows and their views were exact; each simpler way lost or doubled.

Records that can never be stored become dead letters in the same transaction that records their
batch's range. So they too are written once: a replayed range was recorded, and its letters with it.
Letters with ids of their own place would have needed a table that removes repeats when it is read.
"""

import gc
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    KafkaException,
    Message,
    TopicPartition,
)

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from schemas.wire.record_types import ForeignType, RecordTypes
from sinks.base import Sink
from sinks.spec import SinkContext, sink_spec
from streams.config import Settings
from streams.engine import kafka
from streams.engine.sinks.batches import CommitMetadata, Lane, Limits, Place, read_metadata
from streams.engine.sinks.decode import Reader
from streams.engine.sinks.offset_commits import Ledger
from streams.engine.sinks.topic_ids import Topics, numbering_of
from streams.engine.worker import Worker

log = logging.getLogger(__name__)
PULL = 5_000
PULL_S = 0.05
DRAIN_S = 5.0
RETRY_S = (0.2, 0.5, 1.0, 2.0)
GARBAGE = 100_000
GATHERED = {"fetch.min.bytes": 65_536, "fetch.wait.max.ms": 200}
"""Rows wait for others of their insert anyway: the broker is asked five times a second, not at
every record.
"""
HIGH = 4
"""Batches in memory, in rows or bytes, above which reading pauses."""


def sink_of(settings: Settings, name: str, worker: Worker | None = None) -> Sink:
    """The sink of this name, made from the settings. Raises ValueError where there is none."""
    definitions = worker.current_definitions if worker else Definitions
    measure = worker.metrics.measure if worker else None
    days = retention_of(definitions, settings.retention_days)
    beat = worker.beat if worker else lambda: None
    context = SinkContext(settings, days, measure, lambda kind: numbering_of(settings, kind, beat))
    return sink_spec(name).make(context)


def retention_of(definitions: Callable[[], Definitions], usual_days: int) -> Callable[[str], int]:
    """How many days the rows of a tenant are stored, by the definitions in force at the time."""

    def days(tenant: str) -> int:
        known = definitions().tenant(tenant)
        return (known and known.retention_days) or usual_days

    return days


@dataclass(frozen=True)
class Stored:
    """The classes that a sink stores. Records of those that are `validated` were validated when
    they were made, because no one outside writes them.
    """

    events: tuple[type[Event], ...]
    validated: frozenset[type[Event]]


class SinkWorker:
    """One worker of one sink. The main thread reads, cuts and records; one other thread writes."""

    def __init__(self, settings: Settings, sink: Sink, stored: Stored, slot: int, worker: Worker):
        self._sink, self._worker, self._name = sink, worker, f"sink-{sink.name}"
        self._types = RecordTypes(settings.prefix, stored.events)
        self._limits = Limits(min(settings.sink_rows, sink.rows_max), settings.sink_age_s)
        self._reader = Reader(worker.codec, sink, stored.validated, settings.retention_days)
        self._consumer = kafka.consumer(settings, self._name, slot, **GATHERED)
        self._ledger = Ledger(settings, self._name, slot, worker, self._consumer)
        self._topics = Topics(settings, self._name, worker)
        self._in_doubt = False
        self._lanes: dict[Place, Lane] = {}
        self._paused: set[Place] = set()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._writing: tuple[Lane, Future[None]] | None = None
        self._failures, self._not_before = 0, 0.0
        self._crash: BaseException | None = None

    def run(self) -> None:
        _collect_seldom()
        log.info(
            "%s reads %s, writes to %s, owns nothing",
            self._name,
            self._types.topics,
            self._sink.name,
        )
        self._ledger.open()
        self._consumer.subscribe(
            self._types.topics,
            on_assign=self._guarded(self._assigned),
            on_revoke=self._guarded(self._taken_away),
            on_lost=self._guarded(self._taken_away),
        )
        try:
            while not self._worker.stopping.is_set():
                self._turn()
            self._drain()
        finally:
            self._writer.shutdown(wait=False, cancel_futures=True)
            self._consumer.close()

    def _turn(self) -> None:
        self._worker.beat()
        self._hold_back()
        self._take(self._consumer.consume(PULL, PULL_S))
        if self._crash:
            raise self._crash
        now = time.monotonic()
        if self._in_doubt:
            self._in_doubt = not self._topics.are_the_same(
                lane.topic for lane in self._lanes.values()
            )
        self._collect(now)
        if now >= self._not_before:
            self._cut(now)
            self._record(now)
            self._write_next()

    def _hold_back(self) -> None:
        """Above the high mark partitions are paused, but for those that have a recorded range to
        read whole.

        consume() goes on meanwhile: it keeps the membership alive.
        """
        lanes = self._lanes.values()
        rows, size = sum(lane.rows for lane in lanes), sum(lane.size for lane in lanes)
        full = max(rows / self._limits.rows, size / self._limits.size)
        above = full > (HIGH / 2 if self._paused else HIGH)
        wanted = {lane.place for lane in lanes if not lane.pending} if above else set()
        for change, places in (
            (self._consumer.pause, wanted - self._paused),
            (self._consumer.resume, self._paused - wanted),
        ):
            if places:
                change([TopicPartition(*place) for place in places])
        self._paused = wanted

    def _take(self, messages: list[Message]) -> None:
        now, lanes = time.monotonic(), self._lanes
        for message in messages:
            error = message.error()
            if error is None:
                lane = lanes.get((message.topic(), message.partition()))
                if lane and not (lane.add if self._is_wanted(message) else lane.pass_over)(
                    message, now
                ):
                    self._in_doubt = True  # offsets that begin anew look like this too
            elif kafka.is_fatal(error):
                raise KafkaException(error)
            else:
                self._in_doubt = True
                log.warning("reading: %s", error.str())

    def _is_wanted(self, message: Message) -> bool:
        """Whether the record is of a class that the sink takes. One of no class becomes a dead
        letter, when it is read.
        """
        try:
            return self._types.of(message) is not None
        except ForeignType:
            return True

    def _cut(self, now: float) -> None:
        """Makes the cuts that are due and reads what they hold."""
        for lane in self._lanes.values():
            if lane.new and not self._is_new_indeed(lane, now):
                continue
            cut = lane.cut or lane.make_cut(self._limits, self._sink.epoch, now)
            if not cut or cut.read:
                continue
            cut.inserts, bad = self._reader.read_all(self._types, lane.topic_id, cut.messages)
            self._worker.beat()
            if (cut.recorded or bad) and not self._topics.are_the_same([lane.topic]):
                continue
            if not cut.recorded:
                self._ledger.check_share(lane, bad)
                cut.recorded = bool(bad) and self._ledger.record_with_letters(lane, bad)
            # Not recorded though it has letters: read, and so tried, once more.
            cut.read = cut.recorded or not bad
            if cut.recorded:
                lane.committed()

    def _is_new_indeed(self, lane: Lane, now: float) -> bool:
        """Whether the sink has said that it has no rows of a topic without offsets; the writer asks
        it.

        Raises SystemExit with a sentence where it has some: the group's offsets were lost, and with
        them the ranges and tokens that keep a row from being written twice.
        """
        if not lane.buffer:
            return False
        if lane.looking is None:
            lane.looking = self._writer.submit(self._greatest_offsets, lane.topic, lane.partition)
        if not lane.looking.done():
            return False
        looked, lane.looking = lane.looking, None
        if (error := looked.exception()) is not None:
            self._put_off(lane, error, now)
            return False
        self._topics.check_offsets(lane, looked.result(), self._sink.name)
        lane.new = False
        return True

    def _greatest_offsets(self, topic: str, partition: int) -> dict[str, int]:
        """Of the records of a partition that the sink holds, whatever their class, by topic id."""
        greatest: dict[str, int] = {}
        for kind in self._types.classes_in(topic):
            for topic_id, offset in self._sink.greatest_offsets(kind, partition).items():
                greatest[topic_id] = max(offset, greatest.get(topic_id, offset))
        return greatest

    def _record(self, now: float) -> None:
        """One commit of the new cuts' ranges, and of how far idle partitions are stored."""
        due = [lane for lane in self._lanes.values() if _needs_commit(lane, now)]
        if not due or not self._topics.are_the_same(lane.topic for lane in due):
            return
        committed = self._ledger.record(due)
        for lane in due:
            if lane.place in committed:
                lane.committed()
                if lane.cut:
                    lane.cut.recorded = True

    def _write_next(self) -> None:
        """Gives the writer the next recorded cut, each partition in its turn."""
        if self._writing:
            return
        for place, lane in list(self._lanes.items()):
            if lane.cut and lane.cut.recorded and lane.cut.read:
                self._lanes[place] = self._lanes.pop(place)
                self._writing = lane, self._writer.submit(self._write, lane)
                return

    def _write(self, lane: Lane) -> None:
        """The cut's inserts, one a class. What is written already is not tried again after an error
        of another.
        """
        cut = lane.cut
        for each in cut.inserts:
            name = each.kind.__name__
            if not each.written:
                with self._worker.metrics.timed(
                    "weir_insert_seconds", consumer=self._name, table=name
                ):
                    self._sink.write(each.prepared, cut.range.token(*lane.place, name))
                each.written = True

    def _collect(self, now: float) -> None:
        """What became of the write under way. After an error the same rows and token come again,
        for ever.
        """
        if not self._writing or not self._writing[1].done():
            return
        lane, future = self._writing
        self._writing = None
        error = future.exception()
        if error is not None:
            self._put_off(lane, error, now)
            return
        if self._failures:
            self._failures = 0
            self._worker.ready(True)
        if self._lanes.get(lane.place) is lane:
            for each in lane.cut.inserts:
                self._worker.metrics.count(
                    "weir_rows_landed",
                    each.rows,
                    consumer=self._name,
                    table=each.kind.__name__,
                )
            lane.finish()

    def _put_off(self, lane: Lane, error: BaseException, now: float) -> None:
        pause_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._not_before, self._failures = now + pause_s, self._failures + 1
        self._worker.ready(False)
        log.warning(
            "%s did not take the rows of %s[%d], try %d, the same again in %.1f s: %s: %s",
            self._sink.name,
            *lane.place,
            self._failures,
            pause_s,
            type(error).__name__,
            str(error)[:300],
        )

    def _assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Positions come from the broker, never from memory: the previous owner may have gone on."""
        start, ids = [], self._topics.learn(each.topic for each in partitions)
        for each in self._ledger.committed(partitions):
            place, topic_id, said = (
                (each.topic, each.partition),
                ids[each.topic],
                read_metadata(each.metadata),
            )
            if said.is_of_another(topic_id):
                self._topics.tell_of_another(each.topic, said.topic_id, topic_id)
                said, each.offset = CommitMetadata(), OFFSET_INVALID
            self._lanes[place] = Lane(*place, topic_id, said.pending, new=each.offset < 0)
            start.append(
                TopicPartition(*place, each.offset if each.offset >= 0 else OFFSET_BEGINNING)
            )
        consumer.assign(start)
        consumer.resume(
            start
        )  # a pause outlives its assignment: a partition that came back so was never read again
        replayed = {
            f"{lane.topic}[{lane.partition}]": lane.pending
            for lane in self._lanes.values()
            if lane.pending
        }
        log.info("%s has %d partitions, replays %s", self._name, len(start), replayed or "nothing")
        self._worker.ready(True)

    def _taken_away(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Nothing is flushed: the next owner replays what was recorded.

        A write under way does no harm, its token is the one that the next owner uses.
        """
        for each in partitions:
            self._lanes.pop((each.topic, each.partition), None)
            self._paused.discard((each.topic, each.partition))
        consumer.unassign()

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """An exception in a rebalance callback would end the consumer with an opaque SystemError."""

        def guarded(consumer: Any, partitions: list[TopicPartition]) -> None:
            try:
                callback(consumer, partitions)
            except BaseException as error:
                self._crash = error

        return guarded

    def _drain(self) -> None:
        """Lets the write under way end and says how far rows are stored. What is only recorded is
        replayed later.
        """
        deadline = time.monotonic() + DRAIN_S
        while self._writing and time.monotonic() < deadline:
            self._worker.beat()
            self._take(self._consumer.consume(1, PULL_S))
            self._collect(time.monotonic())
        self._ledger.record(
            [
                lane
                for lane in self._lanes.values()
                if lane.needs_commit(math.inf) or (lane.stored is not None and not lane.cut)
            ]
        )


def _collect_seldom() -> None:
    """A batch is many objects and no cycles: by the usual thresholds a tenth of all time went into
    looking for some.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)


def _needs_commit(lane: Lane, now: float) -> bool:
    if lane.cut:
        return lane.cut.read and not lane.cut.recorded
    return lane.needs_commit(now)
