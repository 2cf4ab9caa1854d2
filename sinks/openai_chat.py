"""What does the OpenAI-compatible chat completions protocol look like, out and back?"""

import json
from typing import Any

from pydantic import ValidationError

from schemas.agent import Message, Tokens, ToolRequest
from schemas.calls import ChatQuestion, Endpoint
from sinks.http import Refusal, Reply, bounded

PATH = "/chat/completions"
UNFINISHED = ("length", "content_filter")


def auth_headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def request_body(endpoint: Endpoint, question: ChatQuestion) -> dict[str, Any]:
    """The request, as the protocol has it. What is not set is left out."""
    body: dict[str, Any] = {"model": endpoint.upstream, "messages": [message_body(m) for m in question.messages]}
    if question.tools:
        body["tools"] = [{"type": "function", "function": {
            "name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters)}}
            for tool in question.tools]
    if question.temperature is not None:
        body["temperature"] = question.temperature
    if question.max_output_tokens is not None:
        newer = endpoint.provider == "openai"  # its newer models refuse the name that all others know
        body["max_completion_tokens" if newer else "max_tokens"] = question.max_output_tokens
    if question.user is not None:
        body["user"] = question.user
    if question.output_schema and endpoint.json_schema:
        body["response_format"] = response_format(json.loads(question.output_schema))
    return body


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The provider's own way to hold an answer to a schema: strictly, where the schema is one that it can be strict
    with (it refuses any other as a bad request)."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": _closed(schema)}}


def _closed(schema: Any) -> bool:
    """Does every object in a schema name and require all its fields, and allow no other?"""
    if isinstance(schema, list):
        return all(map(_closed, schema))
    if not isinstance(schema, dict):
        return True
    fields = schema.get("properties", {})
    if schema.get("type") == "object" or fields:
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(fields):
            return False
    return all(map(_closed, schema.values()))


def message_body(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [{"id": call.id, "type": "function", "function": {
            "name": call.name, "arguments": call.arguments}} for call in message.tool_calls]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        body["name"] = message.name
    return body


def read_answer(reply: Reply) -> dict[str, Any]:
    """The fields of a ChatAnswer in a completion. Raises Refusal where it is none, or is empty."""
    if reply.content_type and "json" not in reply.content_type:
        raise Refusal("bad_content_type", f"{reply.content_type} instead of JSON: see that base_url ends before "
                      f"/chat/completions. It begins {bounded(reply.body[:100])}")
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", f"{error}, it begins {bounded(reply.body[:100])}", again=True) from error
    try:
        choice = said["choices"][0]
        message = choice["message"]
        calls = tuple(ToolRequest(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
                      for call in message.get("tool_calls") or ())
        content = message.get("content")
        content = message.get("refusal") if content is None else content
        finish_reason = choice.get("finish_reason") or ("tool_calls" if calls else "stop")
        model = said.get("model") or ""
        tokens, service_tier = tokens_of(said.get("usage") or {}), said.get("service_tier")
    except (KeyError, IndexError, TypeError, AttributeError, ValidationError) as error:
        raise Refusal("bad_answer", f"not a chat completion ({type(error).__name__}: {error}): "
                      f"{bounded(reply.body[:100])}"[:500]) from error
    if not (isinstance(content, str | None) and isinstance(finish_reason, str) and isinstance(model, str)):
        raise Refusal("bad_answer", f"content, finish_reason and model should be text: {bounded(choice)}")
    if not content and not calls and finish_reason not in UNFINISHED:
        raise Refusal("empty_answer", "neither text nor a tool call", again=True)
    return {"response_model": model, "content": content, "tool_calls": calls, "finish_reason": finish_reason,
            "tokens": tokens, "service_tier": service_tier if isinstance(service_tier, str) else ""}


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """Tokens by kind. Raises ValidationError for counts that are none, TypeError or AttributeError for no object."""
    read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    counts = {
        "input_tokens": usage.get("prompt_tokens"), "output_tokens": usage.get("completion_tokens"),
        "cached_input_tokens": read.get("cached_tokens"), "reasoning_tokens": written.get("reasoning_tokens"),
        "cache_write_tokens": usage.get("cache_creation_input_tokens"),
        "input_audio_tokens": read.get("audio_tokens"), "output_audio_tokens": written.get("audio_tokens"),
        "input_image_tokens": read.get("image_tokens"), "output_image_tokens": written.get("image_tokens")}
    return Tokens.model_validate({name: count for name, count in counts.items() if count is not None}, strict=True)
