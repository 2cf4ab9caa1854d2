"""What did each step do and how long did it take, as spans of OpenTelemetry's GenAI conventions?"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.agent import Label, RunEvent, Tokens
from schemas.base import Count, Instant, Money, Personal

TraceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class SpanEnded(RunEvent):
    """A step of a run, over (`at` is its end). Made from the events themselves, so it can be made again."""

    family: ClassVar[str] = "tracing"
    trace: TraceId
    span: SpanId
    parent: SpanId | None = None
    name: Label
    operation: Literal["invoke_agent", "chat", "execute_tool", "retrieval", "guardrail", "admission"]
    started_at: Instant
    wait_ms: Count
    status: Literal["ok", "error"]
    error_type: Label = ""
    provider: Label = ""
    request_model: Label = ""
    response_model: Label = ""
    finish_reason: Label = ""
    tokens: Tokens = Tokens()
    cost_usd: Money | None = None
    tool: Label = ""
    step: Count = 0
    attempts: Count = 1
    input: Personal = ""
    output: Personal = ""
    user: Personal | None = None
