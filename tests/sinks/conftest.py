"""What do the tests of the sinks share? One embedded Qdrant, and a database or collection each."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from infra.embedded.testing_servers import running_qdrant
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables


@pytest.fixture(scope="session")
def qdrant_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_qdrant(tmp_path_factory.mktemp("qdrant")) as url:
        yield url


@pytest.fixture(scope="module")
def database(clickhouse_url: str) -> Iterator[Client]:
    """A client on a database of this module's own, with all tables."""
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    with connect(clickhouse_url, name) as client:
        yield client
        client.command(f"DROP DATABASE `{name}`")


@pytest.fixture
def collection() -> str:
    return f"t{uuid4().hex[:8]}"
