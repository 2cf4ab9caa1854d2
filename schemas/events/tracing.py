"""Events on spans: those of runs, and those of other applications."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.events.agent.base import RunEvent
from schemas.events.base import Audience, Count, Event, Instant, Money, Personal
from schemas.events.values import Label, Tokens

TraceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Operation = Literal[
    "invoke_agent",
    "chat",
    "execute_tool",
    "retrieval",
    "guardrail",
    "admission",
    "approval",
    "text_completion",
    "generate_content",
    "embeddings",
    "create_agent",
    "invoke_workflow",
    "event",
    "other",
]
OURS = "weir"


class SpanEnded(RunEvent):
    """A step of a run, over (`at` is its end). Made from the events themselves, so it can be made
    again.

    `source` says whose it is: Weir's own, or the conventions of the application that sent it.
    `attributes` is JSON: what another application said beyond these fields.
    """

    family: ClassVar[str] = "tracing"
    owner: ClassVar[str] = "observability"
    log: ClassVar[str] = "session.records"
    table: ClassVar[str] = "spans"
    trace: TraceId
    span: SpanId
    parent: SpanId | None = None
    name: Label
    operation: Operation
    started_at: Instant
    wait_ms: Count
    first_token_ms: Count | None = None
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
    cache_hit: bool = False
    input: Personal = ""
    output: Personal = ""
    user: Personal | None = None
    source: Label = OURS
    attributes: Personal = ""


class SpanReceived(Event):
    """A span of another application, as OTLP told it; `at` is when it came here, for foreign clocks
    go wrong.

    `attributes`, `resource` and `events` are JSON. `repaired` names what had to be put right, e.g.
    `no_end`.
    """

    family: ClassVar[str] = "tracing"
    key: ClassVar[str] = "trace"
    owner: ClassVar[str] = "observability"
    audience: ClassVar[Audience] = "public"
    trace: TraceId
    span: SpanId
    parent: SpanId | None = None
    name: Label
    kind: Literal["internal", "server", "client", "producer", "consumer", "event"] = "internal"
    started_at: Instant
    ended_at: Instant
    wait_ms: Count
    status: Literal["ok", "error"] = "ok"
    message: Personal = ""
    scope: Label = ""
    attributes: Personal
    resource: Personal
    events: Personal = "[]"
    repaired: Label = ""


class TraceRested(Event):
    """Nothing came of a trace for a while: which of its spans were seen is forgotten. Made by the
    runtime.
    """

    family: ClassVar[str] = "tracing"
    key: ClassVar[str] = "trace"
    owner: ClassVar[str] = "observability"
    trace: TraceId
