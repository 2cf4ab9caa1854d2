"""The HTTP interface of the embedded Qdrant."""

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from infra.embedded.qdrant.engine import Collections
from infra.embedded.qdrant.filters import RequestRejectedError
from infra.embedded.qdrant.handlers import HANDLERS, Handler

# The client warns where the server is more than one minor version away from its own.
VERSION = "1.20.0"
FLUSH_S = 5


def application(collections: Collections) -> Starlette:
    """The ASGI application in front of opened collections."""

    @asynccontextmanager
    async def lifespan(_):
        flushing = asyncio.create_task(_flush_regularly(collections))
        yield
        flushing.cancel()
        collections.close()

    async def root(_: Request) -> Response:
        return _json(
            {"title": "qdrant - vector search engine", "version": VERSION, "commit": "embedded"}
        )

    async def alive(_: Request) -> Response:
        return PlainTextResponse("all shards are ready")

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(metrics_text(collections))

    async def unknown(http: Request) -> Response:
        return _error(
            404,
            f"The embedded Qdrant does not serve {http.method} {http.url.path}: "
            "use a Qdrant server",
        )

    routes = [
        Route("/", root),
        Route("/metrics", metrics),
        *(Route(path, alive) for path in ("/healthz", "/readyz", "/livez")),
    ]
    routes += [
        Route(path, _endpoint(collections, handler), methods=[method])
        for method, path, handler in HANDLERS
    ]
    every = ["GET", "PUT", "POST", "PATCH", "DELETE"]
    return Starlette(
        routes=[*routes, Route("/{rest:path}", unknown, methods=every)], lifespan=lifespan
    )


async def _flush_regularly(collections: Collections) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        collections.flush()


def _endpoint(collections: Collections, handler: Handler) -> Callable:
    async def endpoint(http: Request) -> Response:
        began_s = time.perf_counter()
        raw = await http.body()
        try:
            result = handler(collections, http.path_params, orjson.loads(raw) if raw else {})
        except Exception as error:  # the engine raises bare Exception
            return _error(*error_response(error), time.perf_counter() - began_s)
        return _json({"result": result, "status": "ok", "time": time.perf_counter() - began_s})

    return endpoint


def error_response(error: Exception) -> tuple[int, str]:
    """The HTTP status and the message of a failure, as a Qdrant server gives them."""
    text = str(error)
    match error:
        case RequestRejectedError():
            return error.status, text
        case KeyError():
            return 400, f"Format error in JSON body: missing field {text}"
        case OSError():
            return 500, f"Service internal error: {text}. Free some disk space if it is full."
        case (
            orjson.JSONDecodeError()
            | ValueError()
            | TypeError()
            | AttributeError()
            | OverflowError()
        ):
            return 400, f"Format error in JSON body: {text}"
    if text.startswith("No point with id"):
        return 404, f"Not found: {text}"
    if text.startswith("Service") or "No space left" in text:
        return 500, f"Service internal error: {text}. Free some disk space if it is full."
    return 400, f"Wrong input: {text}"


def metrics_text(collections: Collections) -> str:
    """Sizes of collections in the Prometheus text format."""
    lines = [
        f'app_info{{name="qdrant",version="{VERSION}"}} 1',
        f"collections_total {len(collections.names())}",
    ]
    lines += [
        f'collection_points{{id="{name}"}} {collections[name].shard.info().points_count}'
        for name in collections.names()
    ]
    return "\n".join(lines) + "\n"


def _json(body: dict, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _error(status: int, message: str, time_s: float = 0.0) -> Response:
    return _json({"status": {"error": message}, "time": time_s}, status)
