"""On what ground is measured? A broker of our own, input that is there before the clock starts,
workers as processes.

A figure is read from the records that a worker wrote: from the timestamp of the first to that of
the last.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import TopicPartition

from infra.embedded import kafka as broker
from infra.embedded import stack
from infra.embedded.clickhouse import server
from schemas.catalogue import event_classes
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.codec import Codec, LocalIds
from schemas.wire.topics import topics
from streams import app
from streams.config import Settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.engine.stages import changelog
from streams.lab.bench_engine.workload import Work
from streams.lab.isolated_stack import free_block

ROOT = Path(__file__).parents[3]
PARTITIONS = 4
LOG_LINES = 15


class MeasurementError(UserError):
    """A measurement could not be made; the sentence says why and what to look at."""


def codec() -> Codec:
    """A codec without a registry: the same ids in every process of the benchmark."""
    return Codec(LocalIds(event_classes()))


@contextlib.contextmanager
def own_engines(
    settings: Settings, home: Path, with_clickhouse: bool = False
) -> Iterator[Settings]:
    """Settings that point at a broker of our own in `home`, which is emptied before and removed
    after.
    """
    shutil.rmtree(home, ignore_errors=True)
    kafka_port = free_block(4)
    controller_port, clickhouse_port, metrics_port = range(kafka_port + 1, kafka_port + 4)
    services = [broker.service(home, kafka_port, controller_port, jar_home=ROOT / ".weir" / "jars")]
    if with_clickhouse:
        services.append(app.engine("clickhouse", server, home, clickhouse_port))
    handle = stack.start(home, services, attached=True)
    try:
        stack.wait_ready(home)
        yield settings.model_copy(
            update={
                "home": home,
                "kafka": {},
                "kafka_port": kafka_port,
                "clickhouse_url": "",
                "prefix": "",
                "clickhouse_port": clickhouse_port,
                "metrics_port": metrics_port,
                "otlp_endpoint": "",
                "partitions": PARTITIONS,
            }
        )
    finally:
        handle.close(at_once=True)
        shutil.rmtree(home, ignore_errors=True)


def prepare(settings: Settings, work: Work, events: Iterable[Event]) -> int:
    """Makes a work's topics and produces its input. Returns how many events."""
    needed = {work.reads, work.writes, DeadLettered}
    wanted = [topic for topic in topics(PARTITIONS).values() if topic.event in needed]
    kafka.create_topics(settings, [*wanted, changelog.topic(work.key, PARTITIONS)])
    return produce(settings, work, events)


def produce(settings: Settings, work: Work, events: Iterable[Event]) -> int:
    """Produces a work's input, records stamped with event time. Returns how many. Raises
    MeasurementError.
    """
    producer = kafka.producer(settings, **{"linger.ms": 20})
    encoder = codec()
    count = 0
    topic = settings.prefix + work.reads.topic()
    for event in events:
        while True:
            try:
                producer.produce(
                    topic,
                    encoder.encode(event),
                    event.partition_key().encode(),
                    timestamp=int(event.at.timestamp() * 1000),
                )
                break
            except BufferError:
                producer.poll(0.05)
        count += 1
        if count % 1_000 == 0:
            producer.poll(0)
    if left := producer.flush(60):
        raise MeasurementError(
            f"{left} records of the input could not be produced: is the broker's disk full?"
        )
    return count


class WorkerProcess:
    """A worker in a process of its own, as in production. Its log is a file."""

    def __init__(self, settings: Settings, module: str, *arguments: str):
        self.log = (
            settings.home
            / f"{module.rsplit('.', 1)[-1]}-{'-'.join(arguments)}-{time.monotonic_ns()}.log"
        )
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env=settings.child_environment() | {"WEIR_HOME": str(settings.home.resolve())},
            )

    def wait_until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Raises MeasurementError when the process ends, or time does, before `done()`."""
        deadline = time.monotonic() + limit_s
        while not done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
                raise MeasurementError(
                    f"{what}: the worker {self.process.args[2]} did not get there in {limit_s:.0f} s. "
                    f"Its last words:\n{end}"
                )
            time.sleep(0.1)

    def cpu_s(self) -> float:
        """Processor time so far, its starting included. Rates by it bear a machine that others use
        as well.
        """
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def child(settings: Settings, module: str, *arguments: str) -> Iterator[WorkerProcess]:
    started = WorkerProcess(settings, module, *arguments)
    try:
        yield started
    finally:
        started.stop()


@dataclass(frozen=True)
class TopicExtent:
    """What stands in a topic: how many committed records, and when the first and the last were
    written (s).
    """

    records: int
    first_s: float
    last_s: float


def span(settings: Settings, topic: str) -> TopicExtent:
    stamps: list[int] = []
    for partition in range(PARTITIONS):
        first, end = kafka.high_watermark(settings, topic, partition)
        stamps += [
            message.timestamp()[1]
            for message in kafka.read_to(settings, topic, partition, first, end)
        ]
    if not stamps:
        raise MeasurementError(f"nothing was written to {topic}")
    return TopicExtent(len(stamps), min(stamps) / 1000, max(stamps) / 1000)


class TopicProgress:
    """How far topics and groups have come. Keeps its client, because it is asked ten times a
    second.
    """

    def __init__(self, settings: Settings, group: str = "bench"):
        self._client = kafka.consumer(settings, group)

    def written(self, topic: str) -> int:
        """Records in all partitions, markers of transactions included."""
        return sum(self._end(TopicPartition(topic, partition)) for partition in range(PARTITIONS))

    def _end(self, place: TopicPartition) -> int:
        return kafka.patiently(
            lambda: self._client.get_watermark_offsets(place, timeout=10)[1], lambda: None
        )

    def committed(self, topic: str) -> int:
        """The offsets that the group has committed, added up."""
        places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        known = kafka.patiently(lambda: self._client.committed(places, timeout=10), lambda: None)
        return sum(max(0, place.offset) for place in known)

    def topics(self) -> set[str]:
        return set(self._client.list_topics(timeout=10).topics)

    def close(self) -> None:
        self._client.close()
