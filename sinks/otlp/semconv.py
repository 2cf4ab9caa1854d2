"""The names of OpenTelemetry's GenAI conventions for a span, in both of their generations.

Instrumentations use those of 1.36 and before unless OTEL_SEMCONV_STABILITY_OPT_IN contains
`gen_ai_latest_experimental`; then they use those of 1.41, and none of the older names.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

LATEST = "gen_ai_latest_experimental"
SCHEMAS = {
    True: "https://opentelemetry.io/schemas/1.41.0",
    False: "https://opentelemetry.io/schemas/1.36.0",
}
OWN_OPERATIONS = ("guardrail", "admission", "approval", "event", "other")
"""Operations that the GenAI conventions have no name for."""
CALLS = ("chat", "text_completion", "generate_content", "embeddings")

# fmt: off
ATTRIBUTES = {
    "request_model":  "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "agent":          "gen_ai.agent.name",
    "session":        "gen_ai.conversation.id",
    "tool":           "gen_ai.tool.name",
    "error_type":     "error.type",
    "user":           "user.id",
    "run":            "weir.run",
    "tenant":         "weir.tenant",
    "step":           "weir.step",
}
TOKENS = {
    "input_tokens":        "gen_ai.usage.input_tokens",
    "output_tokens":       "gen_ai.usage.output_tokens",
}
TOKENS_LATEST = {
    "cached_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens":  "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens":    "gen_ai.usage.reasoning.output_tokens",
}
# fmt: on
Span = Mapping[str, Any]


def is_latest(opt_in: str) -> bool:
    """Whether the opt-in setting asks for the newest conventions."""
    return LATEST in (word.strip() for word in opt_in.split(","))


def attributes_of(
    span: Span, latest: bool, content: bool, money: Callable[[Any], str]
) -> dict[str, Any]:
    """A span's attributes. Texts only where `content` asks for them: they are personal data."""
    made: dict[str, Any] = dict(core_of(span, latest))
    made |= {
        name: span[column]
        for column, name in ATTRIBUTES.items()
        if span[column] and name not in made
    }
    if span["operation"] in OWN_OPERATIONS:
        made["weir.operation"] = span["operation"]
    if span["operation"] in CALLS and span["response_model"]:
        names = TOKENS | TOKENS_LATEST if latest else TOKENS
        made |= {
            name: span["tokens"][column]
            for column, name in names.items()
            if span["tokens"][column] or column in TOKENS
        }
    if span["finish_reason"]:
        made["gen_ai.response.finish_reasons"] = [span["finish_reason"]]
    if span["agent_version"]:
        made["gen_ai.agent.version" if latest else "weir.agent.version"] = str(
            span["agent_version"]
        )
    if span["cost_usd"] is not None:
        made["weir.cost_usd"] = money(span["cost_usd"])
    if span["first_token_ms"] is not None:
        made["gen_ai.response.time_to_first_chunk" if latest else "weir.first_token_s"] = (
            span["first_token_ms"] / 1000
        )
    if span["attempts"] > 1:
        made["weir.attempts"] = span["attempts"]
    return made | (content_of(span) if content and latest else {})


def core_of(span: Span, latest: bool) -> dict[str, str]:
    """The attributes that distinguish kinds of spans and measurements: operation, provider, models,
    error.
    """
    made = (
        {} if span["operation"] in OWN_OPERATIONS else {"gen_ai.operation.name": span["operation"]}
    )
    if span["provider"]:
        made["gen_ai.provider.name" if latest else "gen_ai.system"] = span["provider"]
    return made | {
        ATTRIBUTES[name]: span[name]
        for name in ("request_model", "response_model", "error_type")
        if span[name]
    }


def content_of(span: Span) -> dict[str, str]:
    """Input and output, as the newest conventions hold them."""
    if span["operation"] == "execute_tool":
        return {
            "gen_ai.tool.call.arguments": span["input"],
            "gen_ai.tool.call.result": span["output"],
        }
    if span["operation"] in (*CALLS, "invoke_agent"):
        return {
            "gen_ai.input.messages": messages("user", span["input"]),
            "gen_ai.output.messages": messages("assistant", span["output"]),
        }
    return {"weir.input": span["input"], "weir.output": span["output"]}


def content_events_of(span: Span) -> list[tuple[str, dict[str, Any]]]:
    """Input and output in the older conventions: events of the span."""
    if span["operation"] in CALLS:
        said = {"role": "assistant", "content": span["output"]}
        return [
            ("gen_ai.user.message", {"content": span["input"]}),
            (
                "gen_ai.choice",
                {"index": 0, "finish_reason": span["finish_reason"], "message": json.dumps(said)},
            ),
        ]
    return (
        [("weir.content", {"input": span["input"], "output": span["output"]})]
        if span["input"]
        else []
    )


def messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
