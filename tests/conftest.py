"""Fixtures of all tests: one embedded broker, and settings that point at it.

Tests with a quick start come first, those that need an engine last; a test that needs Docker says
so where there is none.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest

from infra.embedded.testing import Engines
from infra.embedded.testing import engines as running_engines
from infra.embedded.testing_servers import running_clickhouse
from streams.config import Settings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ORDER = (
    "schemas",
    "processors",
    "architecture",
    "test_readme",
    "streams",
    "sinks",
    "infra",
    "contracts",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first; among the others, those of one engine together."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        part = item.path.relative_to(Path(__file__).parent).parts[0].removesuffix(".py")
        return item.get_closest_marker("engine") is not None, ORDER.index(
            part
        ) if part in ORDER else len(ORDER)

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and not docker_runs():
        pytest.skip(
            "no Docker engine runs here: these tests need one, the same ones run on the embedded "
            "engines"
        )


def docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return (
        subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode
        == 0
    )


# A busy machine is no defect, so no deadline: speed is measured by benchmarks. In CI the same
# examples run each time, so that a change is judged by what it changes; elsewhere runs explore.
hypothesis.settings.register_profile("weir", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "weir")


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """One broker for the whole session, and a registry where a test asks for `registry_url`."""
    with running_engines() as running:
        yield running


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One ClickHouse for the whole session; each test module makes a database of its own."""
    with running_clickhouse(tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture
def own_settings(engines: Engines, tmp_path: Path) -> Settings:
    """Settings with a prefix of this test's own, so that no two tests share a topic or a group."""
    return Settings(
        home=tmp_path, kafka={"bootstrap.servers": engines.bootstrap}, prefix=f"t{uuid4().hex[:8]}."
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; where it is absent, tests that need it are
    skipped.
    """
    if not SHARED.exists():
        pytest.skip(
            f"needs real data in {SHARED.parent.name}/{SHARED.name} beside the project, which is "
            "not here"
        )
    return SHARED
