"""Runs an agent and its definitions in memory, without Kafka, ClickHouse and Qdrant.

The definitions beside an agent's file are read as `weir apply` reads them and run in memory,
through the same table of steps. Models and tools are called as in production, except the scripted
ones: where the folder has a `script.yaml`, they answer in this process. Documents are searched by
dense vectors alone, so their order may differ a little from Qdrant's hybrid search.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx

from infra.embedded.scripted import server
from schemas.definitions.kinds import Agent, Definitions, Tenant
from schemas.events.agent.approvals import ApprovalAsked, ApprovalDecided, ApprovalResolved
from schemas.events.agent.runs import AgentRequested, Passage
from schemas.events.agent.signals import Signalled
from schemas.events.base import Event
from schemas.events.knowledge import ChunkPrepared
from schemas.events.model_chunks import ModelChunk
from schemas.ports import SearchAnswer, SearchQuestion
from streams.config import Settings
from streams.definitions import folder as company
from streams.definitions.folder import FOLDERS, Company, DefinitionsError
from streams.engine.client import now
from streams.engine.in_memory import Local
from streams.engine.shapes import Step
from streams.ports.chunk_publisher import ChunkPublisher
from streams.ports.wiring import ports_over
from streams.topology import PIPELINE

SCRIPT = "script.yaml"


@dataclass(frozen=True)
class Listeners:
    """Who follows a playground: `event` gets each event, `chunk` the text that a model streams."""

    event: Callable[[Event], None] = lambda event: None
    chunk: Callable[[ModelChunk], None] = lambda chunk: None


class Playground:
    """One conversation with one agent."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        agent: str,
        tenant: str = "",
        listeners: Listeners = Listeners(),
        pipeline: tuple[Step, ...] = PIPELINE,
    ):
        loaded = company.load(folder, settings.services_port)
        self._agent = agent
        self._session = f"desk-{uuid4().hex[:8]}"
        self.tenant = tenant or tenant_of(loaded, agent)
        self._search = MemorySearch()
        http = httpx.AsyncClient(mounts=scripted_at(settings.services_port, folder / SCRIPT))
        ports = ports_over(
            settings,
            http,
            http,
            ChunkPublisher(listeners.chunk),
            objects=f"memory://{self._session}",
        ) | {"search": self._search}
        self._passed = timedelta()
        self._open: dict[UUID, ApprovalAsked] = {}
        self.definitions = Definitions.of(*loaded.definitions)
        self._local = Local(pipeline, self.definitions, ports, listeners.event)
        for document in loaded.documents:
            if document.tenant == self.tenant:
                self._search.add(self._local.send(document))

    def say(self, text: str) -> list[Event]:
        """Send a request; returns all events that it causes."""
        return self.send(
            AgentRequested(
                id=uuid4(),
                at=now(),
                tenant=self.tenant,
                agent=self._agent,
                text=text,
                session=self._session,
                channel="desk",
            )
        )

    def signal(self, name: str, payload: str) -> list[Event]:
        """Send a signal to the workflow that waits for it."""
        return self.send(
            Signalled(
                id=uuid4(),
                at=now(),
                tenant=self.tenant,
                session=self._session,
                name=name,
                payload=payload,
            )
        )

    def later(self, seconds: float) -> list[Event]:
        """Let time pass: timers fire and approvals expire."""
        self._passed += timedelta(seconds=seconds)
        return self._noted(self._local.advance(now() + self._passed))

    def decide(self, decision: Literal["approve", "deny"], note: str) -> list[Event] | None:
        """Decide the oldest open approval as its first approver; None where none is open."""
        if not self._open:
            return None
        asked = next(iter(self._open.values()))
        return self.send(
            ApprovalDecided(
                id=uuid4(),
                at=min(now() + self._passed, asked.expires_at),
                tenant=asked.tenant,
                session=asked.session,
                approval=asked.id,
                by=asked.approvers[0],
                decision=decision,
                note=note,
            )
        )

    def send(self, event: Event) -> list[Event]:
        return self._noted(self._local.send(event))

    def _noted(self, said: list[Event]) -> list[Event]:
        for event in said:
            if isinstance(event, ApprovalAsked):
                self._open[event.id] = event
            elif isinstance(event, ApprovalResolved):
                self._open.pop(event.approval, None)
        return said

    def close(self) -> None:
        self._local.close()


def company_of(file: Path) -> Path:
    """The folder of definitions that a file is part of. Raises DefinitionsError."""
    if not file.is_file():
        raise DefinitionsError(
            f"{file} is no file: give an agent's, e.g. infra/company/agents/support.yaml"
        )
    if file.parent.name not in FOLDERS:
        raise DefinitionsError(
            f"{file} is in {file.parent.name}/: an agent's file must be in a folder agents/ "
            "beside models/, tools/ and tenants/"
        )
    return file.parent.parent


def tenant_of(given: Company, agent: str) -> str:
    """The first tenant of an agent, else the first of the folder. Raises DefinitionsError."""
    found = next((d for d in given.definitions if isinstance(d, Agent) and d.name == agent), None)
    if found is None:
        names = ", ".join(d.name for d in given.definitions if isinstance(d, Agent)) or "none"
        raise DefinitionsError(
            f"there is no agent {agent!r} in the company; its agents are: {names}"
        )
    tenants = [*found.tenants, *(d.name for d in given.definitions if isinstance(d, Tenant))]
    if not tenants:
        raise DefinitionsError("the company has no tenant: add one, e.g. tenants/me.yaml")
    return tenants[0]


def scripted_at(port: int, script: Path) -> dict[str, httpx.AsyncBaseTransport]:
    """The scripted services as an in-process transport, where the folder has a script."""
    if not script.exists():
        return {}
    return {
        f"http://127.0.0.1:{port}": httpx.ASGITransport(app=server.application(server.load(script)))
    }


class MemorySearch:
    """The port `search` over the chunks in memory, by the same dense vectors as Qdrant's."""

    def __init__(self) -> None:
        self._chunks: list[ChunkPrepared] = []
        self._vectors: Any = None
        self._embedder: Any = None

    def add(self, events: list[Event]) -> None:
        """Add the chunks among these events; all must be added before the first search."""
        self._chunks += [event for event in events if isinstance(event, ChunkPrepared)]

    def __call__(self, question: SearchQuestion) -> SearchAnswer:
        started_at = now()
        if self._chunks and self._vectors is None:
            import numpy as np

            from sinks.qdrant.embedder import Embedder

            self._embedder = Embedder()
            self._vectors = np.array(
                self._embedder.dense([f"{c.title}\n{c.text}" for c in self._chunks])
            )
        scores = self._vectors @ self._embedder.dense([question.query])[0] if self._chunks else []
        ranked = sorted(
            zip(scores, self._chunks, strict=True), key=lambda pair: pair[0], reverse=True
        )
        passages = tuple(
            Passage(
                document=chunk.document,
                nth=chunk.nth,
                title=chunk.title,
                text=chunk.text,
                score=float(score),
            )
            for score, chunk in ranked[: question.limit]
        )
        return SearchAnswer(passages, started_at, now())
