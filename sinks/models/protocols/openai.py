"""The OpenAI-compatible chat completions protocol."""

import json
from typing import Any

from pydantic import ValidationError

from schemas.events.values import Message, Tokens, ToolRequest
from schemas.ports import ChatQuestion, Endpoint
from sinks.http import CallError, preview
from sinks.models.provider_errors import provider_error
from sinks.models.strict_schema import strict_form

DONE = "[DONE]"
UNFINISHED = ("length", "content_filter")


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def request_body(endpoint: Endpoint, question: ChatQuestion) -> dict[str, Any]:
    """The request. A setting that is not given is left out."""
    body: dict[str, Any] = {
        "model": endpoint.upstream,
        "messages": [message_body(m) for m in question.messages],
    }
    if question.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": json.loads(tool.parameters),
                },
            }
            for tool in question.tools
        ]
    if question.temperature is not None:
        body["temperature"] = question.temperature
    if question.max_output_tokens is not None:
        newer = (
            endpoint.provider == "openai"
        )  # its newer models refuse the name that all others know
        body["max_completion_tokens" if newer else "max_tokens"] = question.max_output_tokens
    if question.user is not None:
        body["user"] = question.user
    schema = (
        json.loads(question.output_schema)
        if question.output_schema and endpoint.json_schema
        else {}
    )
    if schema.get("type") == "object":  # it refuses every other root as a bad request
        body["response_format"] = response_format(schema)
    if endpoint.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The provider's own way to hold an answer to a schema: strictly where it can enforce the
    schema, as it refuses any other.
    """
    strict = strict_form(schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": strict or schema, "strict": strict is not None},
    }


def message_body(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        body["name"] = message.name
    return body


def answer_of(said: Any) -> dict[str, Any]:
    """The fields of a ChatAnswer in a completion. Raises CallError where it is none, or is empty."""
    if isinstance(said, dict) and said.get("error"):
        raise provider_error(said["error"])
    try:
        choice = said["choices"][0]
        message = choice["message"]
        calls = tuple(
            ToolRequest(
                id=call["id"],
                name=call["function"]["name"],
                arguments=call["function"]["arguments"],
            )
            for call in message.get("tool_calls") or ()
        )
        content = message.get("content")
        content = message.get("refusal") if content is None else content
        finish_reason = choice.get("finish_reason") or ("tool_calls" if calls else "stop")
        model = said.get("model") or ""
        tokens = tokens_of(said.get("usage") or {})
        service_tier = said.get("service_tier")
    except (KeyError, IndexError, TypeError, AttributeError, ValidationError) as error:
        raise CallError(
            "bad_answer",
            f"not a chat completion ({type(error).__name__}: {error}): {preview(said)}"[:500],
        ) from error
    if not (
        isinstance(content, str | None)
        and isinstance(finish_reason, str)
        and isinstance(model, str)
    ):
        raise CallError(
            "bad_answer", f"content, finish_reason and model should be text: {preview(choice)}"
        )
    if not content and not calls and finish_reason not in UNFINISHED:
        raise CallError("empty_answer", "neither text nor a tool call", retryable=True)
    return {
        "response_model": model,
        "content": content,
        "tool_calls": calls,
        "finish_reason": finish_reason,
        "tokens": tokens,
        "service_tier": service_tier if isinstance(service_tier, str) else "",
    }


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """Tokens by kind. Raises ValidationError for invalid counts, TypeError or AttributeError where
    it is no object.
    """
    read = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    counts = {
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "cached_input_tokens": read.get("cached_tokens"),
        "reasoning_tokens": written.get("reasoning_tokens"),
        "cache_write_tokens": usage.get("cache_creation_input_tokens"),
        "input_audio_tokens": read.get("audio_tokens"),
        "output_audio_tokens": written.get("audio_tokens"),
        "input_image_tokens": read.get("image_tokens"),
        "output_image_tokens": written.get("image_tokens"),
    }
    return Tokens.model_validate(
        {name: count for name, count in counts.items() if count is not None}, strict=True
    )


class CompletionStream:
    """The state of a streamed completion. Usage comes in a chunk of its own, after the last choice."""

    def __init__(self) -> None:
        self.over = False
        self.size = 0
        self._model = ""
        self._usage = {}
        self._service_tier = None
        self._finish_reason = None
        self._text: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._by_index: dict[int, dict[str, Any]] = {}

    def take(self, _event: str, data: str) -> str | None:
        if data.strip() == DONE:
            self.over = True
            return None
        chunk = json.loads(data)
        if chunk.get("error"):
            raise provider_error(chunk["error"])
        self._model = chunk.get("model") or self._model
        self._usage = chunk.get("usage") or self._usage
        self._service_tier = chunk.get("service_tier") or self._service_tier
        if not chunk.get("choices"):
            return None
        choice = chunk["choices"][0]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta") or {}
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        text = "" + (
            delta.get("content") or delta.get("refusal") or ""
        )  # a TypeError where it is no text
        if text:
            self._text.append(text)
            self.size += len(text)
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        return text if text or thought or delta.get("tool_calls") else None

    def _add_call(self, part: dict[str, Any]) -> None:
        """Adds a part of a tool call. Parts share an index; some providers leave it out and send
        each call whole.
        """
        index = part.get("index")
        function = part.get("function") or {}
        call = self._by_index.get(index) if index is not None else None
        if call is None and index is None and not part.get("id") and self._calls:
            call = self._calls[-1]
        if call is None:
            call = {"id": part["id"], "function": {"name": "", "arguments": []}}
            self._calls.append(call)
            if index is not None:
                self._by_index[index] = call
        call["function"]["name"] = call["function"]["name"] or function.get("name") or ""
        arguments = "" + (function.get("arguments") or "")
        call["function"]["arguments"].append(arguments)
        self.size += len(arguments)

    def body(self) -> dict[str, Any]:
        calls = [
            {
                "id": call["id"],
                "function": {
                    "name": call["function"]["name"],
                    "arguments": "".join(call["function"]["arguments"]),
                },
            }
            for call in self._calls
        ]
        message = {"content": "".join(self._text) or None, "tool_calls": calls}
        return {
            "model": self._model,
            "usage": self._usage,
            "service_tier": self._service_tier,
            "choices": [{"message": message, "finish_reason": self._finish_reason}],
        }


class OpenAiChat:
    """The protocol, as the client of models uses it."""

    providers = ("openai",)
    path = "/chat/completions"
    headers = staticmethod(headers)
    request_body = staticmethod(request_body)
    answer_of = staticmethod(answer_of)
    stream = CompletionStream


PROTOCOL = OpenAiChat()
