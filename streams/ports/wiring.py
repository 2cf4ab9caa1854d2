"""Which ports does a call runner ask, and how are they made?"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from schemas.ports import Failure, SearchAnswer, SearchQuestion
from sinks.http import client
from sinks.models.client import ModelApi, unheard
from sinks.models.response_cache import ResponseCache
from sinks.models.retries import Heard
from sinks.objects import Objects
from sinks.tools.mcp import McpTools
from sinks.tools.python import PythonTools
from sinks.tools.runner import ToolRunner
from sinks.webhooks import Webhooks
from streams.config import Settings, names_in, secret
from streams.engine.calls.conversation_cache import Remembering
from streams.engine.worker import Worker
from streams.ports.chunk_publisher import Chunks, Hearing
from streams.ports.kafka_tools import KafkaTools
from streams.ports.large_results import Keeping

SPARE = 50


def ports(
    settings: Settings, worker: Worker | None = None
) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """Models and tools over one HTTP client, those that must not be called twice over another, and
    search. What a model says as it comes is told on Kafka, where there is a worker to tell it for.
    Answers of models are kept for agents that say so; what is tried at a desk is not.
    """
    http, fresh = (client(settings.calls_at_once + SPARE, reuse) for reuse in (True, False))
    heard = Hearing(Chunks(settings, worker.codec, worker.metrics)) if worker else unheard
    known = {"meter": worker.metrics, "runner": worker.name} if worker else {}
    chat = ModelApi(http, secret, heard=heard, cache=ResponseCache(settings.responses()), **known)
    tool = tool_port(settings, http, fresh, worker)
    return {
        "chat": Remembering(chat),
        "tool": tool,
        "search": LateSearch(settings),
        "webhook": Webhooks(http, secret),
    }


def ports_over(
    settings: Settings,
    http: httpx.AsyncClient,
    fresh: httpx.AsyncClient,
    heard: Heard = unheard,
    objects: str = "",
) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """The ports that need no engine beside them. `objects` is another store of large bodies than
    that of the settings.
    """
    return {
        "chat": Remembering(ModelApi(http, secret, heard=heard)),
        "tool": tool_port(settings, http, fresh, objects=objects),
    }


def tool_port(
    settings: Settings,
    http: httpx.AsyncClient,
    fresh: httpx.AsyncClient | None = None,
    worker: Worker | None = None,
    objects: str = "",
) -> ToolRunner:
    """Every way to reach a tool that the settings allow."""
    keep = Keeping(Objects(objects or settings.object_store()))
    known = {"meter": worker.metrics, "runner": worker.name} if worker else {}
    return ToolRunner(
        http,
        secret,
        fresh,
        **known,
        keep=keep,
        more={
            "python": PythonTools(names_in(settings.python_tools)),
            "mcp": McpTools(names_in(settings.mcp_commands)),
            "kafka": KafkaTools(settings),
        },
    )


class LateSearch:
    """Search, imported when it is first asked for: its libraries take a second that a restarted
    worker has not.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = asyncio.Lock()
        self._search = None

    async def __call__(self, question: SearchQuestion) -> SearchAnswer | Failure:
        if self._search is None:
            async with self._lock:
                self._search = self._search or await asyncio.to_thread(self._make)
        return await self._search(question)

    def _make(self) -> Any:
        from sinks.qdrant.search import Search

        chosen = self._settings
        return Search(
            chosen.qdrant(), chosen.qdrant_key.get_secret_value(), chosen.qdrant_collection
        )
