"""Waits for a condition that has no event of its own, and reports what was missing."""

import time
from collections.abc import Callable


def until(so: Callable[[], bool], timeout_s: float, missing: Callable[[], str]) -> None:
    """Returns when `so()` is true; fails with `missing()` when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not so():
        assert time.monotonic() < deadline, missing()
        time.sleep(0.05)
