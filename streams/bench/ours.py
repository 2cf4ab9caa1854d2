"""How does our stage worker do a work of the benchmark? As in production, only with the work's one step as pipeline.

`python -m streams.bench.ours fold`
"""

import sys

from schemas.base import event_classes
from schemas.codec import LocalIds
from streams import stage
from streams.bench.work import WORKS
from streams.config import settings
from streams.worker import Worker, execute, start_logging


def main() -> None:
    work, configured = WORKS[sys.argv[1]], settings()
    start_logging()
    worker = Worker(configured, f"bench-{work.name}", configured.metrics_port, ids=LocalIds(event_classes()),
                    follows=False)
    execute(worker, lambda: stage.run(configured, work.key, 0, worker, (work.step,)))


if __name__ == "__main__":
    main()
