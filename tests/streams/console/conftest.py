"""What do the tests of the console share: tables filled by the sample company, and the gateway over
them.
"""

from collections import defaultdict
from uuid import uuid4

import httpx
import pytest

from schemas.catalogue import event_classes
from schemas.events.agent.runs import RunFinished
from schemas.wire.codec import Codec, LocalIds
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams.config import Settings
from streams.definitions import folder
from streams.gateway.clickhouse import ClickHouseReader
from streams.gateway.runs.recent_runs import RecentRuns
from streams.http_app import application
from streams.lab.playground import Playground
from tests.sinks.clickhouse.test_rows import batch_of
from tests.streams.gateway.conftest import COMPANY

SAID = (
    "Where is my order A-1001?",
    "My card 4111 1111 1111 1111 was charged twice",
    "Hello <b>bold</b>!",
)


class Link:
    """Keeps what is published; knows the sample company."""

    def __init__(self, definitions):
        self.definitions = definitions
        self.published = []
        codec = Codec(LocalIds(event_classes()))
        self.recent_runs = RecentRuns(lambda heard: codec.decode(heard.kind, heard.value), 1_000)

    def current_definitions(self):
        return self.definitions

    async def publish(self, *events):
        self.published += events


@pytest.fixture(scope="session")
def landed(clickhouse_url):
    """The database of three runs of the sample company, and the events of them."""
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    desk = Playground(Settings(), COMPANY, "support", "fernweh")
    by_kind = defaultdict(list)
    sink = ClickHouseSink(clickhouse_url, name)
    for text in SAID:
        for event in desk.say(text):
            by_kind[type(event)].append(event)
    desk.close()
    for kind, events in by_kind.items():
        if kind.table:
            sink.write(sink.prepare(batch_of(*events)), kind.__name__)
    return name, by_kind


@pytest.fixture
def link():
    from schemas.definitions.kinds import Definitions

    return Link(Definitions.of(*folder.load(COMPANY, 8090).definitions))


@pytest.fixture
def console(landed, clickhouse_url, link):
    """A client of the gateway that looks at those tables; `console.link` has what was published."""
    settings = Settings(clickhouse_url=clickhouse_url, clickhouse_database=landed[0])
    app = application(settings, link, ClickHouseReader(settings))
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
        base_url="http://localhost:8080",
    )
    http.link = link
    http.runs = landed[1][RunFinished]
    return http
