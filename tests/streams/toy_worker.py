"""How do tests run the toy's stages as real processes, to be killed? `python -m tests.streams.toy_worker KEY SLOT`."""

import sys

from schemas.base import event_classes
from schemas.codec import LocalIds
from streams.config import settings
from streams.stages import stage
from streams.worker import Worker, execute, start_logging
from tests.streams.toy import TOY

if __name__ == "__main__":
    start_logging()
    key, slot = sys.argv[1], int(sys.argv[2])
    worker = Worker(settings(), f"toy-{key}-{slot}", ids=LocalIds(event_classes()), follows=False)
    execute(worker, lambda: stage.run(settings(), key, slot, worker, TOY))
