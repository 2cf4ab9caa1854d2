"""Anthropic's messages protocol.

It differs from chat completions in more than names: system text stands apart, a call and its result
are blocks of messages, all results of a turn are one message of the user, and cached tokens are not
part of the input tokens.
"""

import hashlib
import json
import re
from itertools import dropwhile, takewhile
from typing import Any

from schemas.events.values import Message
from schemas.ports import ChatQuestion, Endpoint
from sinks.models.reading.message import MessageStream, answer_of
from sinks.models.reading.returned import beside_message
from sinks.models.strict_schema import strict_form

VERSION = "2023-06-01"
MAX_TOKENS = 8_192
"""The protocol demands a limit; this one is used where the agent names none."""
CACHED = {"cache_control": {"type": "ephemeral"}}
TOOL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def headers(key: str) -> dict[str, str]:
    return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})


def request_body(endpoint: Endpoint, question: ChatQuestion) -> dict[str, Any]:
    """The request. Tools and system text are the same at every step of every run, so their ends are
    marked: what comes before a mark is read from the provider's cache at a tenth of its price.
    """
    system = [
        {"type": "text", "text": m.content}
        for m in takewhile(_is_system, question.messages)
        if m.content
    ]
    rest = dropwhile(_is_system, question.messages)
    tools = [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": json.loads(tool.parameters),
        }
        for tool in question.tools
    ]
    body: dict[str, Any] = {
        "model": endpoint.upstream,
        "messages": messages_body(rest, endpoint),
        "max_tokens": question.max_output_tokens or MAX_TOKENS,
    }
    if tools:
        body["tools"] = [*tools[:-1], tools[-1] | CACHED]
    if system:
        body["system"] = [*system[:-1], system[-1] | CACHED]
    if question.temperature is not None:
        body["temperature"] = min(
            question.temperature, 1.0
        )  # its scale ends where others have their middle
    if question.user is not None:
        body["metadata"] = {"user_id": question.user}
    strict = (
        strict_form(json.loads(question.output_schema), circles=False)
        if question.output_schema and endpoint.json_schema
        else None
    )
    if strict:
        body["output_config"] = {"format": {"type": "json_schema", "schema": strict}}
    if endpoint.stream:
        body["stream"] = True
    return body


def _is_system(message: Message) -> bool:
    return message.role == "system"


def messages_body(messages: Any, endpoint: Endpoint) -> list[dict[str, Any]]:
    """Messages of the user and the assistant in turn: neighbours of one role are one message."""
    made: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = blocks_of(message, endpoint)
        if blocks and made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        elif blocks:
            made.append({"role": role, "content": blocks})
    return made


def blocks_of(message: Message, endpoint: Endpoint) -> list[dict[str, Any]]:
    """A message's blocks; an empty text is none, as the protocol refuses it."""
    if message.role == "tool":
        return [
            {
                "type": "tool_result",
                "tool_use_id": tool_id(message.tool_call_id or ""),
                "content": message.content or "",
            }
        ]
    text = [{"type": "text", "text": message.content}] if (message.content or "").strip() else []
    thoughts = beside_message(message, endpoint).get("thoughts", [])
    return [*thoughts, *text] + [
        {
            "type": "tool_use",
            "id": tool_id(call.id),
            "name": call.name,
            "input": input_of(call.arguments),
        }
        for call in message.tool_calls
    ]


def tool_id(known: str) -> str:
    """The id of a call; an id of another provider that this protocol refuses is replaced by a
    digest.
    """
    if TOOL_ID.fullmatch(known):
        return known
    return "call_" + hashlib.sha256(known.encode("utf-8", "replace")).hexdigest()[:32]


def input_of(arguments: str) -> dict[str, Any]:
    """Arguments as an object; a text that is none goes back to the model as it wrote it."""
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


class AnthropicMessages:
    """The protocol, as the client of models uses it."""

    providers = ("anthropic",)
    path = "/messages"
    headers = staticmethod(headers)
    request_body = staticmethod(request_body)
    answer_of = staticmethod(answer_of)
    stream = MessageStream


PROTOCOL = AnthropicMessages()
