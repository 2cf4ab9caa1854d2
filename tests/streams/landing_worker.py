"""How do tests run a landing worker as a real process, to be killed? `python -m tests.streams.landing_worker SINK`.

With `--no-tokens` the sink does not deduplicate: the negative control.
"""

import sys

from schemas.base import event_classes
from schemas.codec import LocalIds
from sinks.clickhouse import ClickHouse
from streams.config import settings
from streams.landing.land import Landing, sink_of
from streams.shapes import kinds
from streams.topology import SINKS
from streams.worker import Worker, execute, start_logging

if __name__ == "__main__":
    start_logging()
    name, slot = sys.argv[1], int(sys.argv[2])
    sink = sink_of(settings(), name)
    if "--no-tokens" in sys.argv:
        sink = ClickHouse(settings().clickhouse(), settings().clickhouse_database, deduplicate=False)
    worker = Worker(settings(), f"landing-{name}-{slot}", ids=LocalIds(event_classes()), follows=False)
    execute(worker, lambda: Landing(settings(), sink, kinds(SINKS[name]), slot, worker).run())
