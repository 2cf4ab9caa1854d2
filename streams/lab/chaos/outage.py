"""An outage of ClickHouse under load: it is paused for minutes, and so is every restart of it.

Requests go on meanwhile. Measured are the time until all earlier requests are in its table, without
help, and the memory of the waiting processes before, during and after the outage.
"""

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

from infra.embedded import stack
from infra.embedded.service import StackError
from streams.config import Settings
from streams.engine.errors import UserError
from streams.lab.isolated_stack import resident_mb
from streams.operations.connections import rows_of

ENGINE = "clickhouse"
WAITING = {"sink": "sink-clickhouse-0", "broker": "kafka", "balancing": "balancing-0"}
LOOK_S = 1.0
CATCHING_UP_S = 900.0
Figures = dict[str, float | dict[str, float] | None]


def stop_clickhouse(
    settings: Settings,
    minutes: float,
    asked: Callable[[], int],
    progress: Callable[[int, str], None],
) -> Figures:
    """Pause ClickHouse for `minutes`; `asked` counts the requests so far."""
    home = settings.home.resolve()
    ends = time.monotonic() + minutes * 60
    before = most = half = megabytes(home)
    restarts = _restarts(home)
    while (left := ends - time.monotonic()) > 0:
        with contextlib.suppress(StackError):  # it is being restarted
            stack.kill(home, ENGINE, signal.SIGSTOP)
        now = megabytes(home)
        most = {name: max(most[name], now[name]) for name in now}
        # Memory that still grows in the second half is not bounded.
        half = now if left > minutes * 30 else half
        progress(0, f"ClickHouse stands still, {left:.0f} s to go")
        time.sleep(min(LOOK_S, left))
    to_land = asked()
    back = time.monotonic()
    stack.kill(home, ENGINE, signal.SIGCONT)
    behind, caught_up_s = _await_landed(settings, to_land, back)
    return {
        "outage_min": minutes,
        "runs_behind": behind,
        "caught_up_s": caught_up_s,
        "mb_before": before,
        "mb_half": half,
        "mb_most": most,
        "mb_after": megabytes(home),
        "restarts": {name: count - restarts[name] for name, count in _restarts(home).items()},
    }


def _await_landed(settings: Settings, to_land: int, back: float) -> tuple[int, float | None]:
    """Missing runs at first, and seconds until none was missing; None where that never came."""
    behind = None
    while time.monotonic() - back < CATCHING_UP_S:
        with contextlib.suppress(UserError):  # it is not up again yet
            landed = rows_of(settings, "SELECT count() AS runs FROM runs")[0]["runs"]
            behind = to_land - landed if behind is None else behind
            if landed >= to_land:
                return max(0, behind), round(time.monotonic() - back, 1)
        time.sleep(0.1)
    return behind or 0, None


def megabytes(home: Path) -> dict[str, float]:
    """Resident memory of the processes that wait for ClickHouse; 0 while one is restarted."""
    services = stack.status(home)["services"]
    return {
        what: round(resident_mb(services[name].get("pid")) or 0) for what, name in WAITING.items()
    }


def _restarts(home: Path) -> dict[str, int]:
    services = stack.status(home)["services"]
    return {name: services[name].get("restarts") or 0 for name in (ENGINE, *WAITING.values())}
