"""The parts of the OpenAPI document that the routes' types do not give: security, problems,
examples.
"""

from typing import Any

from fastapi import FastAPI

from streams.gateway.errors import MEDIA_TYPE

JSON = "application/json"
EVENTS = "text/event-stream"
PROBLEM = {
    "type": "object",
    "description": "A problem (RFC 9457): what is wrong, and what to do",
    "required": ["type", "title", "status", "detail", "code", "error"],
    "properties": {
        "type": {"type": "string", "description": "urn:weir:problem: and the code"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "one sentence for a person"},
        "instance": {"type": "string", "description": "the path that was asked"},
        "code": {"type": "string", "description": "one word for a program"},
        "run": {
            "type": "string",
            "format": "uuid",
            "description": "the run that came of it, where one did",
        },
        "errors": {
            "type": "array",
            "description": "all that is wrong with a body, by its place",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
            },
        },
        "error": {
            "type": "object",
            "description": "the same in the shape that OpenAI's and Anthropic's clients read",
        },
    },
}
KEYS = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "an API key: `weir keys add --tenant NAME`",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "the same, as Anthropic's clients send it",
    },
    "tenant": {
        "type": "apiKey",
        "in": "header",
        "name": "weir-tenant",
        "description": "a tenant's name, without a key: on the machine of an embedded stack only",
    },
}
TAGS = {
    "runs": "Ask an agent, look at its run, follow, end and judge it",
    "approvals": "Calls that wait for a person's word",
    "signals": "Tell a workflow what happened outside",
    "OpenAI": "For OpenAI's clients: another base URL, nothing else",
    "Anthropic": "For Anthropic's clients: another base URL, nothing else",
    "CloudEvents": "For systems that speak CloudEvents 1.0",
    "telemetry": "OTLP over HTTP, as exporters send it",
}
IDEMPOTENT = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "the same key is the same run; with another body it is refused (422)",
        },
        {
            "name": "weir-session",
            "in": "header",
            "schema": {"type": "string"},
            "description": "the conversation to go on with, as an answer's header of this name "
            "says it",
        },
    ]
}
RETRY = {
    "Retry-After": {
        "schema": {"type": "integer"},
        "description": "seconds to wait before asking again",
    }
}


def problem(
    words: str, code: str, status: int, title: str, detail: str, **more: Any
) -> dict[str, Any]:
    """A response of the document: a problem with an example."""
    example = {
        "type": f"urn:weir:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "/v1/requests",
        "code": code,
        "error": {
            "type": "api_error" if status >= 500 else "invalid_request_error",
            "message": detail,
            "code": code,
            "param": None,
        },
    }
    return {
        "description": words,
        **more,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
        },
    }


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": problem(
        "The request is not done as it is: what is wrong, and what to do",
        "invalid_request",
        422,
        "Unprocessable Entity",
        "body.text is missing: add it",
    ),
    "429": problem(
        "The tenant's quota or budget is used up",
        "quota",
        429,
        "Too Many Requests",
        "60 requests a minute are used up: ask again later, or raise the tenant's "
        "requests_per_minute",
        headers=RETRY,
    ),
    "500": problem(
        "A mistake of the gateway's own",
        "internal",
        500,
        "Internal Server Error",
        "KeyError in the gateway: its log says more; the same request with the same "
        "Idempotency-Key is safe to "
        "send again",
    ),
    "503": problem(
        "Kafka or ClickHouse is away, or too much comes at once",
        "kafka_away",
        503,
        "Service Unavailable",
        "Kafka did not take it (Local: Message timed out): ask again, with the same Idempotency-Key",
        headers=RETRY,
    ),
}
"""What every operation may answer beside its own responses."""
RUN_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "502": problem(
        "The run ended without an answer",
        "run_failed",
        502,
        "Bad Gateway",
        "the run has failed: timeout",
    ),
    "504": problem(
        "The run goes on",
        "no_outcome_yet",
        504,
        "Gateway Timeout",
        "the run goes on, its outcome did not come within 120 s: see GET "
        "/v1/runs/0b9f6bd0-5f4e-4d0c-8a8e-0e3f4f5f2d11",
    ),
}


def responses_of(example: dict[str, Any], stream: str = "") -> dict[int | str, dict[str, Any]]:
    """The responses of an operation of OpenAI's or Anthropic's protocol; `stream` is an example of
    its events.
    """
    said: dict[str, Any] = {JSON: {"schema": {"type": "object"}, "example": example}}
    if stream:
        said[EVENTS] = {"schema": {"type": "string"}, "example": stream}
    return {
        200: {
            "description": "The answer; with `stream`, its events as it is written. One who goes "
            "away in the middle "
            "does not end the run",
            "content": said,
        }
    } | (RUN_PROBLEMS if stream else {})


def complete_document(app: FastAPI) -> None:
    """Completes the application's document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        found = made()
        if "Problem" not in found["components"]["schemas"]:
            found["components"]["schemas"]["Problem"] = PROBLEM
            found["components"]["securitySchemes"] = KEYS
            found["security"] = [{name: []} for name in KEYS]
            found["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
        return found

    app.openapi = openapi  # type: ignore[method-assign]
