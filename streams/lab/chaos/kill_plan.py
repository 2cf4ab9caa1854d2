"""Chooses what is killed and when, and measures how long it takes to move again."""

import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from confluent_kafka import TopicPartition

from infra.embedded import stack
from schemas.events.agent.runs import RequestAdmitted, RequestCleared, ToolReturned
from schemas.events.base import Event
from schemas.wire.record_types import RecordTypes
from streams.config import Settings
from streams.engine import kafka
from streams.engine.client import ends

WEIGHTS = {
    "stage-tenant": 4,
    "stage-session": 8,
    "stage-document": 1,
    "calls": 6,
    "sink-clickhouse": 5,
    "sink-qdrant": 2,
    "clickhouse": 3,
    "qdrant": 1,
    "registry": 1,
    "kafka": 1,
}
MOVES: dict[str, type[Event]] = {
    "stage-tenant": RequestAdmitted,
    "stage-session": RequestCleared,
    "calls": ToolReturned,
}
"""The event whose appearance shows that a worker of a kind moves again."""
PAUSE_S = 9.0
RESUMED_S = 10
"""The allowed time from SIGKILL until all partitions move again (99th percentile)."""


@dataclass
class Kill:
    """A killed process: when (epoch seconds), at which boundary, and until it moved again."""

    service: str
    at: float
    boundary: str = ""
    resumed_s: float | None = None


@dataclass
class ProgressMonitor:
    """Collects the timestamps of marker events by class and partition, in a thread of its own."""

    settings: Settings
    seen: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        reader = kafka.consumer(self.settings, f"moves-{uuid4().hex[:8]}")
        types = RecordTypes(self.settings.prefix, MOVES.values())
        reader.assign(
            [TopicPartition(p.topic, p.partition, p.offset) for p in ends(reader, types.topics)]
        )
        while not self.stopped.is_set():
            for message in reader.consume(1_000, 0.1):
                if not message.error() and (kind := types.of(message)):
                    moved = kind.__name__, int(message.partition() or 0)
                    self.seen[moved].append(message.timestamp()[1] / 1000)
        reader.close()

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join(10)


def service_kind(name: str) -> str:
    """`stage-session-0` is of kind `stage-session`; engines are their own kind."""
    head, _, last = name.rpartition("-")
    return head if last.isdigit() else name


def choices(names: list[str], kills: int, seed: int) -> list[str]:
    """The services to kill: every kind once if possible, the rest by weight, in random order.

    The broker is at most one of fifteen, as its return takes a quarter of a minute.
    """
    chance = random.Random(seed)
    known = [name for name in names if service_kind(name) in WEIGHTS]
    by_kind = {service_kind(name): name for name in known}
    chosen = chance.sample(sorted(by_kind.values()), min(kills, len(by_kind)))
    others = [name for name in known if service_kind(name) != "kafka"]
    chosen += chance.choices(
        others, [WEIGHTS[service_kind(name)] for name in others], k=kills - len(chosen)
    )
    more_brokers = kills // 15 - 1
    if more_brokers > 0:
        chosen[len(by_kind) : len(by_kind) + more_brokers] = [by_kind["kafka"]] * more_brokers
    chance.shuffle(chosen)
    return chosen


def kill_all(
    settings: Settings,
    kills: int,
    seed: int,
    gap_s: tuple[float, float],
    pause: bool,
    progress: Callable[[int, str], None],
) -> list[Kill]:
    """Kill as planned, with SIGKILL; half-way, pause a session worker past its session timeout."""
    home = settings.home.resolve()
    chance = random.Random(seed)
    done = []
    names = list(stack.status(home)["services"])
    for number, name in enumerate(choices(names, kills, seed)):
        time.sleep(chance.uniform(*gap_s))
        if pause and number == kills // 2:
            sleeper = next(n for n in names if service_kind(n) == "stage-session")
            progress(number, f"{sleeper} stands still for {PAUSE_S:.0f} s")
            stack.kill(home, sleeper, signal.SIGSTOP)
            time.sleep(PAUSE_S)
            stack.kill(home, sleeper, signal.SIGCONT)
        await_alive(home, name)
        done.append(Kill(name, time.time()))
        stack.kill(home, name, signal.SIGKILL)
        progress(number + 1, f"killed {name}")
        if service_kind(name) == "kafka":
            # Groups take 12 to 16 s to come back; kills in that time would test nothing more.
            time.sleep(15)
    return done


def await_alive(home: Any, name: str, timeout_s: float = 30) -> None:
    """Wait until a service is ready, or the time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if stack.status(home)["services"][name].get("state") == "ready":
            return
        time.sleep(0.05)


def measure_resumes(kills: list[Kill], moves: ProgressMonitor) -> None:
    """Set `resumed_s` of killed workers: until the last partition that moved before moved again.

    Partitions without later events are left out; what is missing there is counted as lost.
    """
    for kill in kills:
        marker = MOVES.get(service_kind(kill.service))
        if marker is None:
            continue
        waits = []
        for (name, _), times in list(moves.seen.items()):
            if name == marker.__name__ and any(kill.at - 5 < t <= kill.at for t in times):
                waits += [t - kill.at for t in times if t > kill.at + 0.02][:1]
        kill.resumed_s = max(waits, default=None)


def slowest(kills: list[Kill], most: int = 5) -> list[dict[str, Any]]:
    """The kills with the slowest recovery, with their times, to be found in the logs."""
    known = [(kill.resumed_s, kill) for kill in kills if kill.resumed_s is not None]
    known.sort(key=lambda pair: -pair[0])
    return [
        {
            "service": kill.service,
            "boundary": kill.boundary,
            "resumed_s": round(resumed_s, 2),
            "at": datetime.fromtimestamp(kill.at, UTC).isoformat(timespec="milliseconds"),
        }
        for resumed_s, kill in known[:most]
    ]
