"""A toy stage as a process to be killed: `python -m tests.support.toy_worker KEY SLOT [PORT]`."""

import sys

from schemas.catalogue import event_classes
from schemas.wire.codec import Codec, LocalIds
from sinks.objects import ObjectStore
from streams.config import settings
from streams.engine.stages import worker as stage
from streams.engine.worker import RECORDS_ONLY, Worker, execute, start_logging
from tests.support.toy import TOY


def main(argv: list[str]) -> None:
    start_logging()
    key, slot, *port = argv
    worker = Worker(
        settings(),
        f"toy-{key}-{slot}",
        *map(int, port),
        ids=LocalIds(event_classes()),
        inputs=RECORDS_ONLY,
    )
    if settings().objects:
        worker.codec = Codec(LocalIds(event_classes()), ObjectStore(settings().objects))
    execute(worker, lambda: stage.run(settings(), key, int(slot), worker, TOY, {}))


if __name__ == "__main__":
    main(sys.argv[1:])
