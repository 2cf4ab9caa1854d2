"""The OpenAI-compatible chat completions protocol."""

import json
from typing import Any

from schemas.events.values import Message
from schemas.ports import ChatQuestion, Endpoint
from sinks.models.reading.completion import CompletionStream, answer_of
from sinks.models.reading.returned import beside_call, beside_message
from sinks.models.strict_schema import strict_form


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def request_body(endpoint: Endpoint, question: ChatQuestion) -> dict[str, Any]:
    """The request. A setting that is not given is left out."""
    body: dict[str, Any] = {
        "model": endpoint.upstream,
        "messages": [message_body(m, endpoint) for m in question.messages],
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


def message_body(message: Message, endpoint: Endpoint) -> dict[str, Any]:
    """A message, with what this endpoint sent beside it and wants back."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **beside_call(call, endpoint),
            }
            for call in message.tool_calls
        ]
        body |= beside_message(message, endpoint)
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        body["name"] = message.name
    return body


class OpenAiChat:
    """The protocol, as the client of models uses it."""

    providers = ("openai",)
    path = "/chat/completions"
    headers = staticmethod(headers)
    request_body = staticmethod(request_body)
    answer_of = staticmethod(answer_of)
    stream = CompletionStream


PROTOCOL = OpenAiChat()
