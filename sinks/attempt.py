"""What does one endpoint answer, asked once?

The protocol is the endpoint's, the bytes are moved here. `hear` is told of text as it comes, where it comes in parts;
what it was told of an attempt that then fails is worth nothing.
"""

import json
from collections.abc import Callable
from typing import Any

import httpx

from schemas.calls import ChatQuestion, Endpoint
from sinks import openai_chat
from sinks.http import Secret, context_headers, fetch, with_secrets

Hear = Callable[[str, bool], None]
"""`hear(text, last)`: more text of this attempt; `last` where the attempt has come to its good end."""


async def ask(http: httpx.AsyncClient, endpoint: Endpoint, question: ChatQuestion, secret: Secret, left_s: float,
              hear: Hear) -> dict[str, Any]:
    """The fields of a ChatAnswer that the other side decides, from one request. Raises Refusal."""
    protocol = openai_chat
    headers = context_headers(question.context) | {
        "content-type": "application/json", "accept": "application/json",
        "idempotency-key": question.idempotency_key}
    headers |= protocol.auth_headers(with_secrets(endpoint.api_key or "", secret))
    reply = await fetch(http, "POST", endpoint.base_url.rstrip("/") + protocol.PATH, headers,
                        min(left_s, endpoint.timeout_ms / 1000),
                        json.dumps(protocol.request_body(endpoint, question)).encode())
    return protocol.read_answer(reply)
