"""A topic that is deleted and made anew lands whole beside the one before, and the worker says that
it is another.
"""

from pathlib import Path

import pytest

from infra.embedded.clickhouse import server as clickhouse_server
from schemas.events.usage import TokensUsed
from schemas.wire.topics import topic_of
from sinks.clickhouse.migrations import make_tables
from streams.engine import kafka
from tests.streams.engine.sinks.test_worker import PARTITIONS, Bed, bed, figures, there, until, used  # noqa: F401  bed is a fixture

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[4]


def make_anew(at: Bed) -> None:
    """Deletes the topic of TokensUsed and creates it again."""
    client, name = kafka.admin(at.settings), at.settings.prefix + TokensUsed.topic()
    [before] = kafka.topic_ids(client, [name]).values()
    client.delete_topics([name])[name].result(30)
    until(lambda: name not in client.list_topics(timeout=10).topics, "the topic is gone")
    kafka.create_topics(at.settings, [topic_of(TokensUsed, PARTITIONS)])
    until(
        lambda: kafka.topic_ids(client, [name]).get(name, before) != before,
        "the topic is there, and another",
    )
    at.producer = kafka.producer(at.settings, **{"linger.ms": 5})


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("before, after", [(9, 9), (9, 40), (40, 9)])
def test_rows_of_a_topic_made_anew_land_beside_those_of_the_one_before(bed, running, before, after):
    at = bed("clickhouse", clickhouse_server, sink_age_s=0.1)
    make_tables(at.settings.clickhouse(), "weir", 3650)
    at.start(0)
    at.publish(*map(used, range(before)))
    at.producer.flush()
    until(lambda: there(at, lambda now: now["distinct"] == before), "the first rows are there")
    if not running:
        at.workers[0].terminate()
        at.workers[0].wait(20)
    make_anew(at)
    at.publish(*map(used, range(before, before + after)))
    at.producer.flush()
    if running:
        assert at.workers[0].wait(40) != 0, "it ends, and says why"
        assert "was deleted and made anew while" in (at.home / "worker-0.log").read_text()
    at.start(0)
    until(lambda: there(at, lambda now: now["distinct"] == before + after), "all rows are there")
    assert figures(at)["rows"] == figures(at)["calls"] == before + after
    assert "It is read from its first record" in (at.home / "worker-0.log").read_text()
    ids = at.client.query(
        "SELECT kafka_topic_id, count() FROM weir.token_usage GROUP BY 1 ORDER BY 2"
    ).result_rows
    assert sorted(count for _, count in ids) == sorted([before, after])
