"""The ground of the engine benchmarks: a broker, input produced beforehand, worker processes.

Rates come from the records that a worker wrote: from the first timestamp to the last.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import TopicPartition

from infra.embedded import kafka as broker
from infra.embedded import stack
from infra.embedded.clickhouse import server
from schemas.catalogue import event_classes
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.topics import topics
from streams import app
from streams.config import Settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.engine.stages import changelog
from streams.lab.bench_engine.workload import Work
from streams.lab.isolated_stack import free_block
from streams.operations.figures import percentile

ROOT = Path(__file__).parents[3]
PARTITIONS = 4
LOG_LINES = 15


class MeasurementError(UserError):
    """A measurement could not be made; the text says why and what to look at."""


def codec() -> Codec:
    """A codec without a registry: the same ids in every process of the benchmark."""
    return Codec(LocalIds(event_classes()))


@contextlib.contextmanager
def own_engines(
    settings: Settings, home: Path, with_clickhouse: bool = False
) -> Iterator[Settings]:
    """Settings of a broker of the benchmark's own in `home`, which is emptied and later removed."""
    shutil.rmtree(home, ignore_errors=True)
    kafka_port = free_block(4)
    controller_port = kafka_port + 1
    clickhouse_port = kafka_port + 2
    metrics_port = kafka_port + 3
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
    """Create a work's topics and produce its input; returns the number of events."""
    needed = {work.reads, work.writes, DeadLettered}
    wanted = [topic for topic in topics(PARTITIONS).values() if needed & {*topic.events}]
    kafka.create_topics(settings, [*wanted, changelog.topic(work.key, PARTITIONS)])
    return produce(settings, work, events)


def produce(settings: Settings, work: Work, events: Iterable[Event]) -> int:
    """Produce a work's input, stamped with event time; returns the number of events."""
    producer = kafka.producer(settings, None, **{"linger.ms": 20})
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
                    headers=[*headers_of(event)],
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

    def __init__(
        self, settings: Settings, module: str, *arguments: str, python: str | Path = sys.executable
    ):
        self.log = (
            settings.home
            / f"{module.rsplit('.', 1)[-1]}-{'-'.join(arguments)}-{time.monotonic_ns()}.log"
        )
        self.module = module
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env=settings.child_environment() | {"WEIR_HOME": str(settings.home.resolve())},
            )

    def wait_until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Wait for `done()`. Raises MeasurementError when the process or the time ends first."""
        deadline = time.monotonic() + limit_s
        while not done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
                raise MeasurementError(
                    f"{what}: the worker {self.module} did not finish in {limit_s:.0f} s. "
                    f"Its log ends with:\n{end}"
                )
            time.sleep(0.1)

    def cpu_s(self) -> float:
        """Processor time since the start. Rates by it hold on a machine that others use too."""
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
def child(
    settings: Settings, module: str, *arguments: str, python: str | Path = sys.executable
) -> Iterator[WorkerProcess]:
    """A worker for the length of a block; `python` may be another environment's."""
    started = WorkerProcess(settings, module, *arguments, python=python)
    try:
        yield started
    finally:
        started.stop()


def measured(values: Sequence[float], share: float) -> float:
    """A percentile of a measurement. Raises MeasurementError where nothing was measured."""
    found = percentile(values, share)
    if found is None:
        raise MeasurementError("nothing was measured: give the benchmark more --seconds")
    return found


@dataclass(frozen=True)
class TopicExtent:
    """The committed records of a topic, and when the first and the last were written (seconds)."""

    records: int
    first_s: float
    last_s: float


def span(settings: Settings, topic: str) -> TopicExtent:
    stamps: list[int] = []
    for partition in range(PARTITIONS):
        bounds = kafka.high_watermark(settings, topic, partition)
        stamps += [
            message.timestamp()[1] for message in kafka.read_to(settings, topic, partition, bounds)
        ]
    if not stamps:
        raise MeasurementError(f"nothing was written to {topic}")
    return TopicExtent(len(stamps), min(stamps) / 1000, max(stamps) / 1000)


class TopicProgress:
    """End offsets of topics and committed offsets of groups, over one client."""

    def __init__(self, settings: Settings, group: str = "bench"):
        self._client = kafka.consumer(settings, group)

    def written(self, topic: str) -> int:
        """Records in all partitions, markers of transactions included."""
        return sum(self._end(TopicPartition(topic, partition)) for partition in range(PARTITIONS))

    def _end(self, partition: TopicPartition) -> int:
        return kafka.patiently(
            lambda: self._client.get_watermark_offsets(partition, timeout=10)[1], lambda: None
        )

    def committed(self, topic: str) -> int:
        """The offsets that the group has committed, added up."""
        asked = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        known = kafka.patiently(lambda: self._client.committed(asked, timeout=10), lambda: None)
        return sum(max(0, partition.offset) for partition in known)

    def topics(self) -> set[str]:
        return set(self._client.list_topics(timeout=10).topics)

    def close(self) -> None:
        self._client.close()
