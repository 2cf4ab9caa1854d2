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

from pydantic import ValidationError

from schemas.events.values import Message, Tokens, ToolRequest
from schemas.ports import ChatQuestion, Endpoint
from sinks.http import CallError, preview
from sinks.models.provider_errors import provider_error
from sinks.models.strict_schema import strict_form

VERSION = "2023-06-01"
MAX_TOKENS = 8_192
"""The protocol demands a limit; this one is used where the agent names none."""
CACHED = {"cache_control": {"type": "ephemeral"}}
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
}
UNFINISHED = ("length", "content_filter")
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
        "messages": messages_body(rest),
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
        strict_form(json.loads(question.output_schema))
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


def messages_body(messages: Any) -> list[dict[str, Any]]:
    """Messages of the user and the assistant in turn: neighbours of one role are one message."""
    made: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = blocks_of(message)
        if blocks and made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        elif blocks:
            made.append({"role": role, "content": blocks})
    return made


def blocks_of(message: Message) -> list[dict[str, Any]]:
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
    return text + [
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


def answer_of(said: Any) -> dict[str, Any]:
    """The fields of a ChatAnswer in a message. Raises CallError where it is none, or is empty."""
    if isinstance(said, dict) and said.get("error"):
        raise provider_error(said["error"])
    try:
        texts = [block["text"] for block in said["content"] if block["type"] == "text"]
        calls = tuple(
            ToolRequest(id=block["id"], name=block["name"], arguments=_arguments(block))
            for block in said["content"]
            if block["type"] == "tool_use"
        )
        content = "".join(texts)
        model = said.get("model") or ""
        stopped = said.get("stop_reason") or ("tool_use" if calls else "end_turn")
        tokens = tokens_of(said.get("usage") or {})
        service_tier = (said.get("usage") or {}).get("service_tier")
        finish_reason = FINISH.get(stopped, stopped)
    except (KeyError, IndexError, TypeError, AttributeError, ValidationError) as error:
        raise CallError(
            "bad_answer", f"not a message ({type(error).__name__}: {error}): {preview(said)}"[:500]
        ) from error
    if not (isinstance(model, str) and isinstance(finish_reason, str)):
        raise CallError("bad_answer", f"model and stop_reason should be text: {preview(said)}")
    if not content and not calls and finish_reason not in UNFINISHED:
        raise CallError("empty_answer", "neither text nor a tool call", retryable=True)
    return {
        "response_model": model,
        "content": content or None,
        "tool_calls": calls,
        "finish_reason": finish_reason,
        "tokens": tokens,
        "service_tier": service_tier if isinstance(service_tier, str) else "",
    }


def _arguments(block: dict[str, Any]) -> str:
    return block["json"] if "json" in block else json.dumps(block["input"], ensure_ascii=False)


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """Tokens by kind. The protocol's input tokens exclude the cache; ours include it."""
    by_age = usage.get("cache_creation") or {}
    written = usage.get("cache_creation_input_tokens")
    read = usage.get("cache_read_input_tokens") or 0
    written = sum(by_age.values()) if written is None else written
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return Tokens.model_validate(
        {
            "input_tokens": (usage.get("input_tokens") or 0) + written + read,
            "cached_input_tokens": read,
            "cache_write_tokens": written,
            "cache_write_1h_tokens": by_age.get("ephemeral_1h_input_tokens") or 0,
            "output_tokens": usage.get("output_tokens") or 0,
            "reasoning_tokens": thought,
        },
        strict=True,
    )


class MessageStream:
    """The state of a streamed message. Numbers of tokens are totals: the last ones count."""

    def __init__(self) -> None:
        self.over = False
        self.size = 0
        self._model = ""
        self._stop_reason = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[str]] = {}

    def take(self, _event: str, data: str) -> str | None:
        event = json.loads(data)
        match event["type"]:
            case "message_start":
                self._model = event["message"].get("model") or ""
                self._add_usage(event["message"].get("usage"))
            case "content_block_start":
                index = int(event["index"])
                block = event["content_block"]
                self._blocks[index] = block
                self._parts[index] = []
                return self._more(index, block.get("text") or "")
            case "content_block_delta":
                return self._delta(int(event["index"]), event["delta"])
            case "message_delta":
                self._stop_reason = event["delta"].get("stop_reason") or self._stop_reason
                self._add_usage(event.get("usage"))
            case "message_stop":
                self.over = True
            case "error":
                raise provider_error(event.get("error"))
        return None  # a ping, the end of a block, or an event that is newer than this

    def _delta(self, index: int, delta: dict[str, Any]) -> str | None:
        match delta["type"]:
            case "text_delta":
                return self._more(index, delta["text"])
            case "input_json_delta":
                self._more(index, delta["partial_json"])
        return ""  # a part of a call or of a thought is a token too

    def _more(self, index: int, text: str) -> str | None:
        self._parts[index].append("" + text)  # a TypeError where it is no text
        self.size += len(text)
        return text or None

    def _add_usage(self, usage: dict[str, Any] | None) -> None:
        self._usage |= {name: count for name, count in (usage or {}).items() if count is not None}

    def body(self) -> dict[str, Any]:
        content = []
        for index, block in sorted(self._blocks.items()):
            text = "".join(self._parts[index])
            if block.get("type") == "tool_use":
                block = block | {"json": text or json.dumps(block.get("input") or {})}
            elif block.get("type") == "text":
                block = block | {"text": text}
            content.append(block)
        return {
            "model": self._model,
            "content": content,
            "stop_reason": self._stop_reason,
            "usage": self._usage,
        }


class AnthropicMessages:
    """The protocol, as the client of models uses it."""

    providers = ("anthropic",)
    path = "/messages"
    headers = staticmethod(headers)
    request_body = staticmethod(request_body)
    answer_of = staticmethod(answer_of)
    stream = MessageStream


PROTOCOL = AnthropicMessages()
