"""A sink worker as a process that a test kills: `python -m tests.support.sink_worker SINK`.

With `--no-tokens` the sink does not deduplicate: the negative control.
"""

import sys

from schemas.catalogue import event_classes
from schemas.wire.codec import LocalIds
from sinks.clickhouse.sink import ClickHouseSink
from sinks.spec import sink_spec
from streams.config import settings
from streams.engine.sinks.worker import SinkWorker, Stored, sink_of
from streams.engine.worker import RECORDS_ONLY, Worker, execute, start_logging
from streams.topology import VALIDATED

if __name__ == "__main__":
    start_logging()
    name = sys.argv[1]
    slot = int(sys.argv[2])
    sink = sink_of(settings(), name)
    if "--no-tokens" in sys.argv:
        sink = ClickHouseSink(
            settings().clickhouse(), settings().clickhouse_database, deduplicate=False
        )
    worker = Worker(
        settings(), f"sink-{name}-{slot}", ids=LocalIds(event_classes()), inputs=RECORDS_ONLY
    )
    execute(
        worker,
        lambda: SinkWorker(
            settings(), sink, Stored(sink_spec(name).events, VALIDATED), slot, worker
        ).run(),
    )
