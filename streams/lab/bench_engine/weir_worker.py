"""Weir's own workers for the benchmark: as in production, but without a registry.

`python -m streams.lab.bench_engine.weir_worker fold` is a stage worker with the work's one step as
its pipeline, and `python -m streams.lab.bench_engine.weir_worker sink` the worker that lands in
ClickHouse.
"""

import sys

from schemas.catalogue import event_classes
from schemas.wire.codec import LocalIds
from sinks.spec import sink_spec
from streams.config import settings
from streams.engine.sinks.worker import SinkWorker, Stored, sink_of
from streams.engine.stages import worker as stage
from streams.engine.worker import RECORDS_ONLY, Worker, execute, start_logging
from streams.lab.bench_engine.workload import WORKS
from streams.topology import VALIDATED


def main() -> None:
    name = sys.argv[1]
    configured = settings()
    start_logging()
    worker = Worker(
        configured,
        f"bench-{name}",
        configured.metrics_port,
        ids=LocalIds(event_classes()),
        inputs=RECORDS_ONLY,
    )
    if name == "sink":
        sink = sink_of(configured, "clickhouse", worker)
        stored = Stored(sink_spec("clickhouse").events, VALIDATED)
        execute(worker, lambda: SinkWorker(configured, sink, stored, 0, worker).run())
    else:
        work = WORKS[name]
        execute(worker, lambda: stage.run(configured, work.key, 0, worker, (work.step,), {}))


if __name__ == "__main__":
    main()
