"""How do tests run the toy's stages as real processes, to be killed? `python -m tests.streams.toy_worker KEY SLOT [PORT]`."""

import sys

from schemas.base import event_classes
from schemas.codec import Codec, LocalIds
from sinks.objects import Objects
from streams.config import settings
from streams.stages import stage
from streams.worker import Worker, execute, start_logging
from tests.streams.toy import TOY


def main(argv: list[str]) -> None:
    start_logging()
    key, slot, *port = argv
    worker = Worker(settings(), f"toy-{key}-{slot}", *map(int, port), ids=LocalIds(event_classes()), follows=False)
    if settings().objects:
        worker.codec = Codec(LocalIds(event_classes()), Objects(settings().objects))
    execute(worker, lambda: stage.run(settings(), key, int(slot), worker, TOY))


if __name__ == "__main__":
    main(sys.argv[1:])
