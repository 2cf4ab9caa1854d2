"""Connections to MCP servers, over HTTP or a process's standard streams.

The package's client lives and ends in one task: `McpConnection` runs that task, and starts it again
when the connection was lost. Over HTTP one request that fails would end the client and every other
call with it, so the transport below answers in the server's place: with an error of that one
request that says what happened to it and is read here. The package is imported when it is first
needed, in a thread: it takes half a second, which would delay a restarted worker and the calls
under way.
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
from sinks.http import DETAIL_CHARS, RETRIED_STATUS, CallError
from sinks.tools import mcp_relay

MARKER = "weir"
REFUSED = "refused"
LOST = "lost"
GONE = "gone"
STATUS = "status"
INTERNAL_ERROR = -32603
ERROR_BYTES_MAX = 65_536
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""The most bytes of one message. How much of a result is used is the tool's setting."""
NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
)
CONNECTIONS = httpx2.Limits(max_connections=200, max_keepalive_connections=50)


class LiveConnection:
    """One connection while it lasts: its client when it is connected, and how many calls use it."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.closing = asyncio.Event()
        self.users = 0
        self.dropped = False
        self.task: asyncio.Task[None] | None = None

    def release(self) -> None:
        """The last call that used a dropped connection closes it, connected or not."""
        if self.dropped and not self.users:
            self.closing.set()
            if self.task and not self.ready.done():
                self.task.cancel()


class McpConnection:
    """The connection to one server. `client` gives its client, connected; `discard` lets the next
    call connect again, while calls under way come to their end.
    """

    def __init__(self, connect: Callable[[], Any]):
        self._connect = connect
        self._current: LiveConnection | None = None
        self._used_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def client(self, left_s: float) -> AsyncIterator[Any]:
        """The client, for one call. Raises CallError where there is none in time."""
        live = self._current
        if live is None:
            live = self._current = LiveConnection()
            live.task = asyncio.create_task(self._run(live))
            self._tasks.add(live.task)
            live.task.add_done_callback(self._tasks.discard)
        live.users += 1
        self._used_at = asyncio.get_running_loop().time()
        try:
            yield await self._ready(live, left_s)
        finally:
            live.users -= 1
            live.release()

    async def _ready(self, live: LiveConnection, left_s: float) -> Any:
        try:
            async with asyncio.timeout(left_s):
                return await asyncio.shield(live.ready)
        except TimeoutError as error:
            self._close(live)
            raise CallError(
                "refused", f"the MCP server did not connect within {left_s:.1f} s", retryable=True
            ) from error

    def discard(self, client: Any) -> None:
        """Drops this client, unless it is dropped already."""
        live = self._current
        if (
            live
            and live.ready.done()
            and not live.ready.exception()
            and live.ready.result() is client
        ):
            self._close(live)

    def _close(self, live: LiveConnection) -> None:
        if self._current is live:
            self._current = None
        live.dropped = True
        live.release()

    def idle_s(self) -> float:
        """How long ago the last call began; 0 while a call is under way."""
        if self._current and self._current.users:
            return 0.0
        return asyncio.get_running_loop().time() - self._used_at

    def end(self) -> None:
        """Closes the connection when no call uses it any more."""
        if self._current:
            self._close(self._current)

    async def close(self) -> None:
        """The same, and waits until it is closed."""
        self.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, live: LiveConnection) -> None:
        try:
            async with self._connect() as client:
                live.ready.set_result(client)
                await live.closing.wait()
        except Exception as error:  # whatever its own tasks raise, in groups
            if not live.ready.done():
                live.ready.set_exception(connect_error(error))
                live.ready.exception()  # it may be that nobody waits for it any more
        finally:
            self._close(live)


def over_http(
    server: McpServer, headers: dict[str, str], bytes_max: int, transport: Any = None
) -> Callable[[], Any]:
    """Connects over streamable HTTP, in the newest protocol that the server knows."""

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        await asyncio.to_thread(importlib.import_module, "mcp.client.streamable_http")
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        below = transport or httpx2.AsyncHTTPTransport(limits=CONNECTIONS)
        reporting = ErrorReportingTransport(below, bytes_max)
        async with (
            httpx2.AsyncClient(
                transport=reporting, headers=headers, timeout=httpx2.Timeout(None, connect=10.0)
            ) as http,
            Client(
                streamable_http_client(server.url, http_client=http, max_sse_event_size=bytes_max),
                cache=None,
            ) as client,
        ):
            yield client

    return connect


def over_streams(server: McpServer, env: dict[str, str], bytes_max: int) -> Callable[[], Any]:
    """Starts the command and connects over its standard streams, through a relay that bounds its
    messages. What it writes to standard error is reported if it does not start.
    """

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        await asyncio.to_thread(importlib.import_module, "mcp.client.stdio")
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        program, *arguments = server.command
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
            relay = ["-I", mcp_relay.__file__, str(bytes_max), program, *arguments]
            parameters = StdioServerParameters(command=sys.executable, args=relay, env=env or None)
            try:
                async with Client(
                    stdio_client(parameters, errlog=complaints), cache=None
                ) as client:
                    yield client
            except Exception as error:
                complaints.seek(0)
                words = complaints.read().strip()[-DETAIL_CHARS:]
                raise CallError(
                    "refused",
                    f"{program}: {connect_error(error).detail} {words}".strip(),
                    retryable=True,
                ) from error

    return connect


def connect_error(error: BaseException) -> CallError:
    """Why there is no connection, from whatever was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, CallError):
        return error
    ours = transport_note(error)
    words = f"{type(error).__name__}: {error}"[:DETAIL_CHARS]
    if ours and STATUS in ours:
        status = ours[STATUS]
        return CallError(
            f"http_{status}", words, retryable=status in RETRIED_STATUS or status >= 500
        )
    return CallError("refused", words, retryable=True)


def transport_note(error: BaseException) -> dict[str, Any] | None:
    """What the transport below put into an error; None where the server itself wrote it."""
    data = getattr(getattr(error, "error", None), "data", None)
    ours = data.get(MARKER) if isinstance(data, dict) else None
    return ours if isinstance(ours, dict) else None


class ErrorReportingTransport(httpx2.AsyncBaseTransport):
    """Turns a failed request into a reply that says what failed, and reads at most `bytes_max` of
    one.
    """

    def __init__(self, below: httpx2.AsyncBaseTransport, bytes_max: int):
        self._below = below
        self._bytes_max = bytes_max

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            answer = await self._below.handle_async_request(request)
        except httpx2.TransportError as error:
            kind = REFUSED if isinstance(error, NEVER_SENT) else LOST
            return _error(request, 503, f"{type(error).__name__}: {error}", {kind: True})
        if request.method != "POST" or answer.status_code < 400:
            answer.stream = LimitedStream(_stream_of(answer), self._bytes_max)
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


class LimitedStream(httpx2.AsyncByteStream):
    """A body that fails once more than `bytes_max` of it have been read."""

    def __init__(self, whole: httpx2.AsyncByteStream, bytes_max: int):
        self._whole = whole
        self._bytes_max = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._whole:
            size += len(part)
            if size > self._bytes_max:
                raise httpx2.StreamError(f"too_large: more than {self._bytes_max:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._whole.aclose()


def _stream_of(answer: httpx2.Response) -> httpx2.AsyncByteStream:
    """The body of an answer to an asynchronous request."""
    if not isinstance(answer.stream, httpx2.AsyncByteStream):
        raise TypeError(f"{type(answer.stream).__name__} is no asynchronous body")
    return answer.stream


async def _beginning(answer: httpx2.Response) -> bytes:
    """The first 64 KB of a body; the rest is not read."""
    parts = []
    size = 0
    stream = _stream_of(answer)
    async for part in stream:
        parts.append(part)
        size += len(part)
        if size > ERROR_BYTES_MAX:
            break
    await stream.aclose()
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
        "error": {"code": INTERNAL_ERROR, "message": message, "data": {MARKER: ours}},
    }
    return httpx2.Response(status, json=body, request=request)
