"""The partitions that a stage worker holds, and how it comes by their state.

Assigned: ask what the group committed (this waits until a dead twin's transaction is over), then
read the changelog to its end, and begin where the changelog says. Both must be of one turn; where
they are not it is read again. A broker that was killed in mid-commit once lost the offsets and kept
the data, so a changelog that stays ahead is the truth. One that stays behind has lost state, and
the worker refuses to go on. Revoked: the state is put aside and taken back unread only if nobody
had a turn in between.
"""

import logging
import time
from collections.abc import Callable, Iterable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from streams.config import Settings
from streams.engine.kafka import ANSWER_S, or_end, patiently
from streams.engine.stages.changelog import Place, Restorer
from streams.engine.stages.partition import Partition
from streams.engine.stages.processor import Taker
from streams.engine.worker import Worker

log = logging.getLogger(__name__)

READS = 10
PAUSE_S = 0.1


class Ownership:
    """The partitions held, by number. The same numbers of every input topic, always.

    `changed` is called when other partitions are held. `epoch` counts how often positions were set:
    a record that was fetched in an earlier one is not to be taken.
    """

    def __init__(
        self,
        settings: Settings,
        key: str,
        taker: Taker,
        worker: Worker,
        changed: Callable[[], None] = lambda: None,
    ):
        self.held: dict[int, Partition] = {}
        self.epoch = 0
        self.paused = False
        self._changed = changed
        self.worker = worker
        self._taker, self._name, self._topics = taker, f"stage-{key}", taker.types.topics
        self._restorer = Restorer(settings, key, worker.beat)
        self._aside: dict[int, Partition] = {}

    @or_end
    def on_assign(self, consumer: Consumer, positions: list[TopicPartition]) -> None:
        numbers = self._numbers(positions)
        self.held = self._restored(consumer, numbers, self._aside)
        self._aside = {}
        self.assign(consumer)
        self._changed()
        self.worker.ready(True)
        self.worker.metrics.gauge("weir_partitions_owned", len(self.held), consumer=self._name)
        log.info(
            "assigned partitions=%s seqs=%s",
            sorted(self.held),
            [p.core.seq for p in self.held.values()],
        )

    @or_end
    def on_revoke(self, consumer: Consumer, positions: list[TopicPartition]) -> None:
        self._aside, self.held = self.held, {}
        self.epoch += 1
        consumer.unassign()
        self._changed()
        self.worker.ready(False)
        log.info("revoked partitions=%s", sorted(self._aside))

    def reload(self, consumer: Consumer) -> None:
        """After an abort: what is held is read back from the changelog, and taking goes on where
        that stands.
        """
        self.held = self._restored(consumer, list(self.held), {})
        self.assign(consumer)

    def assign(self, consumer: Consumer) -> None:
        """Reads on from where the state stands.

        Resumed first, where it was paused: the client resumes at the record that it gave out last,
        which after an abort is behind what has to be read again.
        """
        self.epoch += 1
        if self.paused:
            consumer.resume(consumer.assignment())
            self.paused = False
        consumer.assign(self.positions())

    def pause(self, consumer: Consumer) -> None:
        """Reads no further until `assign`."""
        if not self.paused:
            consumer.pause(consumer.assignment())
            self.paused = True

    def positions(self) -> list[TopicPartition]:
        """Where to go on, of every topic and partition."""
        return [
            TopicPartition(topic, number, partition.place.offsets.get(topic, OFFSET_BEGINNING))
            for number, partition in self.held.items()
            for topic in self._topics
        ]

    def close(self) -> None:
        self._restorer.close()

    def _numbers(self, positions: list[TopicPartition]) -> list[int]:
        by_topic = {
            topic: {p.partition for p in positions if p.topic == topic} for topic in self._topics
        }
        numbers = by_topic[self._topics[0]]
        if any(those != numbers for those in by_topic.values()):
            raise RuntimeError(
                f"the group's assignor split partition numbers: {by_topic}. All members must use "
                "the assignor `range` and all topics of a stage must have the same partition count"
            )
        return sorted(numbers)

    def _restored(
        self, consumer: Consumer, numbers: Iterable[int], aside: dict[int, Partition]
    ) -> dict[int, Partition]:
        began = time.perf_counter()
        left = list(numbers)
        found: dict[int, Partition] = {}
        read: dict[int, Partition] = {}
        committed: dict[int, Place] = {}
        for attempt in range(READS):
            committed = self._committed(consumer, left)
            found |= {
                n: aside[n] for n in left if n in aside and self._untouched(aside[n], committed[n])
            }
            left = [n for n in left if n not in found]
            read = self._read(left)
            found |= {
                n: partition
                for n, partition in read.items()
                if partition.place.turn == committed[n].turn
            }
            left = [n for n in left if n not in found]
            if not left:
                break
            log.warning(
                "changelog and offsets differ attempt=%d %s",
                attempt,
                [(n, read[n].place.turn, committed[n].turn) for n in left],
            )
            time.sleep(PAUSE_S)
        for n in left:
            found[n] = self._ahead(read[n], committed[n])
        self.worker.metrics.observe(
            "weir_restore_seconds", time.perf_counter() - began, consumer=self._name
        )
        return found

    def _untouched(self, partition: Partition, committed: Place) -> bool:
        return partition.place.turn == committed.turn and not partition.dirty

    def _read(self, numbers: list[int]) -> dict[int, Partition]:
        made = {}
        for n, cells in self._restorer.read(numbers).items():
            self.worker.beat()
            self.worker.metrics.count(
                "weir_state_records_restored", len(cells), consumer=self._name
            )
            made[n] = Partition.restored(n, self._taker.core(), cells)
        return made

    def _ahead(self, partition: Partition, committed: Place) -> Partition:
        if partition.place.turn < committed.turn:
            raise RuntimeError(
                f"state of {self._name} partition {partition.number} is lost: its changelog ends "
                f"at turn {partition.place.turn}, the group has committed turn {committed.turn}. "
                "Bring the changelog topic back, or delete the group's offsets to compute the "
                "state anew from the beginning"
            )
        log.warning(
            "the changelog is ahead of the offsets and is the truth partition=%d", partition.number
        )
        return partition

    def _committed(self, consumer: Consumer, numbers: list[int]) -> dict[int, Place]:
        """What the group committed. Blocks while a transaction with offsets of these partitions is
        open.
        """
        wanted = [TopicPartition(topic, n) for topic in self._topics for n in numbers]
        answer = (
            patiently(lambda: consumer.committed(wanted, timeout=ANSWER_S), self.worker.beat)
            if wanted
            else []
        )
        for position in answer:
            if position.error is not None:
                raise KafkaException(position.error)
        return {n: Place.committed(p for p in answer if p.partition == n) for n in numbers}
