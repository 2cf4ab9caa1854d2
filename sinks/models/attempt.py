"""One HTTP request to one model endpoint, in the protocol of its provider."""

import hashlib
import json
from typing import Any

import httpx

from schemas.ports import ChatQuestion, Endpoint
from sinks.http import CallError, OutgoingRequest, Secret, context_headers, request, resolve_secrets
from sinks.models.protocols import protocol_of
from sinks.models.reading.call_ids import with_distinct_ids
from sinks.models.reading.returned import made_by
from sinks.models.retries import Send
from sinks.models.sse import OnText, StreamTimeouts, answer_in, read_stream
from sinks.redaction import SecretRedactor


def http_sender(http: httpx.AsyncClient, secret: Secret) -> Send:
    """Makes the function that sends one attempt over HTTP."""

    async def send(
        endpoint: Endpoint, question: ChatQuestion, left_s: float, on_text: OnText
    ) -> dict[str, Any]:
        """The fields of a ChatAnswer that the endpoint decides. Raises CallError.

        `on_text` receives text as it comes, where it comes in parts; the text of an attempt that
        fails later counts for nothing.
        """
        hidden = SecretRedactor(secret)
        try:
            answer = await answered(endpoint, question, left_s, hidden, on_text)
        except CallError as error:
            error.tell(hidden.redact_refusal(error.detail))
            raise
        calls = with_distinct_ids(answer["tool_calls"], question.idempotency_key)
        returned = tuple(made_by(call, endpoint) for call in calls)
        return hidden.redact_answer(answer | {"tool_calls": returned})

    async def answered(
        endpoint: Endpoint,
        question: ChatQuestion,
        left_s: float,
        hidden: SecretRedactor,
        on_text: OnText,
    ) -> dict[str, Any]:
        outgoing = outgoing_request(endpoint, question, hidden)
        protocol = protocol_of(endpoint.provider)
        all_s = min(left_s, endpoint.timeout_ms / 1000)
        if not endpoint.stream:
            return answer_in(await request(http, outgoing, all_s), protocol)
        timeouts = StreamTimeouts(endpoint.first_token_ms / 1000, endpoint.idle_ms / 1000, all_s)
        listener = hidden.listener(on_text)
        answer, first_token_ms = await read_stream(http, outgoing, timeouts, protocol, listener)
        listener("", True)
        return answer | {"first_token_ms": first_token_ms}

    return send


def outgoing_request(endpoint: Endpoint, question: ChatQuestion, secret: Secret) -> OutgoingRequest:
    """The HTTP request of an attempt. Raises CallError where the endpoint's secret is not set."""
    protocol = protocol_of(endpoint.provider)
    headers = context_headers(question.context) | {
        "content-type": "application/json",
        "accept": "text/event-stream" if endpoint.stream else "application/json",
    }
    if endpoint.stream:
        # A compressed stream is usually gathered before it is sent on.
        headers["accept-encoding"] = "identity"
    headers |= protocol.headers(resolve_secrets(endpoint.api_key or "", secret))
    body = json.dumps(protocol.request_body(endpoint, question)).encode()
    # after an aborted transaction the same question may be asked in other words
    words = hashlib.sha256(body).hexdigest()[:16]
    headers["idempotency-key"] = f"{question.idempotency_key}-{words}"
    return OutgoingRequest("POST", endpoint.base_url.rstrip("/") + protocol.path, headers, body)
