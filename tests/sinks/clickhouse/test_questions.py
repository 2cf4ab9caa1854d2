"""The five questions of the handbook's analysts run as they are written, with the results beside
them.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from schemas.catalogue import landed_classes
from schemas.ports import SearchAnswer
from sinks.clickhouse.sink import ClickHouseSink
from streams.config import Settings
from streams.engine.client import now, request
from streams.lab import playground as desks
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[3]
COMPANY = ROOT / "infra" / "company"
SECTION = (
    (ROOT / "infra/handbook/analytics.md").read_text().split("## Ask ClickHouse")[1].split("## ")[0]
)
[FIRST] = re.findall(r'^ask\("(SELECT .*)"\)$', SECTION, re.M)
ROWS = re.findall(r"^\| ([^|]+\?) \| (?:`([^|]*)`|as above) \| (.*) \|$", SECTION, re.M)


class NothingFound:
    """In place of the documents: what is found is not asked for here, and embeddings take their
    time.
    """

    def add(self, events):
        for _ in events:
            pass

    def __call__(self, question):
        return SearchAnswer((), now(), now())


@pytest.fixture(scope="module")
def asked(database, clickhouse_url):
    """The database of all that the demo asks, in memory: the same steps, models and tools."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desks, "MemorySearch", NothingFound)
        return filled(database, clickhouse_url)


def filled(database, clickhouse_url):
    requests = [
        request(**fields) for fields in yaml.safe_load((COMPANY / "requests.yaml").read_text())
    ]
    events = defaultdict(list)
    sink = ClickHouseSink(clickhouse_url, database.database)
    for tenant in ("fernweh", "fernweh-outlet"):
        desk = desks.Playground(Settings(), COMPANY, "support", tenant)
        for one in requests:
            for event in desk.send(one) if one.tenant == tenant else ():
                events[type(event)].append(event)
        desk.close()
    for kind in events.keys() & set(landed_classes()):
        sink.write(sink.prepare(batch_of(*events[kind])), kind.__name__)
    return database


def test_there_are_five():
    assert len(ROWS) == 5 and [sql for _, sql, _ in ROWS].count("") == 1


@pytest.mark.parametrize(
    ("question", "sql", "result"), ROWS, ids=[question for question, _, _ in ROWS]
)
def test_what_came_back_stands_in_the_readme(asked, question, sql, result):
    """All but the dollars, which depend on what is found in the documents."""
    found = [[str(value) for value in row] for row in asked.query(sql or FIRST).result_rows]
    said = [row.split(", ") for row in result.split("; ")]
    if not sql:
        found = [row[:3] for row in found]
        said = [row[:3] for row in said]
    assert found == said
