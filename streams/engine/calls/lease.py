"""The lease of a process: whether it may still act, or stood still and may have been replaced.

A worker that was paused (a stopped container, a swapped machine) comes back believing that it owns
its partitions. Kafka fences what it writes; a call of a tool nobody fences. So a thread that ticks
ten times a second ends a process that stood still, and nothing new is begun while the Kafka thread
has not been heard of for as long.
"""

import threading
import time
from collections.abc import Callable

TICK_S = 0.1
STILL_S = 4.0


class Lease:
    """`beat` is called by the Kafka thread, `holds` by whoever is about to act, `end` ends the
    process.
    """

    def __init__(self, end: Callable[[str], None], still_s: float = STILL_S):
        self._end, self._still_s = end, still_s
        self._beat = self._tick = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def beat(self) -> None:
        self._look()
        self._beat = time.monotonic()

    def holds(self) -> bool:
        """Whether something may be begun now."""
        return self._look() - self._beat < self._still_s

    def close(self) -> None:
        self._over.set()

    def _look(self) -> float:
        now = time.monotonic()
        if now - self._tick > self._still_s and not self._over.is_set():
            self._end(
                f"the process stood still for {now - self._tick:.1f} s: another may have taken "
                "its place"
            )
        return now

    def _watch(self) -> None:
        while not self._over.wait(TICK_S):
            self._tick = self._look()
