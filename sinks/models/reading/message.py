"""Reads answers of Anthropic's messages protocol, whole or as a stream, whoever speaks it."""

import json
from dataclasses import replace
from typing import Any

from schemas.events.values import ToolRequest
from schemas.vendors.usage import UNKNOWN, ReportedUsage, larger, usage_of
from sinks.http import CallError, preview
from sinks.models.provider_errors import attach_usage, provider_error, reported_error
from sinks.models.reading.answer import ReadAnswer
from sinks.models.reading.completion import DONE, READING_FAILS, error_in
from sinks.models.reading.endings import ANTHROPIC
from sinks.models.reading.returned import with_returned
from sinks.models.reading.tool_calls import OpenCall
from sinks.models.reading.values import (
    TextParts,
    arguments_of,
    index_of,
    items_of,
    joined,
    mapping_of,
    name_of,
    text_of,
    whole_text,
)

THINKING = ("thinking", "redacted_thinking")
BEGUN_BY_DELTA = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "citations_delta": "text",
}
"""The kind of block that a delta goes on with, where nothing has begun one."""


def answer_of(said: Any) -> dict[str, Any]:
    """The fields of a ChatAnswer in a message. Raises CallError where it is none, or is empty."""
    usage = usage_of(said.get("usage")) if isinstance(said, dict) else UNKNOWN
    try:
        return _answer_of(said)
    except READING_FAILS as error:
        words = f"not a message ({type(error).__name__}: {error}): {preview(said)}"
        raise CallError("bad_answer", words[:500]) from error
    except CallError as error:
        attach_usage(error, usage)
        raise


def _answer_of(said: Any) -> dict[str, Any]:
    body = mapping_of(said)
    reported = reported_error(body)
    if reported:
        raise reported
    blocks = blocks_in(body["content"])
    used = [block for block in blocks if block.get("type") == "tool_use"]
    thoughts = [block for block in blocks if block.get("type") in THINKING]
    usage = body.get("usage")
    tier = usage.get("service_tier") if isinstance(usage, dict) else body.get("service_tier")
    read = ReadAnswer(
        model=name_of(body.get("model")),
        content="".join(text_of(block.get("text")) for block in blocks if is_text(block)),
        calls=with_returned(
            map(call_of, used), [{}] * len(used), {"thoughts": thoughts} if thoughts else {}
        ),
        ended=body.get("stop_reason"),
        usage=usage_of(usage),
        service_tier=tier,
    )
    return read.fields(ANTHROPIC)


def blocks_in(content: Any) -> list[dict[str, Any]]:
    """The blocks of a message; a text alone is one block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise TypeError("content should be a list of blocks")
    return [mapping_of(block) for block in content]


def is_text(block: dict[str, Any]) -> bool:
    return block.get("type", "text") == "text"


def call_of(block: dict[str, Any]) -> ToolRequest:
    """A call as it came; one without arguments has an empty object."""
    name = name_of(block["name"])
    if not name:
        raise TypeError("a call without the name of its tool")
    arguments = arguments_of(block.get("input"))
    return ToolRequest(
        id=whole_text(name_of(block.get("id"))),
        name=whole_text(name),
        arguments=whole_text(arguments or "{}"),
    )


class OpenBlock:
    """A block of a streamed message so far: as it began, and what came then."""

    def __init__(self, begun: dict[str, Any]):
        self.kind = name_of(begun.get("type")) or "text"
        self._begun = begun
        self._text = TextParts()
        self._signature = name_of(begun.get("signature"))
        self._call = OpenCall(name_of(begun.get("id")))
        first = "text" if self.kind == "text" else self.kind
        if self.kind in ("text", "thinking"):
            self._text.add(text_of(begun.get(first)))

    def add_text(self, text: str) -> str:
        return self._text.add(text)

    def add_signature(self, signature: str) -> None:
        self._signature += signature

    def add_arguments(self, part: str) -> None:
        self._call.add_arguments(part)

    def is_another(self, begun: dict[str, Any]) -> bool:
        """Whether a block that begins at the same place is not this one again."""
        known = name_of(begun.get("id"))
        return (
            name_of(begun.get("type")) != self.kind
            or self.kind != "tool_use"
            or (not known or known != self._call.id)
        )

    def body(self) -> dict[str, Any]:
        if self.kind == "tool_use":
            came = joined(self._call.text())
            return {**self._begun, "input": came or self._begun.get("input") or {}}
        if self.kind == "text":
            return {**self._begun, "type": "text", "text": self._text.whole()}
        if self.kind == "thinking":
            thought = {"thinking": self._text.whole(), "signature": self._signature}
            return {**self._begun, "type": "thinking", **thought}
        return self._begun


class MessageStream:
    """The state of a streamed message. Numbers of tokens are running totals, told twice."""

    def __init__(self) -> None:
        self.over = False
        self.size = 0
        self._model = ""
        self._service_tier: Any = None
        self._stop_reason: Any = None
        self._usage = UNKNOWN
        self._is_output_told = False
        self._blocks: list[OpenBlock] = []
        self._at: dict[int | None, OpenBlock] = {}

    @property
    def finished(self) -> bool:
        return self._stop_reason is not None

    def take(self, event: str, data: str) -> str | None:
        if data.strip() == DONE:
            self.over = True
            return None
        if event == "error":
            raise provider_error(error_in(data))
        told = mapping_of(json.loads(data))
        reported = reported_error(told)
        if reported:
            raise reported
        return self._take(name_of(told.get("type")) or event, told)

    def _take(self, kind: str, told: dict[str, Any]) -> str | None:
        match kind:
            case "":
                raise TypeError("an event without a type")
            case "message_start":
                self._start(mapping_of(told["message"]))
            case "content_block_start":
                return self._begin(index_of(told.get("index")), mapping_of(told["content_block"]))
            case "content_block_delta":
                return self._delta(index_of(told.get("index")), mapping_of(told["delta"]))
            case "message_delta":
                delta = mapping_of(told.get("delta"))
                self._stop_reason = delta.get("stop_reason") or self._stop_reason
                self._add_usage(told.get("usage") or delta.get("usage"), is_output_told=True)
            case "message_stop":
                self._add_usage(told.get("usage"), is_output_told=True)
                self.over = True
        return None  # a ping, the end of a block, or an event that is newer than this

    def _start(self, message: dict[str, Any]) -> None:
        """What is told at the beginning; its number of output tokens is not that of the answer."""
        self._model = name_of(message.get("model"))
        self._stop_reason = message.get("stop_reason") or self._stop_reason
        self._add_usage(message.get("usage"), is_output_told=False)
        for nth, block in enumerate(items_of(message.get("content"))):
            self._begin(nth, mapping_of(block))

    def _begin(self, place: int | None, begun: dict[str, Any]) -> str | None:
        known = self._at.get(place)
        if known is not None and not known.is_another(begun):
            return None
        block = OpenBlock(begun)
        self._blocks.append(block)
        self._at[place] = block
        text = text_of(begun.get("text")) if block.kind == "text" else ""
        self.size += len(text)
        return text or None

    def _delta(self, place: int | None, delta: dict[str, Any]) -> str | None:
        kind = name_of(delta.get("type"))
        block = self._at.get(place) or (
            self._blocks[-1] if place is None and self._blocks else None
        )
        if block is None or (kind == "text_delta" and block.kind != "text"):
            # Text that was read goes into the answer, whatever its block said that it is.
            block = OpenBlock({"type": BEGUN_BY_DELTA[kind]})
            self._blocks.append(block)
            self._at[place] = block
        text = text_of(delta.get("text") or delta.get("thinking"))
        self.size += len(text)
        match kind:
            case "text_delta":
                return (block.add_text(text) or None) if text else None
            case "thinking_delta":
                block.add_text(text)
            case "signature_delta":
                block.add_signature(name_of(delta.get("signature")))
            case "input_json_delta":
                part = arguments_of(delta.get("partial_json"))
                block.add_arguments(part)
                self.size += len(part)
        return ""  # a part of a call or of a thought is a token too

    def _add_usage(self, told: Any, is_output_told: bool) -> None:
        usage = usage_of(told)
        if isinstance(told, dict):
            self._service_tier = told.get("service_tier") or self._service_tier
        self._is_output_told = self._is_output_told or (is_output_told and usage.reported)
        self._usage = larger(self._usage, usage)

    def usage(self) -> ReportedUsage:
        return replace(self._usage, known=self._usage.known and self._is_output_told)

    def body(self) -> dict[str, Any]:
        return {
            "model": self._model,
            "content": [block.body() for block in self._blocks],
            "stop_reason": self._stop_reason,
            "usage": self.usage(),
            "service_tier": self._service_tier,
        }
