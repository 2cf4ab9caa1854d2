"""The partitions of calls that this worker owns, and what it knows of each when it takes one over.

The order at an assignment matters. `committed()` first: it waits while a dead twin's transaction is
open. Then the answer topics, from where the committed metadata says that they stood. Then the
partitions are assigned at their offsets, and what is answered already is skipped when it is read.
"""

import logging
from collections.abc import Callable, Iterable

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from streams.config import Settings
from streams.engine import kafka
from streams.engine.calls.dispatcher import NAME, Lanes, Part
from streams.engine.calls.offset_tracker import Tracker
from streams.engine.calls.recovery import Answers, Position
from streams.engine.kafka import ANSWER_S, or_end, patiently
from streams.engine.shapes import Step, kinds
from streams.engine.worker import Worker

log = logging.getLogger(__name__)

REVOKE_S = 4.0


class Holding:
    """The partitions held, by topic and number. `drain` lets the calls of some end, for so many
    seconds.
    """

    def __init__(
        self,
        settings: Settings,
        steps: Iterable[Step],
        worker: Worker,
        lanes: Lanes,
        drain: Callable[[Iterable[Part], float], None],
    ):
        self.worker, self._lanes, self._drain = worker, lanes, drain
        self.asks = {
            settings.prefix + kind.topic(): step for step in steps for kind in kinds(step.reads)
        }
        self._answers = {
            topic: sorted({settings.prefix + kind.topic() for kind in kinds(step.writes)})
            for topic, step in self.asks.items()
        }
        self._reader = Answers(settings, worker.beat)
        self.parts: dict[Position, Part] = {}
        self.new: list[Part] = []
        self.open = self.open_bytes = 0

    @or_end
    def on_assign(self, consumer: Consumer, positions: list[TopicPartition]) -> None:
        committed = patiently(
            lambda: consumer.committed(positions, timeout=ANSWER_S), self.worker.beat
        )
        parts = [self._restored(position) for position in committed]
        found, ends = self._reader.read(self._starts(parts))
        for part in parts:
            self._learn(part, found.get((part.topic, part.partition), set()), ends)
        self.parts = {(part.topic, part.partition): part for part in parts}
        self.new = [part for part in parts if part.new]
        self.open = self.open_bytes = 0
        self._lanes.keep(set(self.parts))
        consumer.assign(
            [TopicPartition(part.topic, part.partition, part.tracker.next_offset) for part in parts]
        )
        self.worker.ready(True)
        self.worker.metrics.gauge("weir_partitions_owned", len(parts), consumer=NAME)
        log.info(
            "assigned partitions=%d answered_beyond=%d started=%d",
            len(parts),
            sum(
                max(0, p.tracker.answered_to - p.tracker.next_offset - len(p.tracker.left))
                for p in parts
            ),
            sum(len(p.tracker.started) for p in parts),
        )

    @or_end
    def on_revoke(self, consumer: Consumer, positions: list[TopicPartition]) -> None:
        mine = [part for p in positions if (part := self.parts.get((p.topic, p.partition)))]
        self._drain(mine, REVOKE_S)
        log.info(
            "revoked partitions=%d unfinished=%d", len(mine), sum(part.running for part in mine)
        )
        self.drop(mine)
        consumer.unassign()

    @or_end
    def on_lost(self, consumer: Consumer, positions: list[TopicPartition]) -> None:
        log.warning("lost partitions=%d", len(positions))
        self.drop([part for p in positions if (part := self.parts.get((p.topic, p.partition)))])
        consumer.unassign()

    def drop(self, parts: Iterable[Part]) -> None:
        """What these answer from now on is not ours to commit."""
        for part in list(parts):
            part.live = False
            self.close_records(part, list(part.records))
            self.parts.pop((part.topic, part.partition), None)
        self.new = [part for part in self.new if part.live]
        self.worker.ready(bool(self.parts))

    def take_new(self) -> list[Part]:
        """Partitions whose first offset is still to be committed."""
        new, self.new = self.new, []
        return new

    def put_back_new(self, parts: Iterable[Part]) -> None:
        self.new = [part for part in parts if part.new and part.live]

    def open_record(self, part: Part, offset: int, message: Message) -> None:
        """A question's record is kept until its answer is committed: a dead letter needs it."""
        part.records[offset] = message
        self.open += 1
        self.open_bytes += len(message)

    def close_records(self, part: Part, offsets: Iterable[int]) -> None:
        part.new = False
        for offset in offsets:
            message = part.records.pop(offset, None)
            if message is not None:
                self.open -= 1
                self.open_bytes -= len(message)

    def pace(self, consumer: Consumer, room: bool) -> None:
        """Pauses partitions that may take no more, and resumes those that may."""
        for part in self.parts.values():
            pause = not (room and part.tracker.has_room())
            if pause != part.paused:
                part.paused = pause
                (consumer.pause if pause else consumer.resume)(
                    [TopicPartition(part.topic, part.partition)]
                )

    def answer_places(self, part: Part) -> dict[Position, int]:
        """The answer partitions of a partition of questions, and the place of each in its tracker's
        positions.
        """
        return {(topic, part.partition): nth for nth, topic in enumerate(self._answers[part.topic])}

    def say(self, consumer: Consumer) -> None:
        """Lag and calls in flight, by what is known without asking the broker."""
        lag = dict.fromkeys(self.asks, 0)
        for (topic, number), part in self.parts.items():
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            lag[topic] += max(0, high - part.tracker.next_offset) + len(part.tracker.waiting)
        for topic, records in lag.items():
            self.worker.metrics.gauge("weir_lag_records", records, consumer=NAME, topic=topic)
        self.worker.metrics.gauge(
            "weir_calls_in_flight", sum(p.running for p in self.parts.values()), consumer=NAME
        )

    def close(self) -> None:
        self._reader.close()

    def _restored(self, position: TopicPartition) -> Part:
        if position.error is not None:
            raise KafkaException(position.error)
        new = position.offset == OFFSET_INVALID
        tracker = Tracker.restored(
            0 if new else position.offset,
            position.metadata or "",
            len(self._answers[position.topic]),
        )
        return Part(position.topic, position.partition, self.asks[position.topic], tracker, new=new)

    def _starts(self, parts: list[Part]) -> dict[Position, int]:
        starts: dict[Position, int] = {}
        for part in parts:
            for position, nth in self.answer_places(part).items():
                starts[position] = min(
                    starts.get(position, part.tracker.positions[nth]), part.tracker.positions[nth]
                )
        return starts

    def _learn(self, part: Part, found: set[int], ends: dict[Position, int]) -> None:
        if part.new and found:
            raise RuntimeError(
                f"the offsets of the group are gone, but {part.topic} partition {part.partition} "
                f"has {len(found)} answers: beginning at the earliest question would ask again "
                "what was answered. Commit the group's offsets for it anew "
                "(kafka-consumer-groups --reset-offsets), or use another WEIR_PREFIX"
            )
        part.tracker.learn(found)
        for position, nth in self.answer_places(part).items():
            part.tracker.positions[nth] = ends[position]


def check_topics(settings: Settings, steps: tuple[Step, ...], worker: Worker) -> None:
    """Raises SystemExit where a topic is missing, or where an answer could not stand in its
    question's partition.
    """
    there = patiently(
        lambda: kafka.admin(settings).list_topics(timeout=ANSWER_S), worker.beat
    ).topics
    for step in steps:
        names = [
            settings.prefix + kind.topic() for kind in (*kinds(step.reads), *kinds(step.writes))
        ]
        missing = [name for name in names if name not in there]
        if missing:
            raise SystemExit(
                f"these topics are missing: {', '.join(missing)}. `./weir deploy` creates them"
            )
        counts = {name: len(there[name].partitions) for name in names}
        if len(set(counts.values())) != 1:
            raise SystemExit(
                f"questions and answers must have one partition count, {step.name} has {counts}: "
                "create the topics anew under another WEIR_PREFIX"
            )
