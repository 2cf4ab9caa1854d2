"""Reads answers of the chat completions protocol, whole or as a stream, whoever speaks it."""

import json
from typing import Any

from schemas.events.values import ToolRequest
from schemas.vendors.usage import UNKNOWN, ReportedUsage, larger, usage_of
from sinks.http import CallError, preview
from sinks.models.provider_errors import attach_usage, provider_error, reported_error
from sinks.models.reading.answer import ReadAnswer
from sinks.models.reading.endings import OPENAI
from sinks.models.reading.returned import ReasoningDetails, with_returned
from sinks.models.reading.tool_calls import CallParts, extra_of
from sinks.models.reading.values import (
    TextParts,
    arguments_of,
    items_of,
    mapping_of,
    name_of,
    text_of,
    whole_text,
)

DONE = "[DONE]"
RETURNED = ("reasoning_content", "reasoning_details", "extra_content")
READING_FAILS = (KeyError, IndexError, TypeError, AttributeError, ValueError)
"""What reading raises where a body is not in the protocol."""


def answer_of(said: Any) -> dict[str, Any]:
    """The fields of a ChatAnswer in a completion. Raises CallError where it is none, or empty."""
    usage = usage_of(said.get("usage")) if isinstance(said, dict) else UNKNOWN
    try:
        return _answer_of(said)
    except READING_FAILS as error:
        words = f"not a chat completion ({type(error).__name__}: {error}): {preview(said)}"
        raise CallError("bad_answer", words[:500]) from error
    except CallError as error:
        attach_usage(error, usage)
        raise


def _answer_of(said: Any) -> dict[str, Any]:
    body = mapping_of(said)
    reported = reported_error(body)
    if reported:
        raise reported
    choice = mapping_of(items_of(body["choices"])[0])
    if choice.get("error"):
        raise provider_error(choice["error"])
    message = mapping_of(choice["message"])
    read = ReadAnswer(
        model=name_of(body.get("model")),
        content=text_of(message.get("content")) or text_of(message.get("refusal")),
        calls=with_returned(
            map(call_of, calls_in(message)), map(extra_of, calls_in(message)), reasoning_of(message)
        ),
        ended=choice.get("finish_reason"),
        usage=usage_of(body.get("usage")),
        service_tier=body.get("service_tier"),
    )
    return read.fields(OPENAI)


def calls_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a message or a delta; the older protocol has one, without an id."""
    calls = [mapping_of(call) for call in items_of(message.get("tool_calls"))]
    older = message.get("function_call")
    return calls or ([{"function": mapping_of(older)}] if older else [])


def call_of(call: dict[str, Any]) -> ToolRequest:
    """A call as it came; one without arguments has an empty object."""
    function = mapping_of(call["function"])
    name = name_of(function["name"])
    if not name:
        raise TypeError("a call without the name of its tool")
    arguments = arguments_of(function.get("arguments"))
    return ToolRequest(
        id=whole_text(name_of(call.get("id"))),
        name=whole_text(name),
        arguments=whole_text(arguments or "{}"),
    )


def reasoning_of(message: dict[str, Any]) -> dict[str, Any]:
    """What came beside a message and its provider wants back."""
    return {name: message[name] for name in RETURNED if message.get(name)}


class CompletionStream:
    """The state of a streamed completion. Usage comes in a chunk of its own, after the last choice,
    or with each chunk as a running total.
    """

    def __init__(self) -> None:
        self.over = False
        self._model = ""
        self._usage = UNKNOWN
        self._service_tier = None
        self._finish_reason: Any = None
        self._error: Any = None
        self._text = TextParts()
        self._calls = CallParts()
        self._text_size = 0
        self._reasoning = TextParts()
        self._details = ReasoningDetails()
        self._extra: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        return self._finish_reason is not None

    @property
    def size(self) -> int:
        return self._text_size + self._calls.size

    def take(self, event: str, data: str) -> str | None:
        if data.strip() == DONE:
            self.over = True
            return None
        if event == "error":
            raise provider_error(error_in(data))
        chunk = mapping_of(json.loads(data))
        reported = reported_error(chunk)
        if reported:
            raise reported
        self._model = name_of(chunk.get("model")) or self._model
        self._usage = larger(self._usage, usage_of(usage_in(chunk)))
        self._service_tier = chunk.get("service_tier") or self._service_tier
        choices = items_of(chunk.get("choices"))
        return self._take_choice(mapping_of(choices[0])) if choices else None

    def _take_choice(self, choice: dict[str, Any]) -> str | None:
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        self._error = choice.get("error") or self._error
        delta = mapping_of(choice.get("delta") or choice.get("message"))
        calls = calls_in(delta)
        for call in calls:
            self._calls.add(call)
        text = text_of(delta.get("content")) or text_of(delta.get("refusal"))
        self._text_size += len(text)
        shown = self._text.add(text) if text else ""
        thought = text_of(delta.get("reasoning_content"))
        self._reasoning.add(thought)
        for part in items_of(delta.get("reasoning_details")):
            self._details.add(mapping_of(part))
        self._extra |= mapping_of(delta.get("extra_content"))
        thought = thought or delta.get("reasoning") or delta.get("reasoning_details")
        return shown if text or thought or calls else None

    def usage(self) -> ReportedUsage:
        return self._usage

    def body(self) -> dict[str, Any]:
        message = {
            "content": self._text.whole() or None,
            "tool_calls": self._calls.body(),
            "reasoning_content": self._reasoning.whole(),
            "reasoning_details": self._details.whole(),
            "extra_content": self._extra,
        }
        choice = {"message": message, "finish_reason": self._finish_reason, "error": self._error}
        return {
            "model": self._model,
            "usage": self.usage(),
            "service_tier": self._service_tier,
            "choices": [choice],
        }


def usage_in(chunk: dict[str, Any]) -> Any:
    """The usage of a chunk, where its provider puts it."""
    for place in (chunk, chunk.get("x_groq")):
        if isinstance(place, dict) and place.get("usage"):
            return place["usage"]
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("usage") if isinstance(first, dict) else None


def error_in(data: str) -> Any:
    """The error that an event of that name has, as an object or as words."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return (told.get("error") or told) if isinstance(told, dict) else told
