"""Settings and ports for a second stack on this machine, isolated from the first."""

import contextlib
import random
import socket
from pathlib import Path
from typing import Any

from infra.embedded.service import StackError
from streams.config import Settings

PORTS = range(20_000, 32_000)
"""Below the ephemeral ports of outgoing connections."""
NEEDED = 40


def free_block(count: int) -> int:
    """The first of `count` free ports in a row, from a random start to avoid clashes."""
    starts = list(range(PORTS.start, PORTS.stop - count, count))
    random.shuffle(starts)
    for start in starts:
        with contextlib.ExitStack() as held:
            try:
                for port in range(start, start + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return start
    raise StackError(
        f"there are no {count} free ports in a row from {PORTS.start} to {PORTS.stop}: "
        "stop programs that listen there"
    )


def resident_mb(pid: int | None) -> float | None:
    """Resident memory of a process in megabytes; None where it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * 4096 / 1e6


def own_settings(home: Path, **more: Any) -> Settings:
    """Default settings with a folder and ports of their own."""
    first = free_block(NEEDED)
    return Settings.model_construct(
        **{
            "home": home,
            "kafka_port": first,  # the controller takes the next one
            "registry_port": first + 2,
            "clickhouse_port": first + 3,
            "qdrant_port": first + 4,
            "live_port": first + 5,
            "services_port": first + 6,
            "gateway_port": first + 7,
            "metrics_port": first + 8,
        }
        | more
    )
