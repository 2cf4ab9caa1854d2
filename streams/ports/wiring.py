"""The ports that calls are made through, made from the settings."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import httpx

from processors.models.cascade_checks import wrong_with
from schemas.ports import Failure, SearchAnswer, SearchQuestion
from sinks.http import http_client
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient, no_listener
from sinks.models.response_cache import ResponseCache
from sinks.models.retries import ListenerOf
from sinks.objects import ObjectStore
from sinks.redaction import KnownSecrets
from sinks.runtime import DEFAULT_RUNTIME, Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from sinks.webhooks import WebhookSender
from streams.config import Settings, names_in, secret
from streams.engine.calls.conversation_cache import Remembering
from streams.engine.worker import Worker
from streams.ports.chunk_publisher import ChunkProducer, ChunkPublisher
from streams.ports.kafka_tools import KafkaTools
from streams.ports.large_results import LargeResults

SPARE_CONNECTIONS = 50
ALL = ("chat", "tool", "search", "webhook")
Ports = dict[str, Callable[[Any], Awaitable[Any]]]


def ports(settings: Settings, worker: Worker | None = None, wanted: Collection[str] = ALL) -> Ports:
    """The wanted of models, tools, search and webhooks. With a worker, the text of models is
    published on Kafka as it comes; without one it is not.

    Calls that may be sent only once go through an HTTP client of their own. Answers of models are
    cached for agents that say so.
    """
    most = settings.calls_at_once + SPARE_CONNECTIONS
    http = http_client(most, True)
    known = KnownSecrets(secret)
    made: dict[str, Callable[[], Callable[[Any], Awaitable[Any]]]] = {
        "chat": lambda: Remembering(chat_port(settings, http, worker, known)),
        "tool": lambda: tool_port(settings, http, http_client(most, False), worker, known=known),
        "search": lambda: LazySearch(settings),
        "webhook": lambda: WebhookSender(http, secret),
    }
    return {name: made[name]() for name in wanted}


def chat_port(
    settings: Settings, http: httpx.AsyncClient, worker: Worker | None, known: KnownSecrets
) -> ModelClient:
    """Models, with the cache of their answers."""
    listener_of = no_listener
    if worker:
        listener_of = ChunkPublisher(ChunkProducer(settings, worker.codec, worker.metrics))
    return ModelClient(
        http_sender(http, known),
        runtime_of(worker),
        listener_of,
        ResponseCache(settings.responses()),
        wrong_with,
    )


def ports_over(
    settings: Settings,
    http: httpx.AsyncClient,
    fresh: httpx.AsyncClient,
    listener_of: ListenerOf = no_listener,
    objects: str = "",
) -> Ports:
    """The ports that need no engine beside them. `objects` is the URL of another object store than
    that of the settings.
    """
    known = KnownSecrets(secret)
    sender = http_sender(http, known)
    chat = ModelClient(sender, listener_of=listener_of, check_answer=wrong_with)
    return {
        "chat": Remembering(chat),
        "tool": tool_port(settings, http, fresh, objects=objects, known=known),
    }


def tool_port(
    settings: Settings,
    http: httpx.AsyncClient,
    fresh: httpx.AsyncClient | None = None,
    worker: Worker | None = None,
    objects: str = "",
    known: KnownSecrets | None = None,
) -> ToolRunner:
    """Every kind of tools that the settings allow."""
    context = ToolContext(
        http,
        fresh or http,
        python_modules=names_in(settings.python_tools),
        mcp_programs=names_in(settings.mcp_commands),
    )
    return ToolRunner(
        context,
        known or secret,
        runtime_of(worker),
        LargeResults(ObjectStore(objects or settings.object_store())),
        {"kafka": KafkaTools(settings)},
    )


def runtime_of(worker: Worker | None) -> Runtime:
    """The clock, and the metrics of the worker where there is one."""
    return Runtime(meter=worker.metrics, worker=worker.name) if worker else DEFAULT_RUNTIME


class LazySearch:
    """The port `search`, imported when it is first called: its libraries take a second, which a
    restarted worker does not have.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = asyncio.Lock()
        self._search: Callable[[SearchQuestion], Awaitable[SearchAnswer | Failure]] | None = None

    async def __call__(self, question: SearchQuestion) -> SearchAnswer | Failure:
        async with self._lock:
            if self._search is None:
                self._search = await asyncio.to_thread(self._make)
        return await self._search(question)

    def _make(self) -> Callable[[SearchQuestion], Awaitable[SearchAnswer | Failure]]:
        from sinks.qdrant.search import Search

        settings = self._settings
        key = settings.qdrant_key.get_secret_value()
        return Search(settings.qdrant(), key, settings.qdrant_collection)
