"""Does it balance, all the time? Once a minute what has settled since is counted, kept, and alarmed
about.

Each record of the log is read once, when the sink worker says that it has written it: it is in its
table then, or among the dead letters, or lost. While ClickHouse is away nothing is read, so that
memory stays as it is. A restart counts the last minutes anew, and the later count of a minute
holds.

The alarm is a sentence in this worker's log at each count that finds something, the numbers
`weir_unbalanced_records` (of the last two hours, for Prometheus: `infra/grafana/alerts.yaml`), the
table `balance`, and the console's first page.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError

from schemas.events.operations import DeadLettered
from schemas.wire.codec import DecodeError
from schemas.wire.record_types import RecordTypes
from sinks.clickhouse.connection import append_rows
from streams.config import Settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.engine.shapes import kinds
from streams.operations.balance import (
    Balance,
    Letters,
    Log,
    Minute,
    Rows,
    beginnings,
    count,
    ids_of,
    is_of,
    landed_rows,
    lands,
    written_to,
)
from streams.operations.connections import rows_of
from streams.operations.lag import Delay, delays
from streams.topology import SINKS

log = logging.getLogger(__name__)
EVERY_S = 60.0
READING_S = 20.0
LOOK_BACK = timedelta(minutes=15)
REMEMBERED = timedelta(hours=2)
COLUMNS = (
    "minute",
    "topic",
    "partition",
    "produced",
    "landed",
    "dead_lettered",
    "lost",
    "doubled",
    "landed_after_ms",
)
Place = tuple[str, int]


def run(settings: Settings, worker: Any) -> None:
    """Counts until the worker is told to stop. What fails is tried again a minute later."""
    ledger, pool, due = (
        Ledger(settings, worker.codec),
        ThreadPoolExecutor(1, thread_name_prefix="count"),
        0.0,
    )
    log.info(
        "balancing reads what lands in ClickHouse, writes the tables balance and delays, owns "
        "nothing"
    )
    worker.ready(True)
    counting = None
    while not worker.stopping.wait(0.2):
        worker.beat()
        if counting is not None and counting.done():
            tell(worker, counting)
            counting = None
        if counting is None and time.monotonic() >= due:
            counting, due = pool.submit(ledger.turn), time.monotonic() + EVERY_S
    pool.shutdown(wait=False, cancel_futures=True)


def tell(worker: Any, counting: Any) -> None:
    """The outcome as numbers, and as a sentence where it does not balance."""
    if (error := counting.exception()) is not None:
        log.warning("not counted, tried again in a minute: %s: %s", type(error).__name__, error)
        return
    counted = counting.result()
    for what, number in counted.unbalanced.items():
        worker.metrics.gauge("weir_unbalanced_records", number, what=what)
    for one in counted.late:
        worker.metrics.gauge("weir_behind_seconds", one.oldest_ms / 1000, consumer=one.consumer)
        worker.metrics.gauge("weir_behind_records", one.behind, consumer=one.consumer)
    worker.metrics.gauge("weir_counted_timestamp_seconds", time.time())
    for topic in counted.made_anew:
        worker.metrics.count("weir_topics_made_anew", consumer="balancing", topic=topic)
        log.error(
            "%s was deleted and made anew: the new topic alone is counted from now on; what had "
            "not landed of the one "
            "before is gone: see `./weir balance`",
            topic,
        )
    if off := [one for one in counted.changed if not one.balances]:
        log.error(
            "NOT BALANCED: %d records lost, %d doubled, first of them %s[%d] of %s UTC: see "
            "`./weir balance`",
            sum(one.lost for one in off),
            sum(one.doubled for one in off),
            off[0].topic,
            off[0].partition,
            f"{off[0].minute:%Y-%m-%d %H:%M}",
        )


@dataclass(frozen=True)
class Counted:
    """A count: the minutes that changed, what is wrong with those of the last two hours, and who is
    behind.
    """

    changed: list[Minute]
    unbalanced: dict[str, int]
    late: list[Delay]
    made_anew: tuple[str, ...] = ()
    """Topics that were deleted and made anew since the last count: all was counted from the start.
    """


class Ledger:
    """What was read and has not settled, and the sums of the last minutes."""

    def __init__(
        self,
        settings: Settings,
        codec: Any,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ):
        self._settings, self._codec, self._now = settings, codec, now
        self._types = RecordTypes(settings.prefix, kinds(SINKS["clickhouse"]))
        self._letters_topic = settings.prefix + DeadLettered.topic()
        self._ids: dict[str, str] = {}
        self._begin()

    def _begin(self) -> None:
        self._reader: Any = None
        self._waiting: dict[Place, dict[int, int]] = {}
        self._read_to: dict[Place, int] = {}
        self._dead: Letters = set()
        self._minutes: dict[tuple[str, int, datetime], tuple[Minute, int]] = {}
        self._unsaved: dict[tuple[str, int, datetime], tuple[Minute, int]] = {}

    def turn(self) -> Counted:
        """Counts what has settled since the last turn, keeps it, and returns it with who is
        behind.
        """
        ids = ids_of(self._settings, self._types.topics)
        made_anew = tuple(topic for topic, before in self._ids.items() if ids[topic] != before)
        if made_anew:  # as after a restart: what is remembered of offsets is of other records
            self._begin()
        self._ids = ids
        written = written_to(self._settings, ids)
        self._read(written)
        for one, longest in self.settle(
            written, lambda sql, given: rows_of(self._settings, sql, given)
        ):
            self._unsaved[one.topic, one.partition, one.minute] = one, longest
        late, changed = delays(self._settings), list(self._unsaved.values())
        where = self._settings.clickhouse(), self._settings.clickhouse_database
        append_rows(
            *where,
            "balance",
            COLUMNS,
            [[getattr(one, name) for name in COLUMNS[:-1]] + [longest] for one, longest in changed],
        )
        self._unsaved.clear()  # what could not be kept is kept at the next turn
        append_rows(
            *where,
            "delays",
            ("at", "consumer", "behind", "oldest_ms"),
            [[self._now(), *vars(one).values()] for one in late],
        )
        return Counted(
            [one for one, _ in changed],
            {
                what: sum(getattr(one, what) for one, _ in self._minutes.values())
                for what in ("lost", "doubled")
            },
            late,
            made_anew,
        )

    def take(
        self, topic: str, partition: int, offset: int, at_ms: int, value: bytes | None = None
    ) -> None:
        """A record of the log. The sink worker's dead letters are remembered for their records'
        sake.
        """
        self._waiting.setdefault((topic, partition), {})[offset] = at_ms
        if topic == self._letters_topic:
            try:
                letter = self._codec.decode(DeadLettered, value)
            except DecodeError:
                return  # it is on its way to the dead letters itself
            if is_of(letter, self._ids):
                self._dead.add((letter.topic_name, letter.partition, letter.offset))

    def settle(self, written: dict[Place, int], rows: Rows) -> list[tuple[Minute, int]]:
        """Counts what stands behind where the sink worker has written; the minutes that changed,
        whole.
        """
        changed: dict[tuple[str, int, datetime], None] = {}
        for topic in self._types.topics:
            settled = {
                number: Log(
                    {place: at for place, at in self._waiting[topic, number].items() if place < to},
                    to,
                )
                for (name, number), to in written.items()
                if name == topic and (topic, number) in self._waiting
            }
            with_records = {number: log_ for number, log_ in settled.items() if log_.records}
            for one, longest in self._counted(topic, with_records, rows):
                changed[self._add(one, longest)] = None
            for number, log_ in settled.items():
                for offset in log_.records:
                    del self._waiting[topic, number][offset]
        self._forget()
        return [self._minutes[place] for place in changed]

    def _counted(self, topic: str, logs: dict[int, Log], rows: Rows) -> list[tuple[Minute, int]]:
        found = Balance()
        if logs:
            landed = landed_rows(
                self._types.classes_in(topic), self._ids.get(topic, ""), logs, rows
            )
            count(topic, logs, landed, self._dead, found)
        return [(one, max(found.waits_ms[topic], default=0)) for one in found.minutes]

    def _add(self, one: Minute, longest: int) -> tuple[str, int, datetime]:
        place = one.topic, one.partition, one.minute
        known, before = self._minutes.get(place, (Minute(*place), 0))
        for name in ("produced", "landed", "dead_lettered", "lost", "doubled"):
            setattr(known, name, getattr(known, name) + getattr(one, name))
        self._minutes[place] = known, max(before, longest)
        return place

    def _forget(self) -> None:
        oldest = self._now() - REMEMBERED
        for place in [place for place in self._minutes if place[2] < oldest]:
            del self._minutes[place]

    def _read(self, written: dict[Place, int]) -> None:
        """Everything new that the sink worker has written. Its dead letters are read to their end:
        they excuse records that are settled before the letters themselves are.
        """
        if self._reader is None:
            self._reader = kafka.consumer(
                self._settings, "balancing", **{"enable.partition.eof": True}
            )
            self._reader.assign(self._starts(written))
        until = {
            place: self._reader.get_watermark_offsets(kafka.TopicPartition(*place), timeout=30)[1]
            for place in written
        }
        until |= {
            place: min(end, written[place])
            for place, end in until.items()
            if place[0] != self._letters_topic
        }
        left = {place for place, end in until.items() if end > self._read_to.get(place, -1)}
        self._reader.pause([kafka.TopicPartition(*place) for place in written.keys() - left])
        self._reader.resume([kafka.TopicPartition(*place) for place in left])
        deadline = time.monotonic() + READING_S
        while left and time.monotonic() < deadline:
            for message in self._reader.consume(10_000, 0.5):
                place, offset = (message.topic(), message.partition()), message.offset()
                if message.error() is None:
                    if lands(self._types, message):
                        self.take(*place, offset, message.timestamp()[1], message.value())
                    offset += 1
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    if kafka.is_fatal(message.error()):
                        raise UserError(
                            f"Kafka does not let {place[0]} be read: {message.error().str()}"
                        )
                    continue
                elif offset > self._read_to.get(place, -1):
                    left.discard(
                        place
                    )  # nothing more is committed; what is open comes at another turn
                if offset >= until[place]:
                    self._read_to[place] = offset
                    self._reader.pause([kafka.TopicPartition(*place)])
                    left.discard(place)

    def _starts(self, written: dict[Place, int]) -> list[kafka.TopicPartition]:
        """A quarter of an hour ago, or where the sink worker stands, if that is longer ago: it may
        have stood still.
        """
        since = (self._now() - LOOK_BACK).replace(second=0, microsecond=0)
        return [
            each
            if 0 <= each.offset <= written[each.topic, each.partition]
            else kafka.TopicPartition(
                each.topic, each.partition, written[each.topic, each.partition]
            )
            for each in beginnings(self._reader, written, since)
        ]
