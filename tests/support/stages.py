"""Runs the toy pipeline's stage workers on a real broker, on topics of each test's own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from infra.embedded import stack
from infra.embedded.service import Service
from infra.embedded.testing import free_ports
from schemas.catalogue import event_classes
from schemas.events.agent.runs import AgentRequested, RunCancelled, RunSettled
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.record_types import RecordTypes
from schemas.wire.topics import topic_of
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import Step, inputs, kinds, stages
from streams.engine.stages import changelog
from tests.support.toy import TOY

ROOT = Path(__file__).parents[2]
PARTITIONS = 4


def until(true: Callable[[], object], what: str, within_s: float = 40) -> None:
    """Waits for a condition; fails with its name."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.05)


@dataclass
class Toy:
    """The toy's topics under one prefix, and its worker processes by slot."""

    settings: Settings
    key: str
    logs: Path
    pipeline: tuple[Step, ...] = TOY
    program: tuple[str, ...] = ("tests.support.toy_worker",)
    codec: Codec = field(default_factory=lambda: Codec(LocalIds(event_classes())))
    workers: dict[int, subprocess.Popen] = field(default_factory=dict)
    all_ever: list[subprocess.Popen] = field(default_factory=list)
    begun: dict[int, int] = field(default_factory=dict)
    _tails: dict[str, tuple[Consumer, list[int]]] = field(default_factory=dict)

    def create(self) -> None:
        steps = stages(self.pipeline)[self.key]
        classes = {kind for step in steps for kind in (*kinds(step.reads), *kinds(step.writes))} | {
            DeadLettered
        }
        kafka.create_topics(
            self.settings,
            [
                *(topic_of(kind, PARTITIONS) for kind in classes),
                changelog.topic(self.key, PARTITIONS),
            ],
        )
        self.inputs = [kind for kind in inputs(steps, self.pipeline)]
        self._producer = kafka.producer(self.settings, **{"linger.ms": 2})
        self._failed: list[str] = []

    def start(self, slot: int, **settings: object) -> subprocess.Popen:
        environment = self.settings.model_copy(update=settings).environment()
        self.begun[slot] = len(self.log(slot))
        with (self.logs / f"{self.key}-{slot}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", self.program[0], self.key, str(slot), *self.program[1:]],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )
        self.workers[slot] = process
        self.all_ever.append(process)
        return process

    @contextlib.contextmanager
    def supervised(self, slots: int) -> Iterator[Callable[[int], bool]]:
        """Workers as a stack keeps them: forked, and started again at once. Gives what kills one
        that is ready.
        """
        environment = self.settings.environment() | {"PYTHONPATH": str(ROOT)}
        names = [f"{self.key}-{slot}" for slot in range(slots)]
        services = [
            Service(
                name,
                (sys.executable, "-m", "tests.support.toy_worker", self.key, str(slot), str(port)),
                "toy",
                ready={"http": f"http://127.0.0.1:{port}/readyz"},
                env=environment,
                cwd=str(ROOT),
                ports=(port,),
                entry="tests.support.toy_worker:main",
                preload=("tests.support.toy_worker",),
            )
            for slot, (name, port) in enumerate(zip(names, free_ports(slots), strict=True))
        ]
        home = self.logs / "stack"
        handle = stack.start(home, services, attached=True)
        try:
            stack.wait_ready(home)
            yield lambda slot: _kill_ready(home, names[slot])
        finally:
            handle.close(at_once=True)

    def kill(self, slot: int) -> None:
        self.workers[slot].send_signal(signal.SIGKILL)
        self.workers[slot].wait()

    def log(self, slot: int) -> str:
        path = self.logs / f"{self.key}-{slot}.log"
        return path.read_text() if path.exists() else ""

    def assigned(self, slot: int) -> bool:
        """Whether the slot's present process has its partitions and their state."""
        return "assigned partitions=[" in self.log(slot)[self.begun[slot] :]

    def publish(self, *events: Event, partition: int = -1) -> None:
        for event in events:
            self.put(event, self.codec.encode(event), event.partition_key().encode(), partition)
        self._producer.poll(0)

    def put(
        self,
        event: Event | type[Event],
        value: bytes | None,
        key: bytes | None,
        partition: int = -1,
    ) -> None:
        headers = headers_of(event) if isinstance(event, Event) else None
        self._producer.produce(
            self.settings.prefix + event.topic(),
            value,
            key,
            partition,
            headers=headers,
            on_delivery=self._delivered,
        )

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error.str())

    def flush(self) -> None:
        """Returns when Kafka has all that was published."""
        assert self._producer.flush(20) == 0
        assert self._failed == []

    def messages(self, kind: type[Event]) -> list[Message]:
        """The committed records of a class, partition by partition."""
        name = self.settings.prefix + kind.topic()
        types = RecordTypes(self.settings.prefix, [kind])
        found = []
        for number in range(PARTITIONS):
            bounds = kafka.patiently(
                lambda n=number: kafka.high_watermark(self.settings, name, n), lambda: None
            )
            records = kafka.read_to(self.settings, name, number, bounds, timeout_s=30)
            found += [record for record in records if types.of(record)]
        return found

    def events(self, kind: type[Event]) -> list[Event]:
        return [self.codec.decode(kind, m.value(), m.key()) for m in self.messages(kind)]

    def count(self, kind: type[Event]) -> int:
        """The number of committed records of the class, counted on from the last call."""
        name, types = self.settings.prefix + kind.topic(), RecordTypes(self.settings.prefix, [kind])
        if kind not in self._tails:
            tail = kafka.consumer(self.settings, "tail", **{"enable.partition.eof": True})
            tail.assign([TopicPartition(name, number, 0) for number in range(PARTITIONS)])
            self._tails[kind] = tail, [0, 0, 0, 0]
        tail, counts = self._tails[kind]
        while batch := tail.consume(5_000, 0.1):
            for message in batch:
                if message.error() is None and types.of(message):
                    counts[message.partition()] += 1
        return sum(counts)

    def close(self) -> None:
        for tail, _ in self._tails.values():
            tail.close()
        for process in self.all_ever:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


def _kill_ready(home: Path, name: str) -> bool:
    if stack.status(home)["services"][name]["state"] != "ready":
        return False
    stack.kill(home, name)
    return True


@contextlib.contextmanager
def toy(
    bootstrap: str,
    key: str,
    folder: Path,
    pipeline: tuple[Step, ...] = TOY,
    program: tuple[str, ...] = ("tests.support.toy_worker",),
    **settings: object,
) -> Iterator[Toy]:
    made = Toy(
        Settings(
            kafka={"bootstrap.servers": bootstrap},
            prefix=f"t{uuid4().hex[:8]}.",
            home=folder,
            **settings,
        ),
        key,
        folder,
        pipeline,
        program,
    )
    made.create()
    try:
        yield made
    finally:
        made.close()


def asked(
    tenant: str, text: str = "hi", at: datetime | None = None, session: str = "s"
) -> AgentRequested:
    return AgentRequested(
        id=uuid4(),
        at=at or datetime.now(UTC),
        tenant=tenant,
        agent="toy",
        text=text,
        session=session,
    )


def settled(tenant: str, at: datetime | None = None) -> RunSettled:
    return RunSettled(
        id=uuid4(),
        at=at or datetime.now(UTC),
        tenant=tenant,
        session="s",
        run=UUID(int=1),
        outcome="completed",
    )


def cancelled(tenant: str, session: str) -> RunCancelled:
    return RunCancelled(
        id=uuid4(), at=datetime.now(UTC), tenant=tenant, session=session, run=UUID(int=1)
    )


def by_id(events: Iterable[Event]) -> dict[UUID, Event]:
    return {event.id: event for event in events}
