"""How does a test play an example of `infra/examples` whole, in memory, with its scripted model and tools?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from infra.embedded import scripted
from schemas.agent import AgentRequested, ModelAsked, RunFinished
from schemas.base import Event
from schemas.operations import DeadLettered
from schemas.registry import Definition, Definitions
from sinks.model_api import ModelApi
from sinks.tool_runner import ToolRunner
from streams import company
from streams.local import Local
from streams.topology import PIPELINE

FOLDER = Path(__file__).parents[2] / "infra/examples"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@contextmanager
def playing(name: str, *changed: Definition) -> Iterator[tuple[Local, Callable[..., list[Event]]]]:
    """The example in memory, with some definitions changed; `ask(text, agent)` sends a request."""
    folder = FOLDER / name
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=scripted.application(
        scripted.load(folder / "script.yaml"))))
    whole = {(d.kind, d.name): d for d in (*company.load(folder, 1).definitions, *changed)}
    ports = {"chat": ModelApi(http, str), "tool": ToolRunner(http, str), "search": None}
    local = Local(PIPELINE, Definitions.of(*whole.values()), ports)
    [tenant] = [d.name for d in whole.values() if d.kind == "tenant"]

    def ask(text: str, agent: str, number: int = 1, **fields: Any) -> list[Event]:
        return local.send(AgentRequested(id=UUID(int=number), at=NOON, tenant=tenant, agent=agent, text=text, **fields))

    try:
        yield local, ask
    finally:
        local.close()


def ends(events: list[Event]) -> list[RunFinished]:
    """The ends of runs; nothing may have become a dead letter on the way."""
    assert not [event for event in events if isinstance(event, DeadLettered)]
    return [event for event in events if isinstance(event, RunFinished)]


def questions(events: list[Event]) -> list[ModelAsked]:
    return [event for event in events if isinstance(event, ModelAsked)]
