"""Is every record that was produced in its table, once, or among the dead letters? By topic,
partition and minute.

Counted three times by three parties: the log says what was produced, the tables what landed, the
dead letters what could not. The sink worker's own word is taken for one thing only: how far it has
written. What stands behind that place and is nowhere is lost; what stands before it is under way.
Minutes are those in which records were produced.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, Message, TopicPartition

from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from streams.config import Settings
from streams.engine import kafka
from streams.engine.dead_letters import read_all
from streams.engine.errors import UserError
from streams.engine.shapes import kinds
from streams.engine.sinks.offset_commits import is_of_another
from streams.operations.figures import percentile
from streams.topology import SINKS

Rows = Callable[[str, dict[str, Any]], list[dict[str, Any]]]
Letters = set[tuple[str, int, int]]
CONSUMER = "sink-clickhouse"
MINUTE_MS = 60_000
ANSWER_S = 30
LANDED = """
SELECT kafka_partition AS number, kafka_offset AS place, count() AS times,
       toUnixTimestamp64Milli(max(landed_at)) AS landed_ms
FROM {table} WHERE kafka_topic = {{topic:String}} AND kafka_topic_id = {{topic_id:String}}
  AND has({{numbers:Array(UInt32)}}, kafka_partition) AND kafka_offset >= {{least:UInt64}}
  GROUP BY number, place"""
EARLIER = """
SELECT count() AS times FROM {table} WHERE kafka_topic = {{topic:String}}
       AND kafka_topic_id != {{topic_id:String}}"""


@dataclass
class Minute:
    """Records of one topic and partition that were produced in one minute, and what became of
    them.
    """

    topic: str
    partition: int
    minute: datetime
    produced: int = 0
    landed: int = 0
    dead_lettered: int = 0
    under_way: int = 0
    lost: int = 0
    doubled: int = 0

    @property
    def balances(self) -> bool:
        return not (self.lost or self.doubled)


@dataclass
class Balance:
    """All minutes, the offsets of what is lost, and how long records took from the log into the
    table, in milliseconds by topic. `earlier`: rows of topics that were deleted and made anew
    since, by name; they are not counted.
    """

    minutes: list[Minute] = field(default_factory=list)
    lost: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    waits_ms: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    earlier: dict[str, int] = field(default_factory=dict)

    @property
    def off(self) -> list[Minute]:
        return [minute for minute in self.minutes if not minute.balances]

    def by_topic(self) -> list[dict[str, Any]]:
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        for each in self.minutes:
            sums[each.topic].update({name: getattr(each, name) for name in FIGURES})
        return [
            {
                "topic": topic,
                **{name: found[name] for name in FIGURES},
                "landed_after_p50_ms": percentile(self.waits_ms[topic], 0.5),
                "landed_after_p99_ms": percentile(self.waits_ms[topic], 0.99),
            }
            for topic, found in sorted(sums.items())
        ]


FIGURES = ("produced", "landed", "dead_lettered", "under_way", "lost", "doubled")


@dataclass(frozen=True)
class Log:
    """What the log holds of one partition: offset and minute of each record, and how far the
    sink worker has written.
    """

    records: dict[int, int]
    written_to: int


def balance(settings: Settings, codec: Any, rows: Rows, since: datetime | None = None) -> Balance:
    """Counts all that was produced since a moment, or all that the log still has."""
    found = Balance()
    types = RecordTypes(settings.prefix, kinds(SINKS["clickhouse"]))
    ids = ids_of(settings, types.topics)
    logs = read_logs(settings, types, ids, since)
    dead = {
        (letter.topic_name, letter.partition, letter.offset)
        for letter in read_all(settings, codec)
        if is_of(letter, ids)
    }
    for topic, partitions in logs.items():
        classes = types.classes_in(topic)
        if earlier := rows_of_earlier(classes, ids[topic], rows):
            found.earlier[topic] = earlier
        with_records = {number: log for number, log in partitions.items() if log.records}
        if with_records:
            landed = landed_rows(classes, ids[topic], with_records, rows)
            count(topic, with_records, landed, dead, found)
    return found


def landed_rows(
    classes: Sequence[type[Event]], topic_id: str, logs: dict[int, Log], rows: Rows
) -> list[dict[str, Any]]:
    """The rows of a topic's records, out of the tables of its classes."""
    wanted = {
        "topic": classes[0].topic(),
        "topic_id": topic_id,
        "numbers": list(logs),
        "least": min(min(log.records) for log in logs.values()),
    }
    return [row for table in tables_of(classes) for row in rows(LANDED.format(table=table), wanted)]


def rows_of_earlier(classes: Sequence[type[Event]], topic_id: str, rows: Rows) -> int:
    """How many rows are of a topic that had the name before."""
    place = {"topic": classes[0].topic(), "topic_id": topic_id}
    return sum(
        row["times"]
        for table in tables_of(classes)
        for row in rows(EARLIER.format(table=table), place)
    )


def tables_of(classes: Sequence[type[Event]]) -> list[str]:
    return sorted({kind.table for kind in classes})


def count(
    topic: str, logs: dict[int, Log], landed: Iterable[dict[str, Any]], dead: Letters, into: Balance
) -> None:
    """Adds the minutes of one topic. `landed` are rows of LANDED."""
    there = {(row["number"], row["place"]): (row["times"], row["landed_ms"]) for row in landed}
    for number, log in sorted(logs.items()):
        minutes: dict[int, Minute] = {}
        for offset, at_ms in log.records.items():
            start = at_ms // MINUTE_MS * MINUTE_MS
            minute = minutes.get(start)
            if minute is None:
                minute = minutes[start] = Minute(
                    topic, number, datetime.fromtimestamp(start / 1000, UTC)
                )
            times, landed_ms = there.get((number, offset), (0, 0))
            minute.produced += 1
            minute.landed += times > 0
            minute.doubled += max(0, times - 1)
            if times:
                into.waits_ms[topic].append(max(0, landed_ms - at_ms))
            elif (topic, number, offset) in dead:
                minute.dead_lettered += 1
            elif offset >= log.written_to:
                minute.under_way += 1
            else:
                minute.lost += 1
                into.lost[topic, number].append(offset)
        into.minutes += [minutes[start] for start in sorted(minutes)]


def read_logs(
    settings: Settings, types: RecordTypes, ids: dict[str, str], since: datetime | None
) -> dict[str, dict[int, Log]]:
    """Every committed record of these classes, by topic and partition. How far the sink worker has
    written is asked first, so that what it writes meanwhile counts as landed or under way, never as
    lost.
    """
    written = written_to(settings, ids)
    logs: dict[str, dict[int, Log]] = {topic: {} for topic in types.topics}
    for (topic, number), offset in written.items():
        logs[topic][number] = Log({}, offset)
    reader = kafka.consumer(settings, "balance", **{"enable.partition.eof": True})
    try:
        left = set(written)
        reader.assign(beginnings(reader, written, since))
        while left:
            messages = reader.consume(10_000, 1.0)
            for message in messages:
                topic, number = kafka.partition_of(message)
                error = message.error()
                if error is None:
                    if lands(types, message):
                        made_ms = message.timestamp()[1]
                        logs[topic][number].records[kafka.offset_of(message)] = made_ms
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard((topic, number))
                elif kafka.is_fatal(error):
                    raise UserError(f"Kafka does not let {topic} be read: {error.str()}")
    finally:
        reader.close()
    return logs


def ids_of(settings: Settings, topics: list[str]) -> dict[str, str]:
    """The ids of these topics as they are now. A UserError where there is none of a name."""
    found = kafka.topic_ids(kafka.admin(settings), topics, ANSWER_S)
    if missing := sorted(set(topics) - found.keys()):
        raise UserError(f"there is no topic {missing[0]}: `./weir deploy` makes it")
    return found


def is_of(letter: DeadLettered, ids: dict[str, str]) -> bool:
    """Whether it is the sink worker's letter of a record of these very topics, not of one that had
    the name before.
    """
    return letter.consumer == CONSUMER and letter.topic_id in ("", ids.get(letter.topic_name))


def lands(types: RecordTypes, message: Message) -> bool:
    """Whether a record is to be written, or to become a dead letter because it is of no class."""
    try:
        return types.of(message) is not None
    except UnknownRecordTypeError:
        return True


def written_to(settings: Settings, ids: dict[str, str]) -> dict[tuple[str, int], int]:
    """Of each partition, the offset behind which the sink worker has written everything; 0 where it
    never did, as where its offset is of a topic that had the name before. `ids` are those of the
    topics.
    """
    asking = kafka.consumer(settings, CONSUMER)
    try:
        existing = asking.list_topics(timeout=ANSWER_S).topics
        places = [
            TopicPartition(topic, number)
            for topic in ids
            if topic in existing
            for number in existing[topic].partitions
        ]
        return {
            (each.topic, each.partition): 0
            if is_of_another(each, ids[each.topic])
            else max(0, each.offset)
            for each in asking.committed(places, timeout=ANSWER_S)
        }
    finally:
        asking.close()


def earlier_offsets(settings: Settings, answer_s: float = ANSWER_S) -> list[tuple[str, str]]:
    """Landings whose offsets are still of a topic that was deleted and made anew, each with the
    topic. Raises KafkaException where the broker does not answer.
    """
    found = []
    for sink, reads in SINKS.items():
        topics = [settings.prefix + kind.topic() for kind in kinds(reads)]
        ids = kafka.topic_ids(kafka.admin(settings), topics, answer_s)
        asking = kafka.consumer(settings, f"sink-{sink}")
        try:
            existing = asking.list_topics(timeout=answer_s).topics
            places = [
                TopicPartition(topic, number)
                for topic in ids
                if topic in existing
                for number in existing[topic].partitions
            ]
            found += sorted(
                {
                    (f"sink-{sink}", each.topic)
                    for each in asking.committed(places, timeout=answer_s)
                    if is_of_another(each, ids[each.topic])
                }
            )
        finally:
            asking.close()
    return found


def beginnings(
    reader: Any, places: Iterable[tuple[str, int]], since: datetime | None
) -> list[TopicPartition]:
    """Where to begin: the first record since then; where there is none, at the end."""
    if since is None:
        return [
            TopicPartition(
                *place, reader.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_S)[0]
            )
            for place in places
        ]
    moment = int(since.timestamp() * 1000)
    found = reader.offsets_for_times(
        [TopicPartition(*place, moment) for place in places], timeout=ANSWER_S
    )
    return [
        each if each.offset != OFFSET_INVALID else TopicPartition(each.topic, each.partition, -1)
        for each in found
    ]
