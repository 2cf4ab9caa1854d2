"""Runs call runners as processes to be killed, with an outside tool that counts its calls."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import uvicorn
from confluent_kafka import TopicPartition
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from infra.embedded.scripted.fault_answers import events
from infra.embedded.serving import bound
from schemas.catalogue import event_classes
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import RunFinished, ToolCalled
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.topics import topic_of
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from tests.support.calls_worker import STEPS
from tests.support.stages import until

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
WORDS = [f"word{nth} " for nth in range(30)]


@dataclass
class Tool:
    """A tool that waits `wait_ms` and says yes; `begun` counts by idempotency key. What is in
    `happened` was done, whatever became of the answer; the rest of what is asked about was not, and
    is done at once when it comes again.
    """

    url: str = ""
    begun: Counter[str] = field(default_factory=Counter)
    happened: set[str] = field(default_factory=set)
    asked_about: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    spoken: list[tuple[float, bytes]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.begun[request.headers["idempotency-key"]] += 1
        self.under_way += 1
        try:
            known = request.headers["idempotency-key"] in self.asked_about
            await asyncio.sleep(0 if known else (await request.json())["wait_ms"] / 1000)
        finally:
            self.under_way -= 1
        return JSONResponse({"done": True})

    async def tell(self, request: Request) -> Response:
        key = request.path_params["key"]
        self.asked_about[key] += 1
        return JSONResponse({"done": key in self.happened, "result": "it was"})

    async def talk(self, _request: Request) -> Response:
        """A model's answer as a stream of WORDS; `spoken` says when each was said."""

        async def said() -> AsyncIterator[bytes]:
            for event in events(False, WORDS):
                yield event
                self.spoken.append((time.monotonic(), event))
                await asyncio.sleep(0.03)

        return StreamingResponse(said(), media_type="text/event-stream")


@contextlib.contextmanager
def tool() -> Iterator[Tool]:
    made = Tool()
    socket = bound("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    app = Starlette(
        routes=[
            Route("/tools/wait", made.answer, methods=["POST"]),
            Route("/tools/happened/{key}", made.tell),
            Route("/talk/chat/completions", made.talk, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[socket]), daemon=True)
    thread.start()
    until(lambda: server.started, "the tool listens")
    try:
        yield made
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@dataclass
class Runners:
    """Call runners by slot, their questions and answers."""

    settings: Settings
    tool: Tool
    codec: Codec = field(default_factory=lambda: Codec(LocalIds(event_classes())))
    workers: dict[int, subprocess.Popen] = field(default_factory=dict)
    all_ever: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self) -> None:
        classes = {kind for step in STEPS for kind in (*kinds(step.reads), *kinds(step.writes))} | {
            DeadLettered,
            RunFinished,
        }
        kafka.create_topics(self.settings, [topic_of(kind, PARTITIONS) for kind in classes])
        self.producer = kafka.producer(self.settings)
        self._said = sorted(
            {self.settings.prefix + kind.topic() for step in STEPS for kind in kinds(step.writes)}
        )
        self._listener = kafka.consumer(self.settings, "listener")
        self._listener.assign(
            [TopicPartition(topic, n, 0) for topic in self._said for n in range(PARTITIONS)]
        )
        self._heard = 0

    def start(self, slot: int = 0) -> subprocess.Popen:
        with self.log_path(slot).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.calls_worker", str(slot), self.tool.url],
                cwd=ROOT,
                env=os.environ | self.settings.environment(),
                stdout=log,
                stderr=log,
            )
        self.workers[slot] = process
        self.all_ever.append(process)
        return process

    def kill(self, slot: int = 0) -> None:
        self.workers[slot].send_signal(signal.SIGKILL)
        self.workers[slot].wait()

    def terminate(self, slot: int = 0) -> int:
        self.workers[slot].send_signal(signal.SIGTERM)
        return self.workers[slot].wait(30)

    def log_path(self, slot: int = 0) -> Path:
        return self.settings.home / f"calls-{slot}.log"

    def put(self, kind: type[Event], value: bytes, key: bytes) -> None:
        self.producer.produce(self.settings.prefix + kind.topic(), value, key)

    def publish(self, *events: Event) -> None:
        for event in events:
            self.producer.produce(
                self.settings.prefix + event.topic(),
                self.codec.encode(event),
                event.partition_key().encode(),
                headers=headers_of(event),
            )
        assert self.producer.flush(20) == 0

    def heard(self) -> int:
        """How many answers of any class have come so far: cheap, to wait for."""
        while messages := self._listener.consume(1_000, 0.02):
            self._heard += sum(message.error() is None for message in messages)
        return self._heard

    def events(self, *of: type[Event]) -> list[Event]:
        """All committed events of these classes, in the order of their partitions."""
        found = []
        for kind in of:
            name = self.settings.prefix + kind.topic()
            for number in range(PARTITIONS):
                bounds = kafka.high_watermark(self.settings, name, number)
                found += [
                    self.codec.decode(kind, message.value(), message.key())
                    for message in kafka.read_to(self.settings, name, number, bounds, timeout_s=30)
                ]
        return found

    def close(self) -> None:
        self._listener.close()
        for process in self.all_ever:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@contextlib.contextmanager
def runners(settings: Settings) -> Iterator[Runners]:
    with tool() as outside:
        made = Runners(settings, outside)
        try:
            yield made
        finally:
            made.close()


def called(session: str, wait_ms: int, effect: str = "pure", nth: int = 0) -> ToolCalled:
    return ToolCalled(
        id=uuid4(),
        at=datetime.now(UTC),
        tenant="acme",
        session=session,
        run=UUID(int=1),
        agent="a",
        step=1,
        call=f"c{nth}",
        tool="wait",
        tool_version=1,
        arguments=f'{{"wait_ms": {wait_ms}}}',
        effect=effect,
        timeout_ms=20_000,
    )


def asked(session: str) -> ModelAsked:
    return ModelAsked(
        id=uuid4(),
        at=datetime.now(UTC),
        tenant="acme",
        session=session,
        run=UUID(int=1),
        agent="a",
        step=1,
        model="unheard-of",
        messages=(),
    )


def by_session(events: list[Event]) -> dict[str, list[UUID]]:
    found = defaultdict(list)
    for event in events:
        found[event.session].append(event.cause or event.id)
    return found
