"""How many rows a second does one worker land in ClickHouse, from Avro on Kafka to rows, over ClickHouse's HTTP?

Taken from the rows' own `landed_at`: those after the first insert, over the time from the first insert to the last.
"""

from collections.abc import Callable
from pathlib import Path

from schemas.topics import topics
from sinks import clickhouse
from streams import kafka
from streams.bench import ground
from streams.bench.ground import Unmeasured
from streams.bench.work import WORKS, events
from streams.config import Settings
from streams.shapes import kinds
from streams.topology import SINKS

ABOUT_A_SECOND = 40_000
LIMIT_TIMES = 10
TABLES = Path(__file__).parents[2] / "infra" / "clickhouse"
ASK = """
WITH (SELECT min(landed_at) FROM token_usage) AS first
SELECT count(), countIf(landed_at > first), dateDiff('millisecond', first, max(landed_at)) FROM token_usage
"""


def measure(settings: Settings, home: Path, seconds: float, say: Callable[[str], None]) -> dict[str, float]:
    """Rows a second, by the clock and by the worker's own processor time: `landing`, `landing_cpu`. Raises
    Unmeasured."""
    work, count = WORKS["window"], int(seconds * ABOUT_A_SECOND)
    with ground.own_engines(settings, home, with_clickhouse=True) as ours:
        clickhouse.migrate(ours.clickhouse(), ours.clickhouse_database, TABLES,
                           {"retention_days": str(ours.retention_days)})
        landed = [topic for topic in topics(ground.PARTITIONS).values() if topic.event in kinds(SINKS["clickhouse"])]
        kafka.create_topics(ours, landed)
        say(f"landing: producing {count:,} events")
        ground.produce(ours, work, events(work, count))
        say(f"landing: {count:,} rows into ClickHouse")
        client = clickhouse.connect(ours.clickhouse(), ours.clickhouse_database)
        try:
            with ground.child(ours, "streams.bench.ours", "landing") as worker:
                worker.wait_until(lambda: client.query(ASK).result_rows[0][0] >= count, 60 + seconds * LIMIT_TIMES,
                                  f"landing {count} rows")
                cpu_s = worker.cpu_s()
            rows, after_first, took_ms = client.query(ASK).result_rows[0]
        finally:
            client.close()
    if rows != count:
        raise Unmeasured(f"{count} events became {rows} rows: landing is not exact, see its log")
    if not took_ms:
        raise Unmeasured("all rows came in one insert: give the benchmark more --seconds")
    return {"landing": after_first / took_ms * 1000, "landing_cpu": rows / cpu_s}
