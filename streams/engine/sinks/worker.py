"""The sink worker: committed events are written to a sink, each exactly once, whatever is killed.

A batch takes what waits of all partitions and classes. Its ranges are recorded in the metadata of
its offset commits before the first insert; each insert carries a token of the ranges, the epoch and
the classes that it stores; whoever comes next writes a recorded batch under its recorded tokens.
Killed 32 times with the database killed 7 times, 500,000 rows and their views were exact; each
simpler way lost or doubled.

Records that can never be stored become dead letters in the same transaction that records their
batch. So they too are written once: a batch that is replayed was recorded, and its dead letters
with it. Dead letters with ids of their own would have needed a table that removes repeats.
"""

import gc
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaException, Message, TopicPartition

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from schemas.wire.record_types import RecordTypes
from sinks.base import Sink
from sinks.spec import SinkContext, sink_spec
from streams.config import Settings
from streams.engine import kafka
from streams.engine.sinks.batches import (
    BatchRanges,
    Lane,
    Limits,
    Partition,
    SinkBatch,
    next_batch,
    replayed,
)
from streams.engine.sinks.budget import InsertPace, LastBatch, due_at
from streams.engine.sinks.decode import Reader, is_wanted
from streams.engine.sinks.offset_commits import OffsetCommits
from streams.engine.sinks.recovery import recover
from streams.engine.sinks.retention import archive_retention_of, retention_of
from streams.engine.sinks.topic_ids import Topics, numbering_of
from streams.engine.sinks.writer import BatchWriter
from streams.engine.worker import Worker

log = logging.getLogger(__name__)
PULL = 5_000
PULL_S = 0.05
DRAIN_S = 5.0
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
    beat = worker.beat if worker else lambda: None
    context = SinkContext(
        settings,
        retention_of(definitions, settings.retention_days),
        archive_retention_of(definitions),
        measure,
        lambda kind: numbering_of(settings, kind, beat),
    )
    return sink_spec(name).make(context)


@dataclass(frozen=True)
class Stored:
    """The classes that a sink stores. Records of those that are `validated` were validated when
    they were made, because no one outside writes them.
    """

    events: tuple[type[Event], ...]
    validated: frozenset[type[Event]]


class SinkWorker:
    """One worker of one sink. The main thread reads, decodes and records; one other thread writes.

    While a batch is written the next one is decoded; it is recorded when the one before is stored.
    """

    def __init__(self, settings: Settings, sink: Sink, stored: Stored, slot: int, worker: Worker):
        self._settings, self._sink, self._worker = settings, sink, worker
        self._name = f"sink-{sink.name}"
        self._types = RecordTypes(settings.prefix, stored.events)
        self._limits = Limits(min(settings.sink_rows, sink.rows_max))
        self._pace = InsertPace(
            settings.sink_age_s, settings.sink_age_max_s, settings.sink_inserts_per_s
        )
        self._spent = LastBatch()
        self._reader = Reader(worker.codec, sink, stored.validated, settings.retention_days)
        self._consumer = kafka.consumer(settings, self._name, slot, **GATHERED)
        self._commits = OffsetCommits(settings, self._name, slot, worker, self._consumer)
        self._topics = Topics(settings, self._name, worker)
        self._in_doubt = False
        """Whether a topic may have been made anew."""
        self._lanes: dict[Partition, Lane] = {}
        self._replays: list[BatchRanges] = []
        self._next: SinkBatch | None = None
        self._paused: set[Partition] = set()
        self._writer = BatchWriter(sink, worker, self._name)
        self._written: list[Lane] = []
        """The lanes of the batch under way."""
        self._crash: BaseException | None = None

    def run(self) -> None:
        _collect_seldom()
        log.info("%s reads %s, owns nothing", self._name, self._types.topics)
        self._commits.open()
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
            self._writer.close()
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
        if not self._writer.pauses(now):
            if self._next is None:
                self._next = self._replay() if self._replays else self._cut(now)
            if not self._writer.busy:
                self._record(now)
                self._write_next(now)

    def _hold_back(self) -> None:
        """Above the high mark partitions are paused. consume() goes on meanwhile: it keeps the
        membership alive.
        """
        waiting = self._next
        lanes = self._lanes.values()
        rows = sum(len(lane.buffer) for lane in lanes) + (waiting.rows if waiting else 0)
        size = sum(lane.size for lane in lanes) + (waiting.size if waiting else 0)
        full = max(rows / self._limits.rows, size / self._limits.size)
        above = full > (HIGH / 2 if self._paused else HIGH)
        wanted = set(self._lanes) if above else set()
        for change, places in (
            (self._consumer.pause, wanted - self._paused),
            (self._consumer.resume, self._paused - wanted),
        ):
            if places:
                change([TopicPartition(topic, number) for topic, number in places])
        self._paused = wanted

    def _take(self, messages: list[Message]) -> None:
        now = time.monotonic()
        lanes = self._lanes
        for message in messages:
            error = message.error()
            if error is None:
                lane = lanes.get(kafka.partition_of(message))
                if lane and not (lane.add if is_wanted(self._types, message) else lane.pass_over)(
                    message, now
                ):
                    self._in_doubt = True  # offsets that begin anew look like this too
            elif kafka.is_fatal(error):
                raise KafkaException(error)
            else:
                self._in_doubt = True
                log.warning("reading: %s", error.str())

    def _cut(self, now: float) -> SinkBatch | None:
        """The next batch, decoded, once it is due."""
        lanes = [lane for lane in self._lanes.values() if lane.buffer]
        lanes = [lane for lane in lanes if not lane.new or self._is_really_new(lane, now)]
        if not lanes:
            return None
        rows, size = sum(len(lane.buffer) for lane in lanes), sum(lane.size for lane in lanes)
        full = rows >= self._limits.rows or size >= self._limits.size
        oldest = min(lane.since for lane in lanes)
        if now < due_at(oldest, full, self._pace, self._spent):
            return None
        batch = next_batch(lanes, self._limits, self._sink.epoch, now)
        if batch:
            self._prepare(batch)
            self._commits.check_share(batch)
        return batch

    def _replay(self) -> SinkBatch:
        """A batch that was recorded and perhaps written, read again from the log."""
        recorded = self._replays[0]
        there = self._topics.present({place[0] for place in recorded.ranges})
        messages: dict[Partition, list[Message]] = {}
        for place, one in recorded.ranges.items():
            now = there.get(place[0], "")
            if now != one.topic_id:
                self._topics.tell_of_another(place[0], one.topic_id, now)
                continue
            reading = kafka.read_to(
                self._settings, *place, (one.first, one.last + 1), self._worker.beat
            )
            messages[place] = list(reading)
        batch = replayed(recorded, messages)
        self._prepare(batch)
        self._replays.pop(0)
        return batch

    def _prepare(self, batch: SinkBatch) -> None:
        """Decodes a batch: what the sink takes, by group of classes, and what can never be
        stored.
        """
        by_topic: dict[tuple[str, str], list[Message]] = {}
        for place, messages in sorted(batch.messages.items()):
            topic_id = batch.recorded.ranges[place].topic_id
            by_topic.setdefault((place[0], topic_id), []).extend(messages)
        for (_, topic_id), messages in by_topic.items():
            found, bad = self._reader.read_all(self._types, topic_id, messages)
            self._worker.beat()
            batch.bad += bad
            for each in found:
                group = self._sink.group_of(each.kind)
                batch.prepared.setdefault(group, []).append(each.prepared)
                batch.landing[each.kind] = each.rows

    def _is_really_new(self, lane: Lane, now: float) -> bool:
        """Whether the sink has answered that it holds no rows of a partition without offsets; it is
        asked by the writer.

        Raises SystemExit with a sentence where it holds some: the group's offsets were lost, and
        with them the ranges and tokens that keep a row from being written twice.
        """
        if lane.looking is None:
            classes = self._types.classes_in(lane.topic)
            lane.looking = self._writer.greatest_offsets(classes, lane.partition)
        if not lane.looking.done():
            return False
        looked, lane.looking = lane.looking, None
        if (error := looked.exception()) is not None:
            self._writer.put_off(f"the offsets of {lane.topic}[{lane.partition}]", error, now)
            return False
        self._topics.check_offsets(lane, looked.result(), self._sink.name)
        lane.new = False
        return True

    def _record(self, now: float) -> None:
        """One commit of the next batch's ranges, and of how far partitions are stored."""
        batch = self._next
        if batch is not None and batch.is_recorded:
            return
        taken = batch.recorded.ranges if batch else {}
        others = [
            lane
            for lane in self._lanes.values()
            if lane.needs_commit(now) and lane.place not in taken
        ]
        topics = {lane.topic for lane in others} | {place[0] for place in taken}
        if not topics or not self._topics.are_the_same(topics):
            return
        letters = batch is not None and bool(batch.bad)
        committed = self._commits.record(None if letters else batch, others)
        for lane in others:
            if lane.place in committed:
                lane.committed()
        if batch is None:
            return
        if not letters:
            batch.is_recorded = committed.issuperset(taken)
        elif committed.issuperset(lane.place for lane in others):
            batch.is_recorded = self._commits.record_with_letters(batch)

    def _write_next(self, now: float) -> None:
        """Gives the writer the next batch, once it is recorded."""
        batch = self._next
        if batch is None or not batch.is_recorded:
            return
        lanes = [self._lanes[place] for place in batch.recorded.ranges if place in self._lanes]
        for lane in lanes:
            lane.committed()  # by the recorded range
        self._written = lanes
        self._next = None
        self._spent = LastBatch(len(batch.prepared), now)
        self._writer.write(batch)

    def _collect(self, now: float) -> None:
        """What became of the write under way."""
        batch = self._writer.stored(now, lambda _: self._are_ours())
        if batch is None:
            return
        for kind, rows in batch.landing.items():
            self._worker.metrics.count(
                "weir_rows_landed", rows, consumer=self._name, table=kind.__name__
            )
        for lane in self._written:
            if self._lanes.get(lane.place) is lane:
                one = batch.recorded.ranges[lane.place]
                lane.stored = one.last + 1 if one.topic_id == lane.topic_id else None
                lane.replaying = False

    def _are_ours(self) -> bool:
        """Whether any partition of the batch under way is still this worker's."""
        return any(self._lanes.get(lane.place) is lane for lane in self._written)

    def _assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        ids = self._topics.learn(each.topic for each in partitions)
        commits = self._commits.committed((each.topic, each.partition) for each in partitions)
        for (topic, _), commit in commits.items():
            if commit.is_of_another(ids[topic]):
                self._topics.tell_of_another(topic, commit.topic_id, ids[topic])
        found = recover(commits, ids, self._commits.committed)
        self._lanes = found.lanes
        self._replays = found.replays
        start = [
            TopicPartition(*place, offset if offset >= 0 else OFFSET_BEGINNING)
            for place, offset in found.offsets.items()
        ]
        consumer.assign(start)
        # A pause outlives its assignment: a partition that came back so was never read again.
        consumer.resume(start)
        log.info(
            "%s has %d partitions, replays %s",
            self._name,
            len(start),
            [one.metadata() for one in self._replays] or "nothing",
        )
        self._worker.ready(True)

    def _taken_away(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Nothing is flushed: the next owner replays what was recorded. All partitions go at once,
        because assignment is eager.

        A write under way does no harm, its tokens are the ones that the next owner uses.
        """
        self._lanes.clear()
        self._paused.clear()
        self._replays.clear()
        self._next = None
        consumer.unassign()

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """The callback, whose exception is kept for the main thread: raised inside of the client it
        would end the consumer with an opaque SystemError.
        """

        def guarded(consumer: Any, partitions: list[TopicPartition]) -> None:
            try:
                callback(consumer, partitions)
            except BaseException as error:
                self._crash = error

        return guarded

    def _drain(self) -> None:
        """Lets the write under way end and says how far records are stored. What is only recorded
        is replayed later.
        """
        deadline = time.monotonic() + DRAIN_S
        while self._writer.busy and not self._writer.fails and time.monotonic() < deadline:
            self._worker.beat()
            self._take(self._consumer.consume(1, PULL_S))
            self._collect(time.monotonic())
        if not self._writer.busy:
            waiting = self._next.recorded.ranges if self._next is not None else {}
            self._commits.record(
                None,
                [
                    lane
                    for lane in self._lanes.values()
                    if lane.needs_commit(math.inf) and lane.place not in waiting
                ],
            )


def _collect_seldom() -> None:
    """A batch is many objects and no cycles: by the usual thresholds a tenth of all time went into
    looking for some.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)
