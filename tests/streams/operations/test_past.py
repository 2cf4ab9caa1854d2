"""The past is the same whether the log has it, the archive, or each a part."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.catalogue import archived_classes, event_classes
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.topics import topics
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from streams.config import Settings
from streams.engine import kafka
from streams.lab.playground import Playground
from streams.operations.past import BEGINNING, END, ArchiveAndLog
from tests.streams.gateway.conftest import COMPANY

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[3]
CODEC = Codec(LocalIds(event_classes()))
LATER = timedelta(days=1)


def until(true: Callable[[], object], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.2)


class Run:
    """Three requests of the sample company on a real log, and a worker that archives them."""

    def __init__(self, settings: Settings, log: Path):
        self.settings, self._log = settings, log
        self._worker: subprocess.Popen[bytes] | None = None
        kafka.create_topics(settings, [*topics(2).values()])
        self.events: list[Event] = []
        desk = Playground(Settings(), COMPANY, "support", "fernweh")
        for text in ("Where is my parcel 17?", "Cancel order 4711", "Hello!"):
            self.events += desk.say(text)
        desk.close()
        self._producer = kafka.producer(settings)

    def publish(self, events: list[Event]) -> None:
        for number, event in enumerate(events):
            self._producer.produce(
                self.settings.prefix + event.topic(),
                CODEC.encode(event),
                event.partition_key().encode(),
                headers=[*headers_of(event), ("weir_seq", str(number + 1).encode())],
            )
        self._producer.flush()

    def archive(self) -> None:
        with self._log.open("ab") as out:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "tests.support.sink_worker", "archive", "0"],
                cwd=ROOT,
                env=os.environ | self.settings.environment(),
                stdout=out,
                stderr=out,
            )

    def stop(self) -> None:
        if self._worker:
            self._worker.terminate()
            self._worker.wait(30)
            self._worker = None

    def archived(self) -> int:
        with connect(self.settings.clickhouse(), self.settings.clickhouse_database) as client:
            return client.query("SELECT count() FROM events").result_rows[0][0]

    def empty_log(self) -> None:
        admin = kafka.admin(self.settings)
        plain = [topic for topic in topics(2).values() if not topic.compacted]
        ends = [
            TopicPartition(self.settings.prefix + topic.name, number, -1)
            for topic in plain
            for number in range(topic.partitions)
        ]
        for future in admin.delete_records(ends).values():
            future.result(30)

    def past(self) -> ArchiveAndLog:
        return ArchiveAndLog(self.settings, CODEC)


@pytest.fixture(scope="module")
def run(engines, tmp_path_factory, clickhouse_url: str) -> Iterator[Run]:
    name = f"t{uuid4().hex[:8]}"
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        kafka={"bootstrap.servers": engines.bootstrap},
        prefix=f"{name}.",
        clickhouse_url=clickhouse_url,
        clickhouse_database=name,
        sink_age_s=0.1,
    )
    make_tables(clickhouse_url, name, 3650)
    made = Run(settings, tmp_path_factory.mktemp("past") / "worker.log")
    yield made
    made.stop()


def whole(run: Run) -> list[Event]:
    return [*run.past().between(BEGINNING, END)]


@pytest.fixture(scope="module")
def pasts(run: Run) -> dict[str, list[Event]]:
    """The whole past as it was told by the log alone, by each a part, and by the archive alone."""
    kept = [event for event in run.events if type(event) in archived_classes()]
    half = len(kept) // 2
    run.publish(kept[:half])
    by_log = whole(run)
    run.archive()
    until(lambda: run.archived() == half, "the first half is archived")
    run.stop()
    assert whole(run) == by_log and len(by_log) == half
    run.publish(kept[half:])
    told = {"each a part": whole(run)}
    run.archive()
    until(lambda: run.archived() == len(kept), "all is archived")
    told["both"] = whole(run)
    run.stop()
    run.empty_log()
    told["the archive alone"] = whole(run)
    told["what happened"] = kept
    return told


def identity(event: Event) -> str:
    return f"{type(event).__name__}/{event.id}"


def test_nothing_is_missing_or_twice_and_the_order_is_one(pasts):
    happened = Counter(map(identity, pasts["what happened"]))
    assert sum(happened.values()) > 30
    for name, events in pasts.items():
        assert Counter(map(identity, events)) == happened, name
    assert pasts["each a part"] == pasts["both"] == pasts["the archive alone"]
    by_id = {identity(event): event for event in pasts["what happened"]}
    assert all(by_id[identity(event)] == event for event in pasts["the archive alone"])


@given(st.data())
@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_story_of_a_key_is_the_same_part_of_the_whole(run, pasts, data):
    events = pasts["the archive alone"]
    chosen = data.draw(st.sampled_from(events))
    kinds = data.draw(st.none() | st.sets(st.sampled_from(archived_classes()), min_size=1))
    since = data.draw(st.sampled_from([chosen.at, chosen.at - LATER]))
    told = run.past().story(chosen.tenant, chosen.partition_key(), kinds, since)
    assert told == [
        event
        for event in events
        if event.partition_key() == chosen.partition_key()
        and event.at >= since
        and (kinds is None or type(event) in kinds)
    ]


def test_by_time_and_by_class(run, pasts):
    events = pasts["the archive alone"]
    middle = events[len(events) // 2].at
    assert [*run.past().between(middle, middle + LATER)] == [e for e in events if e.at >= middle]
    finished = [*run.past().of([RunFinished])]
    assert finished == [e for e in events if isinstance(e, RunFinished)] and len(finished) == 3
