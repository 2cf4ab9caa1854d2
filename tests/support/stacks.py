"""Small services and stacks for the supervisor's tests; no stack outlives its test."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import stack
from infra.embedded.service import Service

READY_THEN_WAIT = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"


def until(condition: Callable[[], object], limit_s: float = 15.0):
    """What the condition gives as soon as it is true; AssertionError when the time is over."""
    limit = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < limit, "this did not become true in time"
        time.sleep(0.01)
    return found


def small(folder: Path, name: str, code: str = READY_THEN_WAIT, **more) -> Service:
    """A service that is ready when it has touched `<folder>/<name>.ready`, its code's argv[1]."""
    mark = folder / f"{name}.ready"
    argv = (sys.executable, "-S", "-c", code, str(mark))
    return Service(
        name=name, argv=argv, kind="test", **{"ready": {"file": str(mark)}, "drain_s": 2.0, **more}
    )


@contextmanager
def up(home: Path, *services: Service, wait: bool = True):
    """A stack of these services, attached to the test."""
    handle = stack.start(home, services, attached=True)
    try:
        if wait:
            stack.wait_ready(home, timeout_s=60)
        yield handle
    finally:
        handle.close(at_once=True)


def alive(pid: int) -> bool:
    """Whether the process lives; one that ended and was not collected yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
