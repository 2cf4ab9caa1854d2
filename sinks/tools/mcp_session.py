"""How is one MCP server spoken with, over HTTP or a process's standard streams, and noticed to be
gone?

The package's client lives and ends in one task: `Session` keeps it there, and makes it anew when it
was lost. Over HTTP one request that fails would end the client and every other call with it, so the
transport below answers in the server's place: with an error of that one request, that says what
happened to it and is read here. The package is loaded when it is first needed, in a thread: it
takes half a second, which neither a restarted worker nor the calls under way have.
"""

import asyncio
import contextlib
import importlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2

from schemas.definitions.tools import McpServer
from sinks.http import DETAIL_CHARS, RETRIED_STATUS, Refusal
from sinks.tools import mcp_relay

OURS = "weir"
REFUSED = "refused"
LOST = "lost"
GONE = "gone"
STATUS = "status"
INTERNAL_ERROR = -32603
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""Of one answer. How much of it is taken the tool says."""
SENT_NEVER = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
)
CONNECTIONS = httpx2.Limits(max_connections=200, max_keepalive_connections=50)


class Live:
    """One connection while it lasts: its client when it is connected, and how many calls use it."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self.users = 0
        self.dropped = False
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """The last call that used a dropped connection ends it, connected or not."""
        if self.dropped and not self.users:
            self.over.set()
            if self.task and not self.ready.done():
                self.task.cancel()


class Session:
    """The connection to one server. `use` gives its client, connected; `drop` lets the next call
    connect anew, and those under way come to their end.
    """

    def __init__(self, connect: Callable[[], Any]):
        self._connect = connect
        self._live: Live | None = None
        self._used_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def use(self, left_s: float) -> AsyncIterator[Any]:
        """The client, for one call. Raises Refusal where there is none in time."""
        live = self._live
        if live is None:
            live = self._live = Live()
            live.task = asyncio.create_task(self._run(live))
            self._tasks.add(live.task)
            live.task.add_done_callback(self._tasks.discard)
        live.users += 1
        self._used_at = asyncio.get_running_loop().time()
        try:
            yield await self._connected(live, left_s)
        finally:
            live.users -= 1
            live.leave()

    async def _connected(self, live: Live, left_s: float) -> Any:
        try:
            async with asyncio.timeout(left_s):
                return await asyncio.shield(live.ready)
        except TimeoutError as error:
            self._forget(live)
            raise Refusal(
                "refused", f"the MCP server did not connect within {left_s:.1f} s", again=True
            ) from error

    def drop(self, client: Any) -> None:
        """Forgets this client, unless it is forgotten already."""
        live = self._live
        if (
            live
            and live.ready.done()
            and not live.ready.exception()
            and live.ready.result() is client
        ):
            self._forget(live)

    def _forget(self, live: Live) -> None:
        if self._live is live:
            self._live = None
        live.dropped = True
        live.leave()

    def idle_s(self) -> float:
        """How long nobody has begun to use it; nothing while somebody does."""
        if self._live and self._live.users:
            return 0.0
        return asyncio.get_running_loop().time() - self._used_at

    def end(self) -> None:
        """Ends the connection when nobody uses it any more."""
        if self._live:
            self._forget(self._live)

    async def close(self) -> None:
        """The same, and waits until it has ended."""
        self.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, live: Live) -> None:
        try:
            async with self._connect() as client:
                live.ready.set_result(client)
                await live.over.wait()
        except Exception as error:  # whatever its own tasks raise, in groups
            if not live.ready.done():
                live.ready.set_exception(refusal_of(error))
                live.ready.exception()  # it may be that nobody waits for it any more
        finally:
            self._forget(live)


def over_http(server: McpServer, headers: dict[str, str], below: Any = None) -> Callable[[], Any]:
    """Connects over streamable HTTP, in the newest protocol that the server knows."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        await asyncio.to_thread(importlib.import_module, "mcp.client.streamable_http")
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        transport = Told(below or httpx2.AsyncHTTPTransport(limits=CONNECTIONS))
        async with (
            httpx2.AsyncClient(
                transport=transport, headers=headers, timeout=httpx2.Timeout(None, connect=10.0)
            ) as http,
            Client(
                streamable_http_client(
                    server.url, http_client=http, max_sse_event_size=MESSAGE_BYTES_MAX
                ),
                cache=None,
            ) as client,
        ):
            yield client

    return connect


def over_streams(server: McpServer, env: dict[str, str]) -> Callable[[], Any]:
    """Starts the command and connects over its standard streams, through a relay that bounds what
    it says. What it complains of is told if it does not start.
    """

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        await asyncio.to_thread(importlib.import_module, "mcp.client.stdio")
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        program, *arguments = server.command
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
            relay = ["-I", mcp_relay.__file__, str(MESSAGE_BYTES_MAX), program, *arguments]
            parameters = StdioServerParameters(command=sys.executable, args=relay, env=env or None)
            try:
                async with Client(
                    stdio_client(parameters, errlog=complaints), cache=None
                ) as client:
                    yield client
            except Exception as error:
                complaints.seek(0)
                words = complaints.read().strip()[-DETAIL_CHARS:]
                raise Refusal(
                    "refused", f"{program}: {refusal_of(error).detail} {words}".strip(), again=True
                ) from error

    return connect


def refusal_of(error: BaseException) -> Refusal:
    """Why there is no connection, from whatever was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Refusal):
        return error
    ours = said_of(error)
    words = f"{type(error).__name__}: {error}"[:DETAIL_CHARS]
    if ours and STATUS in ours:
        status = ours[STATUS]
        return Refusal(f"http_{status}", words, again=status in RETRIED_STATUS or status >= 500)
    return Refusal("refused", words, again=True)


def said_of(error: BaseException) -> dict[str, Any] | None:
    """What the transport below put into an error; None where the server itself wrote it."""
    data = getattr(getattr(error, "error", None), "data", None)
    ours = data.get(OURS) if isinstance(data, dict) else None
    return ours if isinstance(ours, dict) else None


class Told(httpx2.AsyncBaseTransport):
    """Makes of a failed request an answer that says what failed, and reads no more of one than it
    may have.
    """

    def __init__(self, below: httpx2.AsyncBaseTransport):
        self._below = below

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            answer = await self._below.handle_async_request(request)
        except httpx2.TransportError as error:
            kind = REFUSED if isinstance(error, SENT_NEVER) else LOST
            return _error(request, 503, f"{type(error).__name__}: {error}", {kind: True})
        if request.method != "POST" or answer.status_code < 400:
            answer.stream = Limited(answer.stream)
            return answer
        words = (await _beginning(answer)).decode("utf-8", "replace").strip()
        if answer.status_code == 404 and "mcp-session-id" in request.headers:
            return _error(request, 404, "the session is gone", {GONE: True})
        if _is_rpc_error(words):
            return httpx2.Response(
                answer.status_code,
                headers={"content-type": "application/json"},
                text=words,
                request=request,
            )
        return _error(
            request,
            answer.status_code,
            f"status {answer.status_code}: {words[:DETAIL_CHARS]}",
            {STATUS: answer.status_code},
        )

    async def aclose(self) -> None:
        await self._below.aclose()


class Limited(httpx2.AsyncByteStream):
    """A body, up to the most that is read of one."""

    def __init__(self, whole: Any):
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._whole:
            size += len(part)
            if size > MESSAGE_BYTES_MAX:
                raise httpx2.StreamError(f"too_large: more than {MESSAGE_BYTES_MAX:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._whole.aclose()


async def _beginning(answer: httpx2.Response) -> bytes:
    parts = []
    size = 0
    async for part in answer.stream:
        parts.append(part)
        size += len(part)
        if size > 65_536:
            break
    await answer.stream.aclose()
    return b"".join(parts)


def _is_rpc_error(words: str) -> bool:
    try:
        said = json.loads(words)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(said, dict)
        and said.get("jsonrpc") == "2.0"
        and isinstance(said.get("error"), dict)
    )


def _error(
    request: httpx2.Request, status: int, message: str, ours: dict[str, Any]
) -> httpx2.Response:
    body = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": INTERNAL_ERROR, "message": message, "data": {OURS: ours}},
    }
    return httpx2.Response(status, json=body, request=request)
