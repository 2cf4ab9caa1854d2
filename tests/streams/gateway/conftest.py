"""What do the tests of the gateway share: the whole gateway over the whole pipeline in memory, with
no broker?
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from infra.embedded.scripted import server
from schemas.catalogue import event_classes
from schemas.definitions.kinds import Definitions
from schemas.wire.codec import Codec, LocalIds
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.config import Settings
from streams.definitions import folder
from streams.engine.in_memory import Local
from streams.gateway.kafka_link import TOLD, KafkaUnavailableError
from streams.gateway.runs.recent_runs import RecentRuns, SessionRecord
from streams.http_app import application
from streams.topology import PIPELINE

COMPANY = Path(__file__).parents[3] / "infra/company"
TENANT = {"weir-tenant": "fernweh"}


class LocalLink:
    """`streams.gateway.kafka_link.Link` with the pipeline in memory behind it, in a thread of its
    own.
    """

    def __init__(self, definitions: Definitions, memory_bytes: int = 1_000_000):
        codec = Codec(LocalIds(event_classes()))
        self.script = server.load(COMPANY / "script.yaml")
        app = server.application(self.script)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
        ports = {
            "chat": ModelClient(http_sender(http, str)),
            "tool": ToolRunner(ToolContext(http, http), str),
            "search": None,
        }
        self.definitions = definitions
        self.taken = []
        self.away = ""
        self.held = None
        self.recent_runs = RecentRuns(
            lambda heard: codec.decode(heard.kind, heard.value), memory_bytes
        )
        self._local = Local(PIPELINE, self.current_definitions, ports)
        self._codec = codec
        self._thread = ThreadPoolExecutor(1)

    def current_definitions(self) -> Definitions:
        return self.definitions

    async def publish(self, *events) -> None:
        if self.away:
            raise KafkaUnavailableError(self.away)
        for event in events:
            self._codec.encode(event)  # as Kafka gets it
        self.taken += events
        if self.held is not None:
            await self.held.wait()
        said = await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._local.send(*events)
        )
        self.heard(*events, *said)

    def heard(self, *events) -> None:
        self.recent_runs.take(
            [
                SessionRecord(
                    type(event), event.partition_key().encode(), self._codec.encode(event)
                )
                for event in events
                if isinstance(event, TOLD)
            ]
        )

    def close(self) -> None:
        self._thread.submit(self._local.close).result()
        self._thread.shutdown()


@pytest.fixture
def link():
    made = LocalLink(Definitions.of(*folder.load(COMPANY, 1).definitions))
    yield made
    made.close()


@pytest.fixture
def tables() -> Callable:
    """ClickHouse without a row; a test may give it some."""

    def rows(sql: str, parameters: dict) -> list[dict]:
        return rows.found

    rows.found = []
    return rows


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path, gateway_wait_s=5)


@pytest.fixture
def app(settings, link, tables):
    return application(settings, link, tables)


@pytest.fixture
def http(app):
    """A client of the gateway, of tenant fernweh on this machine: `run(lambda http: ...)` awaits
    what it returns.
    """

    def run(asked, **more):
        async def within():
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://gateway", headers=TENANT | more
            ) as client:
                return await asked(client)

        return asyncio.run(within())

    return run
