"""Measures the sink worker: rows a second from Avro on Kafka into ClickHouse over HTTP.

Taken from the rows' own `landed_at`: those after the first insert, over the time from the first
insert to the last.
"""

from collections.abc import Callable
from pathlib import Path

from schemas.wire.topics import topics
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from streams.lab.bench_engine import broker
from streams.lab.bench_engine.broker import MeasurementError
from streams.lab.bench_engine.workload import WORKS, events
from streams.topology import SINKS

ABOUT_A_SECOND = 40_000
LIMIT_TIMES = 10
ASK = """
WITH (SELECT min(landed_at) FROM token_usage) AS first
SELECT count(), countIf(landed_at > first), dateDiff('millisecond', first, max(landed_at))
FROM token_usage
"""


def measure(
    settings: Settings, home: Path, seconds: float, say: Callable[[str], None]
) -> dict[str, float]:
    """Rows a second by the clock (`sink`) and by the worker's processor time (`sink_cpu`)."""
    work = WORKS["window"]
    count = int(seconds * ABOUT_A_SECOND)
    with broker.own_engines(settings, home, with_clickhouse=True) as ours:
        make_tables(ours.clickhouse(), ours.clickhouse_database, ours.retention_days)
        landed = [
            topic
            for topic in topics(broker.PARTITIONS).values()
            if {*topic.events} & {*kinds(SINKS["clickhouse"])}
        ]
        kafka.create_topics(ours, landed)
        say(f"sink: producing {count:,} events")
        broker.produce(ours, work, events(work, count))
        say(f"sink: {count:,} rows into ClickHouse")
        client = connect(ours.clickhouse(), ours.clickhouse_database)
        try:
            with broker.child(ours, "streams.lab.bench_engine.weir_worker", "sink") as worker:
                worker.wait_until(
                    lambda: client.query(ASK).result_rows[0][0] >= count,
                    60 + seconds * LIMIT_TIMES,
                    f"sink {count} rows",
                )
                cpu_s = worker.cpu_s()
            rows, after_first, took_ms = client.query(ASK).result_rows[0]
        finally:
            client.close()
    if rows != count:
        raise MeasurementError(
            f"{count} events became {rows} rows: the sink worker is not exact, see its log"
        )
    if not took_ms:
        raise MeasurementError("all rows came in one insert: give the benchmark more --seconds")
    return {"sink": after_first / took_ms * 1000, "sink_cpu": rows / cpu_s}
