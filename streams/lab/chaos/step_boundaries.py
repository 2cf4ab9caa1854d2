"""Kills workers exactly at the boundaries of steps, and in the middle of calls.

Each boundary is an event: as soon as it is committed, the worker that reads it next gets SIGKILL;
for calls also a moment later, when the call is in flight. All boundaries take turns until the last
request was sent.
"""

import itertools
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.embedded import stack
from infra.embedded.service import StackError
from schemas.events.agent.models import ModelAsked, ModelResponded
from schemas.events.agent.runs import (
    AgentRequested,
    RequestAdmitted,
    RunFinished,
    ToolCalled,
    ToolReturned,
)
from schemas.events.base import Event
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.engine.client import Watch
from streams.lab.chaos import kill_plan

MID_CALL_S = 0.05
"""Calls of the chaos run's model and tool take 5 to 150 ms."""
SILENT_S = 20


@dataclass(frozen=True)
class Boundary:
    """The event at which a worker is killed, at once or a moment later."""

    at: type[Event]
    service: str
    after_s: float = 0

    @property
    def name(self) -> str:
        later = " +50 ms" if self.after_s else ""
        return f"{self.at.__name__}{later} ({self.service})"


BOUNDARIES = (
    Boundary(AgentRequested, "stage-tenant"),
    Boundary(RequestAdmitted, "stage-session"),
    Boundary(ModelAsked, "stage-session"),
    Boundary(ModelAsked, "stage-session", MID_CALL_S),
    Boundary(ModelResponded, "stage-session"),
    Boundary(ToolCalled, "calls"),
    Boundary(ToolCalled, "calls", MID_CALL_S),
    Boundary(ToolReturned, "stage-session"),
    Boundary(RunFinished, "stage-tenant"),
    Boundary(RunFinished, "sink-clickhouse"),
)


def kill_at_boundaries(
    settings: Settings, codec: Codec, over: Callable[[], bool], progress: Callable[[int, str], None]
) -> tuple[list[kill_plan.Kill], dict[str, int]]:
    """Kill until `over()`; returns the kills and their number at each boundary."""
    home = settings.home.resolve()
    kills = []
    counts = dict.fromkeys((b.name for b in BOUNDARIES), 0)
    heard: queue.Queue[Event] = queue.Queue()
    with Watch(settings, codec, {boundary.at for boundary in BOUNDARIES}, heard.put):
        for number, boundary in enumerate(itertools.cycle(BOUNDARIES)):
            victim = _victim(home, boundary.service, sum(divmod(number, len(BOUNDARIES))))
            kill_plan.await_alive(home, victim)
            if over() or not _await(heard, boundary.at):
                return kills, counts
            time.sleep(boundary.after_s)
            at = time.time()
            try:
                stack.kill(home, victim)
            except StackError:
                # The service is just starting or has ended: nothing to kill this time.
                continue
            kills.append(kill_plan.Kill(victim, at, boundary.name))
            counts[boundary.name] += 1
            progress(len(kills), f"killed {victim} at {boundary.name}")
    return kills, counts


def _victim(home: Path, service: str, turn: int) -> str:
    """The workers of a service kind, in turn."""
    names = [
        name for name in stack.status(home)["services"] if kill_plan.service_kind(name) == service
    ]
    return names[turn % len(names)]


def _await(heard: queue.Queue[Event], kind: type[Event]) -> bool:
    """Wait for the next committed event of a class; False if none comes any more."""
    while not heard.empty():
        heard.get_nowait()
    deadline = time.monotonic() + SILENT_S
    while time.monotonic() < deadline:
        try:
            if type(heard.get(timeout=0.5)) is kind:
                return True
        except queue.Empty:
            continue
    return False
