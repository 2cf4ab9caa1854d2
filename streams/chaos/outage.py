"""What if ClickHouse is away for minutes under load? It stands still, and whatever takes its place does too."""

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

from infra.embedded import stack
from infra.embedded.service import StackError
from streams.aside import resident_mb
from streams.config import Settings

ENGINE, LANDING = "clickhouse", "landing-clickhouse-0"
LOOK_S = 1.0


def stop_clickhouse(settings: Settings, minutes: float, progress: Callable[[int, str], None]) -> dict[str, float]:
    """ClickHouse away for `minutes`; the landing worker's megabytes before, at most while it waited, and restarts."""
    home, ends = settings.home.resolve(), time.monotonic() + minutes * 60
    before = most = megabytes(home)
    restarts = stack.status(home)["services"][LANDING].get("restarts") or 0
    while (left := ends - time.monotonic()) > 0:
        with contextlib.suppress(StackError):  # it is being restarted: stopped when it is there
            stack.kill(home, ENGINE, signal.SIGSTOP)
        most = max(most, megabytes(home))
        progress(0, f"ClickHouse stands still, {left:.0f} s to go")
        time.sleep(min(LOOK_S, left))
    stack.kill(home, ENGINE, signal.SIGCONT)
    again = (stack.status(home)["services"][LANDING].get("restarts") or 0) - restarts
    return {"outage_min": minutes, "landing_mb_before": round(before), "landing_mb_most": round(most),
            "landing_restarts": again}


def megabytes(home: Path) -> float:
    """Resident memory of the worker that lands in ClickHouse; 0 where it is being restarted."""
    return resident_mb(stack.status(home)["services"][LANDING].get("pid")) or 0.0
