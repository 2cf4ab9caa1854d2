"""The HTTP interface of the embedded ClickHouse.

A result is sent whole: the engine returns a result as one piece, and its memory limit (1 GB
a query) bounds that piece. `/ping` is answered by the event loop while queries run in threads.
"""

import asyncio
import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from infra.embedded.clickhouse import protocol
from infra.embedded.clickhouse.engine import Answer, Engine

QUERIES_AT_ONCE = 8
_CODE = re.compile(r"Code: (\d+)")


def application(engine: Engine) -> Starlette:
    """The ASGI application in front of an opened engine."""
    pool = ThreadPoolExecutor(QUERIES_AT_ONCE, thread_name_prefix="query")

    async def query(http: HttpRequest) -> Response:
        params = dict(http.query_params)
        body = await http.body()
        params["query_id"] = params.get("query_id") or str(uuid.uuid4())
        return await asyncio.get_running_loop().run_in_executor(
            pool, answered, engine, http, params, body
        )

    async def alive(_: HttpRequest) -> Response:
        return PlainTextResponse("Ok.\n")

    @asynccontextmanager
    async def lifespan(_):
        yield
        await asyncio.to_thread(pool.shutdown)

    routes = [
        Route("/ping", alive),
        Route("/replicas_status", alive),
        Route("/", query, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def answered(engine: Engine, http: HttpRequest, params: dict[str, str], body: bytes) -> Response:
    """Run one HTTP request on the engine; a failure becomes ClickHouse's own error response."""
    identity = {
        "X-ClickHouse-Query-Id": params["query_id"],
        "X-ClickHouse-Timezone": engine.timezone,
    }
    try:
        body = protocol.decompressed(body, http.headers.get("content-encoding", ""))
        content_type = http.headers.get("content-type", "")
        if content_type.startswith("multipart/form-data"):
            params = params | protocol.form_fields(body, content_type)
            body = b""
        if not params.get("query", "").strip() and not body.strip():
            return PlainTextResponse("Ok.\n", headers=identity)
        params.setdefault("default_format", http.headers.get("x-clickhouse-format", "TabSeparated"))
        params.setdefault("database", http.headers.get("x-clickhouse-database", ""))
        request = protocol.parse(params, body, readonly=http.method == "GET")
        answer = engine.run(request)
    except (RuntimeError, UnicodeDecodeError, protocol.StatementRefusedError) as error:
        return refusal(str(error), identity, engine.version)
    headers = identity | {
        "X-ClickHouse-Summary": summary(answer),
        "X-ClickHouse-Format": request.format,
        "Content-Type": protocol.CONTENT_TYPES.get(request.format, "application/octet-stream"),
    }
    return Response(answer.body, headers=headers)


def refusal(text: str, headers: dict[str, str], version: str) -> Response:
    """ClickHouse's error answer: status 500, its error number in a header, its text as the body."""
    found = _CODE.search(text)
    code = found.group(1) if found else "1002"
    if code in ("243", "252") or "No space left" in text:
        text += (
            " The disk or a table's number of parts is at its limit: free space, "
            "or insert less often."
        )
    body = f"{text.rstrip()} (version {version} (embedded))\n"
    return PlainTextResponse(body, 500, headers=headers | {"X-ClickHouse-Exception-Code": code})


def summary(answer: Answer) -> str:
    """The X-ClickHouse-Summary header: counts as strings, as the server writes them."""
    names = (
        "read_rows",
        "read_bytes",
        "written_rows",
        "written_bytes",
        "result_rows",
        "elapsed_ns",
    )
    counts = {name: str(getattr(answer, name)) for name in names}
    return json.dumps(counts | {"total_rows_to_read": "0", "result_bytes": str(len(answer.body))})
