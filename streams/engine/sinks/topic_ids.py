"""The ids of the topics that a sink worker reads, and whether they are still the same topics.

A topic that is deleted and made anew under the same name begins at offset 0 again. Then a place
means another record: tokens would repeat and rows be dropped, offsets would skip records or find
none. So a worker asks for the ids whenever partitions are assigned to it, and again before it
records what it is about to write. The broker shows a new topic's id no later than its records, so
no record of a new topic is recorded under the id of the old one.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from schemas.events.base import Event
from streams.config import Settings
from streams.engine import kafka
from streams.engine.sinks.batches import Lane
from streams.engine.stages.changelog import topic as changelog

log = logging.getLogger(__name__)
ASKED_S = 3.0
AGAIN_S = 1.0
OFFSETS_GONE = (
    "the offsets of the group {group} are gone, but {sink} has rows of this very topic {topic} (id "
    "{topic_id}), partition "
    "{partition}, up to offset {last}: beginning at the earliest record would land them twice. "
    "While no sink worker "
    "runs, set the group's offset for it to {next} (kafka-consumer-groups --reset-offsets), or let "
    "Weir write into "
    "another database (WEIR_CLICKHOUSE_DATABASE)"
)
ANOTHER = (
    "the topic %s was deleted and made anew: its id was %s, it is %s. It is read from its first "
    "record, and its rows have the "
    "new id (kafka_topic_id). Rows of the topic before stay; records of it that had not landed are "
    "gone with it"
)
MADE_ANEW = (
    "the topic {topic} was deleted and made anew while {name} read it (its id was {before}, it is "
    "{now}). The worker ends, "
    "and the next one reads the new topic from its first record. There is nothing to do: rows of "
    "the topic before stay; "
    "records of it that had not landed are gone with it"
)


def numbering_of(settings: Settings, kind: type[Event], beat: Callable[[], None]) -> str:
    """A name for the numbers (`seq`) that events of a class have from their stage: the id of its
    changelog topic, where it keeps the last one; "" where there is no such topic. The stage has the
    key of what it writes. Waits for the broker.
    """
    name = settings.prefix + changelog(kind.key, settings.partitions).name
    client = kafka.admin(settings)
    return kafka.patiently(lambda: kafka.topic_ids(client, [name], ASKED_S), beat).get(name, "")


class Topics:
    """Knows the id of each topic since its partitions were assigned."""

    def __init__(self, settings: Settings, name: str, worker: Any):
        self._client, self._name, self._worker = kafka.admin(settings), name, worker
        self._group = settings.prefix + name
        self._known: dict[str, str] = {}
        self._told: set[str] = set()
        self._not_before = 0.0

    def learn(self, names: Iterable[str]) -> dict[str, str]:
        """The ids as they are now, of topics whose partitions are taken over. Raises KafkaException
        where it cannot be had for long.
        """
        wanted = set(names)

        def ask() -> dict[str, str]:
            ids = kafka.topic_ids(self._client, wanted, ASKED_S)
            if gone := wanted - ids.keys():
                raise KafkaException(
                    KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"there is no topic {min(gone)}")
                )
            return ids

        found = kafka.patiently(ask, self._worker.beat)
        self._known |= found
        return found

    def present(self, names: Iterable[str]) -> dict[str, str]:
        """The ids as they are now of those topics that there are. Waits for the broker."""
        wanted = set(names)
        return kafka.patiently(
            lambda: kafka.topic_ids(self._client, wanted, ASKED_S), self._worker.beat
        )

    def are_the_same(self, names: Iterable[str]) -> bool:
        """Whether that is certain; False where the broker does not tell now. Raises SystemExit with
        a sentence where one was made anew.
        """
        wanted = set(names)
        if time.monotonic() < self._not_before:
            return False
        self._worker.beat()
        try:
            found = kafka.topic_ids(self._client, wanted, ASKED_S)
        except KafkaException as error:
            return self._later(error.args[0].str())
        for topic, now in found.items():
            if now != self._known[topic]:
                raise SystemExit(
                    MADE_ANEW.format(
                        topic=topic, name=self._name, before=self._known[topic], now=now
                    )
                )
        gone = wanted - found.keys()
        return not gone or self._later(f"there is no topic {min(gone)}: `./weir deploy` makes it")

    def check_offsets(self, lane: Lane, stored: dict[str, int], sink: str) -> None:
        """Whether a partition without an offset may be read from its first record. `stored`: its
        greatest offset in the sink by the id of the topic.

        Raises SystemExit with a sentence where there are rows of this topic: the group's offsets
        were lost, and with them the ranges and tokens that keep a row from landing twice. Of rows
        without an id nobody can say.
        """
        if same := [stored[topic_id] for topic_id in (lane.topic_id, "") if topic_id in stored]:
            raise SystemExit(
                OFFSETS_GONE.format(
                    group=self._group,
                    topic=lane.topic,
                    topic_id=lane.topic_id,
                    sink=sink,
                    partition=lane.partition,
                    last=max(same),
                    next=max(same) + 1,
                )
            )
        for before in stored:
            self.tell_of_another(lane.topic, before, lane.topic_id)

    def tell_of_another(self, topic: str, before: str, now: str) -> None:
        """Once a topic: in the log, and as a number that an alarm looks at."""
        if topic not in self._told:
            self._told.add(topic)
            log.error(ANOTHER, topic, before, now)
            self._worker.metrics.count("weir_topics_made_anew", consumer=self._name, topic=topic)

    def _later(self, why: str) -> bool:
        self._not_before = time.monotonic() + AGAIN_S
        log.warning("%s writes nothing more for now: %s", self._name, why)
        return False
