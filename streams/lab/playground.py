"""How is an agent tried at a desk, with no Kafka, no ClickHouse and no Qdrant?

The company that an agent's file belongs to is read as `weir apply` reads it and runs in memory,
through the same table of steps. Models and tools are asked as in production, except those at the
address of the scripted services: where the company's folder has a `script.yaml`, they answer in
this process. Documents are searched by meaning alone, not by words too, so their order may differ a
little from that of Qdrant.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
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


class Playground:
    """One conversation with one agent. `heard` is told of every event as it is made, `read` of what
    a model that streams says while it says it.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        agent: str,
        tenant: str = "",
        heard: Callable[[Event], None] = lambda event: None,
        read: Callable[[ModelChunk], None] = lambda chunk: None,
        pipeline: tuple[Step, ...] = PIPELINE,
    ):
        given = company.load(folder, settings.services_port)
        self._agent = agent
        self._session = f"desk-{uuid4().hex[:8]}"
        self.tenant = tenant or tenant_of(given, agent)
        self._search = MemorySearch()
        http = httpx.AsyncClient(mounts=scripted_at(settings.services_port, folder / SCRIPT))
        ports = ports_over(
            settings, http, http, ChunkPublisher(read), objects=f"memory://{self._session}"
        ) | {"search": self._search}
        self._passed = timedelta()
        self._open: dict[UUID, ApprovalAsked] = {}
        self.given = Definitions.of(*given.definitions)
        self._local = Local(pipeline, self.given, ports, heard)
        self._search.learn(
            event
            for document in given.documents
            if document.tenant == self.tenant
            for event in self._local.send(document)
            if isinstance(event, ChunkPrepared)
        )

    def say(self, text: str) -> list[Event]:
        """One request, and all that it causes."""
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
        """Something happened outside, for the workflow that waits for it."""
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
        """So much time passes: waits are over, and who did not answer in time is gone."""
        self._passed += timedelta(seconds=seconds)
        return self._noted(self._local.advance(now() + self._passed))

    def decide(self, decision: str, note: str) -> list[Event] | None:
        """The word of whoever may give it, on the call that has waited longest; None where none
        waits.
        """
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
    """The folder of the company that a definition's file is part of. Raises DefinitionsError."""
    if not file.is_file():
        raise DefinitionsError(
            f"{file} is no file: give an agent's, e.g. infra/company/agents/support.yaml"
        )
    if file.parent.name not in FOLDERS:
        raise DefinitionsError(
            f"{file} is in {file.parent.name}/: an agent's file is in the folder agents/ of its company, "
            "beside models/, tools/ and tenants/"
        )
    return file.parent.parent


def tenant_of(given: Company, agent: str) -> str:
    """Who may ask the agent: the first that it names, else the first of the company. Raises
    DefinitionsError.
    """
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
    """The scripted services as a transport of this process, where the company has a script."""
    if not script.exists():
        return {}
    return {
        f"http://127.0.0.1:{port}": httpx.ASGITransport(app=server.application(server.load(script)))
    }


class MemorySearch:
    """The port `search` over a handful of chunks, by the same dense vectors that Qdrant holds."""

    def __init__(self) -> None:
        self._chunks: list[ChunkPrepared] = []
        self._vectors: Any = None
        self._embedder: Any = None

    def learn(self, chunks: Any) -> None:
        self._chunks = list(chunks)

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
        best = sorted(range(len(self._chunks)), key=lambda place: -scores[place])[: question.limit]
        passages = tuple(
            Passage(
                document=c.document,
                nth=c.nth,
                title=c.title,
                text=c.text,
                score=float(scores[place]),
            )
            for place in best
            for c in [self._chunks[place]]
        )
        return SearchAnswer(passages, started_at, now())
