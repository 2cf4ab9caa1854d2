"""What belongs to a provider and goes back to it as it came: signatures, reasoning, extra content.

Providers whose models think refuse the next request of a conversation where the calls of tools
stand without the thoughts or signatures that came with them. They are stored with the calls as
JSON, and sent to the endpoint that made them and to no other.
"""

import json
from collections.abc import Iterable
from typing import Any

from schemas.events.values import Message, ToolRequest
from schemas.ports import Endpoint

BY = "by"
CALL = "call"
MESSAGE = "message"


def origin_of(endpoint: Endpoint) -> str:
    """Who understands what an endpoint sent: its provider, at this address."""
    return f"{endpoint.provider} {endpoint.base_url}"


def with_returned(
    calls: Iterable[ToolRequest], of_calls: Iterable[dict[str, Any]], of_message: dict[str, Any]
) -> tuple[ToolRequest, ...]:
    """The calls of an answer, each with what came beside it; what came beside the whole answer is
    stored with the first.
    """
    made: list[ToolRequest] = []
    for call, beside in zip(calls, of_calls, strict=True):
        parts = {CALL: beside, MESSAGE: {} if made else of_message}
        stored = {name: part for name, part in parts.items() if part}
        opaque = json.dumps(stored) if stored else ""
        made.append(call.model_copy(update={"opaque": opaque}))
    return tuple(made)


def made_by(call: ToolRequest, endpoint: Endpoint) -> ToolRequest:
    """The call with the name of who understands what is stored with it."""
    if not call.opaque:
        return call
    stored = {BY: origin_of(endpoint), **json.loads(call.opaque)}
    return call.model_copy(update={"opaque": json.dumps(stored)})


def beside_call(call: ToolRequest, endpoint: Endpoint) -> dict[str, Any]:
    """What goes back beside a call to this endpoint."""
    return _stored(call, endpoint).get(CALL, {})


def beside_message(message: Message, endpoint: Endpoint) -> dict[str, Any]:
    """What goes back beside a message to this endpoint."""
    found = (_stored(call, endpoint).get(MESSAGE) for call in message.tool_calls)
    return next(filter(None, found), {})


def _stored(call: ToolRequest, endpoint: Endpoint) -> dict[str, Any]:
    stored = json.loads(call.opaque) if call.opaque else {}
    return stored if stored.get(BY) == origin_of(endpoint) else {}


class ReasoningDetails:
    """Reasoning of a streamed answer that comes as a list of parts, joined by kind and place."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []

    def add(self, part: dict[str, Any]) -> None:
        last = self._parts[-1] if self._parts else {}
        names = ("type", "index", "id")
        if not last or any(part.get(n) not in (None, last.get(n)) for n in names):
            self._parts.append(dict(part))
            return
        for name, value in part.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                last[name] = (last.get(name) or "") + value
            elif value is not None:
                last[name] = value

    def whole(self) -> list[dict[str, Any]]:
        return self._parts
