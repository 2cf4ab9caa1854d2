"""What does one endpoint answer, asked once?

The protocol is the provider's, the bytes are moved here. `hear` is told of text as it comes, where
it comes in parts; what it was told of an attempt that then fails is worth nothing.
"""

import json
from types import ModuleType
from typing import Any

import httpx

from schemas.ports import ChatQuestion, Endpoint
from sinks.http import Secret, context_headers, fetch, with_secrets
from sinks.models.protocols import anthropic, openai
from sinks.models.protocols.sse import Hear, Waits, listen, read_json

PROTOCOLS: dict[str, ModuleType] = {"anthropic": anthropic}
"""By provider; all others speak chat completions. Each has PATH, headers, request_body, answer_of
and Stream.
"""


async def ask(
    http: httpx.AsyncClient,
    endpoint: Endpoint,
    question: ChatQuestion,
    secret: Secret,
    left_s: float,
    hear: Hear,
) -> dict[str, Any]:
    """The fields of a ChatAnswer that the other side decides, from one request. Raises Refusal."""
    protocol = PROTOCOLS.get(endpoint.provider, openai)
    headers = context_headers(question.context) | {
        "content-type": "application/json",
        "idempotency-key": question.idempotency_key,
        "accept": "text/event-stream" if endpoint.stream else "application/json",
    }
    if endpoint.stream:
        headers["accept-encoding"] = "identity"  # what compresses a stream tends to gather it first
    headers |= protocol.headers(with_secrets(endpoint.api_key or "", secret))
    url = endpoint.base_url.rstrip("/") + protocol.PATH
    body = json.dumps(protocol.request_body(endpoint, question)).encode()
    all_s = min(left_s, endpoint.timeout_ms / 1000)
    if not endpoint.stream:
        return protocol.answer_of(read_json(await fetch(http, "POST", url, headers, all_s, body)))
    waits = Waits(endpoint.first_token_ms / 1000, endpoint.idle_ms / 1000, all_s)
    answer, first_token_ms = await listen(
        http, url, headers, body, waits, protocol.Stream(), protocol.answer_of, hear
    )
    hear("", True)
    return answer | {"first_token_ms": first_token_ms}
