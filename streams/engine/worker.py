"""The process of a worker: how it begins, lives and ends, the same for every kind.

It answers on its health port, is ended by a watchdog when it hangs, and on SIGTERM finishes what it
has begun. `streams/worker.py` makes one of each kind.
"""

import gc
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from schemas.definitions.kinds import Definitions
from schemas.wire.codec import Codec, Ids
from sinks.objects import ObjectStore
from streams.config import Settings
from streams.engine.definitions_topic import Follower
from streams.engine.monitoring.health import Heart, Pages
from streams.engine.monitoring.telemetry import Metrics, Outward
from streams.engine.schema_registry import Registry

log = logging.getLogger(__name__)

SILENCE_S = 8.0
STARTING_S = 60.0
FAILED = 3
REPEAT_S = 10.0
COLLECTED = (20_000, 20, 20)
"""Events hold no circles: looking for them as often as Python does by itself (700) took a stage 6 %
of its time.
"""


@dataclass(frozen=True)
class Inputs:
    """What a worker reads besides its records: the definitions in force, and large bodies out of
    the object store.
    """

    definitions: bool
    bodies: bool


ALL_INPUTS = Inputs(definitions=True, bodies=True)
RECORDS_ONLY = Inputs(definitions=False, bodies=False)


class Worker:
    """What a runner needs of its process: its end, its heart, its codec, the definitions, its
    numbers.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        port: int | None = None,
        ids: Ids | None = None,
        inputs: Inputs = ALL_INPUTS,
        silence_s: float = SILENCE_S,
    ):
        self.name, self.stopping, self.metrics = name, threading.Event(), Metrics()
        self._heart = Heart(silence_s, starting_s=STARTING_S)
        self._ready = False
        ids = ids or Registry(settings, self.beat)
        self.codec = Codec(ids, ObjectStore(settings.object_store()) if inputs.bodies else None)
        self._outward = Outward(settings, name) if settings.otlp_endpoint else None
        self.metrics.send_to(self._outward)
        self._definitions = None
        if inputs.definitions:
            self._definitions = Follower(settings, Codec(ids), self.beat)
        self._pages = (
            None
            if port is None
            else Pages(
                port,
                lambda: self._heart.well,
                lambda: self._ready,
                self._numbers,
                settings.metrics_host,
            )
        )
        self._heart.watch()

    def beat(self) -> None:
        """To be called at least every `silence_s` seconds, by whatever does the work."""
        self._heart.beat()

    def ready(self, ready: bool) -> None:
        if ready and not self._ready:
            self._heart.settle()
        self._ready = ready
        self.metrics.gauge("weir_ready", float(ready), worker=self.name)

    def current_definitions(self) -> Definitions:
        """The definitions in force; waits for the first snapshot. Raises RuntimeError when they
        cannot be followed.
        """
        return (
            Definitions() if self._definitions is None else self._definitions.current_definitions()
        )

    def _numbers(self) -> bytes:
        if self._definitions is not None:
            self.metrics.gauge("weir_definitions", self._definitions.known())
        return self.metrics.text()

    def end(self, why: str) -> None:
        """Ends the process at once, with nothing committed that was not; the supervisor starts
        another.
        """
        log.error("ended worker=%s why=%s", self.name, why)
        logging.shutdown()
        os._exit(FAILED)

    def close(self) -> None:
        """After the work is done: everything that would keep the process, or be lost with it."""
        self._ready = False
        self._heart.stop()
        for part in (self._definitions, self._pages, self._outward):
            if part is not None:
                part.close()


class Line(logging.Formatter):
    """One line a record: time, level, logger, message. Times in UTC, to the millisecond."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")


class Rarely(logging.Filter):
    """Lets the same words through once in ten seconds: the client floods the log while a broker is
    away.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        words = "".join(c for c in record.getMessage()[:80] if not c.isdigit())
        now = time.monotonic()
        if now - self._last.get(words, -REPEAT_S) < REPEAT_S and "rdkafka#" in words:
            return False
        if len(self._last) > 1_000:
            self._last.clear()
        self._last[words] = now
        return True


def start_logging() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Line())
    handler.addFilter(Rarely())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(
        logging.WARNING
    )  # a line a call says nothing that the spans do not


def execute(worker: Worker, run: Any) -> None:
    """Runs to the end, to SIGTERM, or to an error; a worker that fails ends at once, with the
    reason in its log.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)
    try:
        run()
    except SystemExit as stop:
        worker.end(str(stop))
    except Exception as error:
        log.exception("worker=%s", worker.name)
        worker.end(f"{type(error).__name__}: {error}")
    worker.close()
    log.info("drained worker=%s", worker.name)
