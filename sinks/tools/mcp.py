"""What does a tool of an MCP server return, and what of a call that its server never answered?

Our key, the tenant and the trace go with each call as `_meta`. A session that the server has
forgotten is made anew and the call sent again: what a server does not know it has not done.
"""

import asyncio
import json
from typing import Any

from schemas.definitions.tools import McpServer, McpTarget
from schemas.ports import ToolQuestion
from sinks.http import DETAIL_CHARS, RETRIED_STATUS, Refusal, Secret, with_secrets
from sinks.tools.mcp_session import (
    GONE,
    LOST,
    REFUSED,
    STATUS,
    Session,
    over_http,
    over_streams,
    said_of,
)
from sinks.tools.results import Result, as_text, short_enough, unreachable

CONNECTION_CLOSED = -32000
REQUEST_TIMEOUT = -32001
PARSE_ERROR = -32700
PAGES_MAX = 50
IDLE_S = 600.0


class McpTools:
    """`programs` are the commands that may be started as servers. `transport` stands in for the
    network in tests.
    """

    def __init__(self, programs: tuple[str, ...] = (), transport: Any = None):
        self._programs = programs
        self._transport = transport
        self._sessions: dict[tuple[Any, ...], Session] = {}

    async def __call__(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        target = question.target
        if not isinstance(target, McpTarget):
            raise unreachable(question)
        session = self._session(target.server, secret)
        arguments = json.loads(question.arguments or "{}")
        meta = meta_of(question)
        clock = asyncio.get_running_loop().time
        ends_at = clock() + left_s
        for again in (False, True):
            async with session.use(ends_at - clock()) as client:
                try:
                    answer = await client.call_tool(
                        target.mcp_tool,
                        arguments,
                        meta=meta,
                        read_timeout_seconds=max(0.001, ends_at - clock()),
                    )
                    break
                except Exception as error:
                    ours = said_of(error) or {}
                    if GONE in ours or (
                        not ours and getattr(error, "code", None) == CONNECTION_CLOSED
                    ):
                        session.drop(client)
                    if again or GONE not in ours:
                        raise _refusal(error) from error
        return read(answer, question.result_chars)

    async def described(
        self, server: McpServer, tool: str, left_s: float, secret: Secret
    ) -> tuple[str, dict[str, Any]]:
        """A tool's description and the schema of its arguments, as its server lists them. Raises
        Refusal.
        """
        session = self._session(server, secret)
        known: list[str] = []
        try:
            async with session.use(left_s) as client:
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
        except Refusal:
            raise
        except Exception as error:
            raise _refusal(error) from error
        finally:
            await session.close()
        raise Refusal(
            "unknown_tool", f"it has no tool {tool!r} (it has: {', '.join(known[:50]) or 'none'})"
        )

    def _session(self, server: McpServer, secret: Secret) -> Session:
        """One for all calls of a server with the same headers. Raises Refusal."""
        if server.url:
            headers = {
                name.lower(): with_secrets(value, secret) for name, value in server.headers.items()
            }
            key: tuple[Any, ...] = (server.url, *sorted(headers.items()))
            connect = over_http(server, headers, self._transport)
        else:
            program = server.command[0]
            if program not in self._programs:
                raise Refusal(
                    "not_allowed",
                    f"{program} may not be started as an MCP server: add it to "
                    "WEIR_MCP_COMMANDS where the workers start",
                )
            env = {name: with_secrets(value, secret) for name, value in server.env.items()}
            key = (*server.command, *sorted(env.items()))
            connect = over_streams(server, env)
        if key not in self._sessions:
            self._forget_idle()
            self._sessions[key] = Session(connect)
        return self._sessions[key]

    def _forget_idle(self) -> None:
        """Ends the connections of definitions that are no longer in force, or had other secrets."""
        for key, session in list(self._sessions.items()):
            if session.idle_s() > IDLE_S:
                self._sessions.pop(key).end()


def meta_of(question: ToolQuestion) -> dict[str, str]:
    """Who asks, beside a call's arguments: the trace under its own name, the rest under ours."""
    meta = {
        name if name == "traceparent" else f"weir/{name}": value
        for name, value in question.context.items()
    }
    return meta | {"weir/idempotency-key": question.idempotency_key}


def read(answer: Any, chars_max: int) -> Result:
    """The text of a result. Raises Refusal where the tool says that it failed."""
    text = "\n".join(words for part in answer.content if (words := _words(part)))
    if not answer.content and answer.structured_content is not None:
        text = as_text(answer.structured_content)
    if answer.is_error:
        raise Refusal(
            "tool_error", text[:DETAIL_CHARS] or "the tool says that it failed, and not why"
        )
    return Result(short_enough(text, chars_max))


def _words(part: Any) -> str:
    """One part of a result, as a model reads it; of pictures and sounds, that they were there."""
    if part.type == "text":
        return part.text
    if part.type == "resource":
        return getattr(part.resource, "text", None) or f"[{part.resource.uri}]"
    if part.type == "resource_link":
        return f"[{part.name}: {part.uri}]"
    return f"[{part.type} of type {getattr(part, 'mime_type', 'unknown')}, left out]"


def _refusal(error: Exception) -> Refusal:
    """What an error of the client says of the call: not sent, not answered, or answered with an
    error.
    """
    ours = said_of(error) or {}
    code = getattr(error, "code", None)
    words = f"{error}"[:DETAIL_CHARS]
    if REFUSED in ours:
        return Refusal("refused", words, again=True)
    if LOST in ours:
        return Refusal("reset", words, again=True, unsure=True)
    if GONE in ours:
        return Refusal("refused", "the server forgot its session twice", again=True)
    if STATUS in ours:
        status = ours[STATUS]
        return Refusal(
            f"http_{status}",
            words,
            again=status in RETRIED_STATUS or status >= 500,
            unsure=status in (502, 504),
        )
    if code == REQUEST_TIMEOUT:
        return Refusal("timeout", words, unsure=True)
    if "too_large" in words or "SSE stream failed" in words:
        return Refusal("too_large", words)
    if code == CONNECTION_CLOSED or code is None:
        return Refusal("reset", words or type(error).__name__, again=True, unsure=True)
    if code == PARSE_ERROR:
        return Refusal("bad_http", words, again=True, unsure=True)
    return Refusal("mcp_error", f"{words} (code {code})")
