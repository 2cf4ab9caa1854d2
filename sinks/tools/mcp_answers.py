"""Answers of MCP servers, read as they come.

The package's client checks the result of a tool, and asks the server for its list of tools to do
so, after the tool has answered. Whatever goes wrong there would count as no answer, and a tool that
has done its work would be called again. So answers reach the client in an envelope that it passes
on unchecked, and are read here: liberally, because the tool has done its work whatever it says.
"""

import dataclasses
import re
from typing import Any

from sinks.http import DETAIL_CHARS, CallError
from sinks.tools.results import ToolResult, as_text, check_length

MARKER = "weir"
ANSWERED = "answered"
ENVELOPE = "weir/answer"
CLIENT_WORDS = (
    "Failed to parse ",
    "Unexpected content type",
    "server answered a request with 202",
    "Redirect to ",
    "SSE stream ",
)
"""The errors that the client's transport makes up, and no server has written."""
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
SESSION_CHARS_MAX = 300
LOST_STATE = (
    r"not found|not valid|not recogni[sz]ed|not initiali[sz]ed|expired|terminated|invalid|unknown|"
    r"closed|does(?: not|n't) exist|no longer|is gone|timed out|missing|required"
)
NO_SESSION = re.compile(
    r"(?:(?:bad request|unauthori[sz]ed|not found|invalid request|error)\W+)*"
    r"(?:(?:no|invalid|unknown|missing|expired|unrecogni[sz]ed|or|valid|active|such|the|mcp|\W)+"
    r"session\b.*"
    rf"|(?:the |your |mcp[ -])*session\b.{{0,120}}?\b(?:{LOST_STATE})\b.*"
    r"|(?:the )?(?:server|client|session) (?:is )?not (?:yet )?initiali[sz]ed\b.*)",
    re.IGNORECASE | re.DOTALL,
)


def no_session(words: str) -> bool:
    """Whether a refusal says that the server does not know the session."""
    text = words.strip()
    return len(text) <= SESSION_CHARS_MAX and NO_SESSION.fullmatch(text) is not None


class RawAnswers:
    """A transport of the package's client, with every answer to a call of a tool in an envelope."""

    def __init__(self, transport: Any):
        self._transport = transport

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self._transport.__aenter__()
        calls = set[str]()
        return _Answers(read, calls), _Requests(write, calls)

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._transport.__aexit__(*error)


class _Stream:
    """A stream of messages that is passed on."""

    def __init__(self, stream: Any, calls: set[str]):
        self._stream = stream
        self._calls = calls

    async def __aenter__(self) -> Any:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._stream.__aexit__(*error)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        self._stream.close()

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)


class _Requests(_Stream):
    """What the client sends; the ids of its calls of tools are noted."""

    async def send(self, item: Any) -> None:
        if getattr(item.message, "method", None) == "tools/call":
            self._calls.add(str(item.message.id))
        await self._stream.send(item)


class _Answers(_Stream):
    """What the client receives."""

    async def receive(self) -> Any:
        return self._wrapped(await self._stream.receive())

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return self._wrapped(await self._stream.__anext__())

    def _wrapped(self, item: Any) -> Any:
        """A message; the answer to a call of a tool in an envelope."""
        message = getattr(item, "message", None)
        id = str(getattr(message, "id", None))
        if message is None or hasattr(message, "method") or id not in self._calls:
            return item
        self._calls.discard(id)
        if hasattr(message, "result"):
            message = message.model_copy(update={"result": envelope(message.result)})
        elif not message.error.message.startswith(CLIENT_WORDS):
            message = message.model_copy(update={"error": written_by_server(message.error)})
        return dataclasses.replace(item, message=message)


def envelope(result: Any) -> dict[str, Any]:
    """A result as the client passes it on without checking it: it checks no failed ones."""
    return {
        "resultType": "complete",
        "content": [],
        "isError": True,
        "_meta": {ENVELOPE: result},
    }


def written_by_server(error: Any) -> Any:
    """An error with the note that the server wrote it, unless the transport has left one."""
    if isinstance(error.data, dict) and isinstance(error.data.get(MARKER), dict):
        return error
    return error.model_copy(update={"data": {MARKER: {ANSWERED: True}}})


def result_of(answer: Any, chars_max: int) -> ToolResult:
    """The text of an answer in its envelope. Raises CallError where the tool says that it failed or
    asks for input.
    """
    raw = (answer.meta or {}).get(ENVELOPE)
    result = raw if isinstance(raw, dict) else {"content": raw}
    text = result_text(result)
    if result.get("resultType") == "input_required":
        raise CallError(
            "input_required",
            "the tool asks for input before it does anything, which no model can give: "
            f"{as_text(result.get('inputRequests'))}"[:DETAIL_CHARS],
        )
    if result.get("isError") in (True, "true", 1):
        raise CallError(
            "tool_error", text[:DETAIL_CHARS] or "the tool says that it failed, and not why"
        )
    return ToolResult(check_length(text, chars_max))


def result_text(result: dict[str, Any]) -> str:
    """A result as a model reads it: its content, or else its structured content."""
    content = result.get("content")
    parts = content if isinstance(content, list) else [] if content is None else [content]
    text = "\n".join(words for part in parts if (words := part_text(part)))
    if text:
        return text
    whole = (result.get(name) for name in ("structuredContent", "toolResult"))
    return next((as_text(value) for value in whole if value is not None), "")


def part_text(part: Any) -> str:
    """One part of a result; of images and audio only that they were there."""
    if not isinstance(part, dict):
        return as_text(part)
    resource = part.get("resource")
    if isinstance(resource, dict):
        text = resource.get("text")
        return text if isinstance(text, str) and text else f"[{resource.get('uri')}]"
    if part.get("type") == "resource_link":
        return f"[{part.get('name')}: {part.get('uri')}]"
    if "text" in part:
        return as_text(part["text"])
    mime_type = part.get("mimeType", "unknown")
    return f"[{part.get('type', 'part')} of type {mime_type}, left out]"
