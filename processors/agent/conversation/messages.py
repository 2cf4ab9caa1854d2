"""Messages: what a model is sent, in which order, and with which tools.

Messages are kept exactly as the chat completions protocol carries them, so that what is sent at one
step is the beginning of what is sent at the next.
"""

import json
from collections.abc import Iterable

from processors.agent.conversation.structured_output import instruction
from processors.common.text import compact, cut
from schemas.definitions.kinds import Agent, Definitions
from schemas.events.values import Message, ToolSpec

CONTEXT_CHARS_MAX = 1_500_000
"""The most characters of a conversation: at four bytes each, no event of it outgrows Kafka's
largest message of 8 MiB.
"""
ERROR_CHARS = 2_000
NOT_CALLED = "not_called"
"""The error of a call that was not made: the model asked for what it may not, or wrongly."""


def user_says(text: str) -> Message:
    """A message of the user."""
    return Message(role="user", content=text)


def tool_says(call: str, tool: str, content: str) -> Message:
    """The result of a call."""
    return Message(role="tool", tool_call_id=call, name=tool, content=content)


def error_result(reason: str, detail: str) -> str:
    """What a model reads of a call that was not made, or failed."""
    return json.dumps({"error": reason, "detail": cut(detail, ERROR_CHARS)}, ensure_ascii=False)


def error_in(content: str | None, reason: str) -> dict[str, str]:
    """What `error_result` wrote with this reason, maybe behind a remark on lines of their own;
    nothing of any other content.
    """
    text = content or ""
    at = text.find(f'{{"error": "{reason}", "detail": ')
    if at < 0 or (at > 0 and text[at - 1] != "\n"):
        return {}
    try:
        return json.loads(text[at:])
    except (ValueError, RecursionError):
        return {}


def chars_in(messages: Iterable[Message]) -> int:
    """The length of messages: of their texts, and of the arguments of their calls."""
    return sum(
        len(message.content or "") + sum(len(call.arguments) for call in message.tool_calls)
        for message in messages
    )


def recent(messages: tuple[Message, ...], count_max: int, chars_max: int) -> tuple[Message, ...]:
    """The newest messages within both limits, from a user's message on: no tool's result without
    its call.
    """
    first = len(messages)
    start = first
    chars = 0
    while first > 0 and len(messages) - first < count_max:
        first -= 1
        chars += chars_in(messages[first : first + 1])
        if chars > chars_max:
            break
        if messages[first].role == "user":
            start = first
    return messages[start:]


def to_send(system: str, agent: Agent, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The prompt stands first and never changes within a run, so that providers find it in their
    caches.
    """
    prompt = system + instruction(agent)
    return (Message(role="system", content=prompt), *messages) if prompt else messages


def tool_specs(versions: dict[str, int], definitions: Definitions) -> tuple[ToolSpec, ...]:
    """The tools of a run, in the versions that it began with, as a model sees them."""
    found = (definitions.tool(name, version) for name, version in versions.items())
    return tuple(
        ToolSpec(name=tool.name, description=tool.description, parameters=compact(tool.parameters))
        for tool in found
        if tool
    )
