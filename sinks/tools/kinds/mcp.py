"""Tools of MCP servers.

The idempotency key, the tenant and the trace go with each call as `_meta`. A session that the
server has forgotten is replaced and the call sent again: a server has not carried out a call of a
session that it does not know.
"""

import asyncio
import json
from typing import Any

from schemas.definitions.tools import McpServer, McpTarget
from schemas.ports import ToolQuestion
from sinks.http import DETAIL_CHARS, RETRIED_STATUS, CallError, Secret, resolve_secrets
from sinks.tools.kinds import ToolContext, ToolKind
from sinks.tools.mcp_answers import ANSWERED, no_session, result_of
from sinks.tools.mcp_session import (
    GONE,
    LOST,
    MESSAGE_BYTES_MAX,
    REFUSED,
    STATUS,
    TOO_LARGE,
    McpConnection,
    over_http,
    over_streams,
    transport_note,
)
from sinks.tools.results import ToolResult, wrong_target

CONNECTION_CLOSED = -32000
REQUEST_TIMEOUT = -32001
PARSE_ERROR = -32700
PAGES_MAX = 50
SESSION_GONE = "session_gone"
IDLE_S = 600.0


def make(context: ToolContext) -> ToolKind:
    """The kind `mcp`."""
    return McpTools(context.mcp_programs)


class McpTools:
    """Calls tools of MCP servers, over one connection a server and set of headers.

    `programs` are the commands that may be started as servers. `transport` replaces the network in
    tests. `bytes_max` bounds one message of a server, `idle_s` how long an unused connection stays.
    """

    def __init__(
        self,
        programs: tuple[str, ...] = (),
        transport: Any = None,
        bytes_max: int = MESSAGE_BYTES_MAX,
        idle_s: float = IDLE_S,
    ):
        self._programs = programs
        self._transport = transport
        self._bytes_max = bytes_max
        self._idle_s = idle_s
        self._connections: dict[tuple[Any, ...], McpConnection] = {}

    async def __call__(self, call: ToolQuestion, left_s: float, secret: Secret) -> ToolResult:
        target = call.target
        if not isinstance(target, McpTarget):
            raise wrong_target(call)
        connection = self._connection(target.server, secret)
        ends_at = asyncio.get_running_loop().time() + left_s
        try:
            return await self._once(connection, call, target, ends_at)
        except CallError as error:
            if error.reason != SESSION_GONE:
                raise
        return await self._once(connection, call, target, ends_at)

    async def _once(
        self, connection: McpConnection, call: ToolQuestion, target: McpTarget, ends_at: float
    ) -> ToolResult:
        """One call over the connection. Raises CallError; a connection that is lost, or whose
        session the server has forgotten, is replaced for the next call.
        """
        clock = asyncio.get_running_loop().time
        arguments = json.loads(call.arguments or "{}")
        async with connection.client(ends_at - clock()) as client:
            left_s = max(0.001, ends_at - clock())
            try:
                async with asyncio.timeout(left_s):
                    answer = await client.call_tool(
                        target.mcp_tool, arguments, meta=meta_of(call), read_timeout_seconds=left_s
                    )
            except TimeoutError as error:
                words = f"no answer within {left_s:.1f} s"
                raise CallError("timeout", words, uncertain=True) from error
            except Exception as error:
                in_session = bool(target.server.url) and client.session.initialize_result
                failed = _call_error(error, bool(in_session))
                if failed.reason == SESSION_GONE or _closed(error):
                    connection.discard(client)
                raise failed from error
        return result_of(answer, call.result_chars)

    async def describe(
        self, server: McpServer, tool: str, left_s: float, secret: Secret
    ) -> tuple[str, dict[str, Any]]:
        """A tool's description and the schema of its arguments, as its server lists them. Raises
        CallError.
        """
        connection = self._connection(server, secret)
        known: list[str] = []
        try:
            async with connection.client(left_s) as client:
                cursor = None
                for _ in range(PAGES_MAX):
                    page = await client.list_tools(cursor=cursor)
                    for one in page.tools:
                        if one.name == tool:
                            return one.description or "", dict(one.input_schema)
                        known.append(one.name)
                    cursor = page.next_cursor
                    if not cursor:
                        break
        except CallError:
            raise
        except Exception as error:
            raise _call_error(error) from error
        finally:
            await connection.close()
        raise CallError(
            "unknown_tool", f"it has no tool {tool!r} (it has: {', '.join(known[:50]) or 'none'})"
        )

    def _connection(self, server: McpServer, secret: Secret) -> McpConnection:
        """One connection for all calls of a server with the same headers. Raises CallError."""
        if server.url:
            headers = {
                name.lower(): resolve_secrets(value, secret)
                for name, value in server.headers.items()
            }
            key: tuple[Any, ...] = (server.url, *sorted(headers.items()))
            connect = over_http(server, headers, self._bytes_max, self._transport)
        else:
            program = server.command[0]
            if program not in self._programs:
                raise CallError(
                    "not_allowed",
                    f"{program} may not be started as an MCP server: add it to "
                    "WEIR_MCP_COMMANDS where the workers start",
                )
            env = {name: resolve_secrets(value, secret) for name, value in server.env.items()}
            key = (*server.command, *sorted(env.items()))
            connect = over_streams(server, env, self._bytes_max)
        if key not in self._connections:
            self._close_idle()
            self._connections[key] = McpConnection(connect)
        return self._connections[key]

    def _close_idle(self) -> None:
        """Closes the connections that were not used for a while: of definitions that are no longer
        in force, or had other secrets.
        """
        for key, connection in list(self._connections.items()):
            if connection.idle_s() > self._idle_s:
                self._connections.pop(key).end()


def meta_of(question: ToolQuestion) -> dict[str, str]:
    """The context of a call: the trace under its own name, the rest under ours."""
    meta = {
        name if name == "traceparent" else f"weir/{name}": value
        for name, value in question.context.items()
    }
    return meta | {"weir/idempotency-key": question.idempotency_key}


def _closed(error: Exception) -> bool:
    """Whether the client reports that its connection is closed."""
    return transport_note(error) is None and getattr(error, "code", None) == CONNECTION_CLOSED


def _call_error(error: Exception, in_session: bool = False) -> CallError:
    """The CallError of an error of the MCP client: not sent, not answered, or answered with an
    error. What the server wrote is never taken for an error of the client, whatever its code.
    """
    note = transport_note(error)
    code = getattr(error, "code", None)
    words = f"{error}"[:DETAIL_CHARS]
    if note is None:
        return _client_error(code, words or type(error).__name__)
    if REFUSED in note:
        return CallError("refused", words, retryable=True)
    if LOST in note:
        return CallError("reset", words, retryable=True, uncertain=True)
    if TOO_LARGE in note:
        return CallError("too_large", words)
    if GONE in note or (in_session and ANSWERED in note and no_session(words)):
        return CallError(SESSION_GONE, f"the server does not know its own session: {words}")
    if STATUS in note:
        status = note[STATUS]
        return CallError(
            f"http_{status}",
            words,
            retryable=status in RETRIED_STATUS or status >= 500,
            uncertain=status in (502, 504),
        )
    return CallError("mcp_error", f"{words} (code {code})")


def _client_error(code: int | None, words: str) -> CallError:
    """The CallError of an error that the client itself reports."""
    if code == REQUEST_TIMEOUT:
        return CallError("timeout", words, uncertain=True)
    if "too_large" in words or "SSE stream failed" in words:
        return CallError("too_large", words)
    if code == CONNECTION_CLOSED or code is None:
        return CallError("reset", words, retryable=True, uncertain=True)
    if code == PARSE_ERROR:
        return CallError("bad_http", words, retryable=True, uncertain=True)
    return CallError("mcp_error", f"{words} (code {code})", uncertain="Redirect" not in words)
