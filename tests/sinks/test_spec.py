"""A sink is found by its folder, and an unknown name is an error."""

from pathlib import Path

import pytest

import sinks
from sinks.spec import SinkContext, sink_spec, sink_specs
from streams.app import workers
from streams.config import Settings
from tests.support.seams import extended

ARCHIVE = '''"""A sink that keeps what it is given."""

from schemas.events.usage import TokensUsed
from sinks.base import decoded
from sinks.spec import SinkSpec


class Shelf:
    """The sink."""

    name = "shelf"
    epoch = "1"
    rows_max = 10

    def __init__(self, database):
        self.database = database
        self.rows = []

    def greatest_offsets(self, kind, partition):
        return {}

    def group_of(self, kind):
        return kind.__name__

    def joined(self, prepared):
        return prepared[0]

    def accepts_encoded(self, kind):
        return False

    def prepare(self, batch):
        return decoded(batch).fields

    def write(self, prepared, token):
        self.rows += prepared


SPEC = SinkSpec("shelf", (TokensUsed,), lambda context: Shelf(context.settings.clickhouse_database))
'''


@pytest.fixture
def shelf(tmp_path: Path):
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "spec.py").write_text(ARCHIVE)
    sink_specs.cache_clear()
    with extended(sinks, tmp_path):
        yield
    sink_specs.cache_clear()


def test_a_new_folder_is_a_sink_with_a_worker_of_its_own(shelf):
    settings = Settings(clickhouse_database="d")
    sink = sink_spec("shelf").make(
        SinkContext(settings, lambda _tenant: 1, lambda _kind, _tenant: 1)
    )
    sink.write([{"id": 1}], "token")
    assert (sink.name, vars(sink)["rows"]) == ("shelf", [{"id": 1}])
    assert "sink-shelf-0" in {service.name for service in workers(settings)}


def test_a_sink_is_enabled_by_its_settings():
    names = {
        endpoint: {service.name for service in workers(Settings(otlp_endpoint=endpoint))}
        for endpoint in ("", "http://collector:4318")
    }
    assert "sink-otlp-0" not in names[""] and "sink-otlp-0" in names["http://collector:4318"]


def test_an_unknown_sink_is_an_error():
    with pytest.raises(
        ValueError, match="no sink 'shelf': it is one of archive, clickhouse, otlp, qdrant"
    ):
        sink_spec("shelf")
