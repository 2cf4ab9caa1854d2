"""Plays an example of `infra/examples` in memory, with its scripted model and tools."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from infra.embedded.scripted import server
from processors.models.cascade_checks import wrong_with
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Definitions
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import AgentRequested, RunFinished
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.tools.kinds import ToolContext, ToolKind
from sinks.tools.runner import ToolRunner
from streams.definitions import folder
from streams.engine.in_memory import Local
from streams.engine.shapes import Step
from streams.topology import PIPELINE

FOLDER = Path(__file__).parents[2] / "infra/examples"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@contextmanager
def playing(
    name: str,
    *changed: Definition,
    more: Mapping[str, ToolKind] | None = None,
    pipeline: tuple[Step, ...] = PIPELINE,
    memory: Callable[..., Local] = Local,
) -> Iterator[tuple[Local, Callable[..., list[Event]]]]:
    """The example in memory, with some definitions changed; `ask(text, agent)` sends a request.
    `more` are further ways to reach a tool, `memory` another way to run in memory.
    """
    definitions, script = _loaded(name)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=server.application(script)))
    whole = {(d.kind, d.name): d for d in (*definitions, *changed)}
    opened: list[Local] = []

    def stamped(port: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The port's answers at the time that the pipeline has come to: a test then says the same
        every day.
        """

        async def answer(question: Any) -> Any:
            now = opened[0].now
            return replace(await port(question), started_at=now, at=now)

        return answer

    ports = {
        "chat": stamped(ModelClient(http_sender(http, str), check_answer=wrong_with)),
        "tool": stamped(ToolRunner(ToolContext(http, http), str, kinds=more)),
        "search": None,
    }
    opened.append(local := memory(pipeline, Definitions.of(*whole.values()), ports))
    [tenant] = [d.name for d in whole.values() if d.kind == "tenant"]

    def ask(text: str, agent: str, number: int = 1, **fields: Any) -> list[Event]:
        return local.send(
            AgentRequested(
                id=UUID(int=number), at=NOON, tenant=tenant, agent=agent, text=text, **fields
            )
        )

    try:
        yield local, ask
    finally:
        local.close()


@cache
def _loaded(name: str) -> tuple[tuple[Definition, ...], dict[str, Any]]:
    """Definitions and script of an example, read once."""
    return tuple(folder.load(FOLDER / name, 1).definitions), server.load(
        FOLDER / name / "script.yaml"
    )


def ends(events: list[Event]) -> list[RunFinished]:
    """The ends of runs; nothing may have become a dead letter on the way."""
    assert not [event for event in events if isinstance(event, DeadLettered)]
    return [event for event in events if isinstance(event, RunFinished)]


def questions(events: list[Event]) -> list[ModelAsked]:
    return [event for event in events if isinstance(event, ModelAsked)]
