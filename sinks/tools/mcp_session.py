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
from sinks.charsets import text_of
from sinks.http import DETAIL_CHARS, RETRIED_STATUS, CallError
from sinks.tools import mcp_relay
from sinks.tools.mcp_answers import (
    ANSWERED,
    INVALID_PARAMS,
    MARKER,
    METHOD_NOT_FOUND,
    RawAnswers,
    no_session,
)

REFUSED = "refused"
LOST = "lost"
GONE = "gone"
STATUS = "status"
TOO_LARGE = "too_large"
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
                RawAnswers(
                    streamable_http_client(
                        server.url, http_client=http, max_sse_event_size=bytes_max
                    )
                ),
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
                    RawAnswers(stdio_client(parameters, errlog=complaints)), cache=None
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
        answer.stream = LimitedStream(_stream_of(answer), self._bytes_max)
        if request.method != "POST":
            return answer
        if answer.status_code < 400:
            return await _addressed(request, answer)
        kind = answer.headers.get("content-type", "")
        words = text_of(await _beginning(answer), kind).strip()
        return _refusal(request, answer.status_code, words)

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


async def _addressed(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
    """A reply whose short JSON is the answer to this request: whatever id it has, and whether its
    result is an object or not.
    """
    length = answer.headers.get("content-length", "")
    kind = answer.headers.get("content-type", "").lower()
    if not kind.startswith("application/json") or not length.isdecimal():
        return answer
    if int(length) > ERROR_BYTES_MAX or "content-encoding" in answer.headers:
        return answer
    try:
        body = await answer.aread()
    except httpx2.TransportError as error:
        return _error(request, 503, f"{type(error).__name__}: {error}", {LOST: True})
    said = _object(body)
    asked = _object(request.content)
    if "id" in asked and ("result" in said or "error" in said):
        said["id"] = asked["id"]
        if not isinstance(said.get("result", {}), dict):
            said["result"] = {"content": said["result"]}
        body = json.dumps(said).encode()
    headers = [
        (name, value) for name, value in answer.headers.multi_items() if name != "content-length"
    ]
    return httpx2.Response(answer.status_code, headers=headers, content=body, request=request)


def _refusal(request: httpx2.Request, status: int, words: str) -> httpx2.Response:
    """The reply to a request that the server refused with this status, with a note for what."""
    said = _object(words)
    inside = said.get("error")
    rpc = inside if said.get("jsonrpc") == "2.0" and isinstance(inside, dict) else {}
    in_session = "mcp-session-id" in request.headers
    if in_session and _forgotten(status, rpc, _message(said, words)):
        return _error(request, status, f"status {status}: {words[:DETAIL_CHARS]}", {GONE: True})
    if not rpc or status in RETRIED_STATUS or status >= 500:
        message = str(rpc.get("message") or f"status {status}: {words[:DETAIL_CHARS]}")
        return _error(request, status, message, {STATUS: status})
    code = rpc.get("code")
    return _error(
        request,
        status,
        str(rpc.get("message") or words[:DETAIL_CHARS]),
        {ANSWERED: True},
        code if isinstance(code, int) else INTERNAL_ERROR,
        rpc.get("data"),
    )


def _forgotten(status: int, rpc: dict[str, Any], message: str) -> bool:
    """Whether a refusal means that the session is gone: 404, or another status and such words."""
    if status == 404:
        return rpc.get("code") not in (METHOD_NOT_FOUND, INVALID_PARAMS)
    return status < 500 and no_session(message)


def _message(said: dict[str, Any], words: str) -> str:
    """The sentence of a refusal, in JSON of the usual forms or as text."""
    inside = said.get("error")
    for holder in (inside if isinstance(inside, dict) else {}, said):
        for name in ("message", "detail", "error_description", "error"):
            if isinstance(holder.get(name), str):
                return holder[name]
    return words


def _object(text: bytes | str) -> dict[str, Any]:
    """A JSON object; an empty one where the text is none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _error(
    request: httpx2.Request,
    status: int,
    message: str,
    note: dict[str, Any],
    code: int = INTERNAL_ERROR,
    data: Any = None,
) -> httpx2.Response:
    """A JSON-RPC error as the reply, with a note of what happened, and the server's own data."""
    kept = data if isinstance(data, dict) else {}
    body = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": code, "message": message, "data": kept | {MARKER: note}},
    }
    return httpx2.Response(status, json=body, request=request)
