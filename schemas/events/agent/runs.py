"""Events on runs: requests, admission, screening, tool calls, outcomes.

A run is one request and everything that it causes; `run` is the id of its AgentRequested. `step`
counts the model turns of a run from 1.
"""

from datetime import timedelta
from typing import ClassVar, Literal
from uuid import UUID

from schemas.events.agent.base import FAMILY, RunEvent
from schemas.events.base import (
    THIRTEEN_MONTHS,
    Audience,
    Count,
    Event,
    Instant,
    Money,
    Personal,
    SessionEvent,
    Value,
)
from schemas.events.values import (
    Body,
    Effect,
    Label,
    Message,
    Outcome,
    Parent,
    Tokens,
    Took,
)


class AgentRequested(Event):
    """A service asks an agent. Without a session the request is a session of its own.

    `history` is what was said before, for an application that keeps its conversations itself: it
    counts where the session has none of its own.
    """

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "request"
    agent: Label
    text: Personal
    session: Label = ""
    user: Personal | None = None
    channel: Label | None = None
    metadata: dict[str, str] = {}
    traceparent: Label | None = None
    parent: Parent | None = None
    history: tuple[Message, ...] = ()
    bodies: str = ""


class RequestAdmitted(RunEvent):
    family: ClassVar[str] = FAMILY
    text: Personal
    user: Personal | None = None
    channel: Label | None = None
    metadata: dict[str, str] = {}
    traceparent: Label | None = None
    parent: Parent | None = None
    history: tuple[Message, ...] = ()
    bodies: str = ""


class RequestRefused(RunEvent):
    """Not admitted: nothing ran and nothing was spent."""

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "runs"
    text: Personal
    user: Personal | None = None
    reason: Literal[
        "quota", "concurrency", "budget", "unknown_tenant", "unknown_agent", "too_large", "empty"
    ]
    detail: str = ""
    retry_after_ms: Count | None = None


class RequestCleared(RunEvent):
    """Screened: `text` is what the agent may see, redacted where the policy says so."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    text: Personal
    user: Personal | None = None
    metadata: dict[str, str] = {}
    traceparent: Label | None = None
    parent: Parent | None = None
    history: tuple[Message, ...] = ()
    bodies: str = ""


class RequestBlocked(RunEvent):
    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    rule: Label
    detail: str = ""
    text: Personal = ""
    user: Personal | None = None
    traceparent: Label | None = None
    parent: Parent | None = None
    bodies: str = ""


class ToolCalled(RunEvent):
    """A tool is to be called. `call` is the model's id of it; the event's id is the idempotency
    key.
    """

    family: ClassVar[str] = FAMILY
    step: Count
    call: Label
    tool: Label
    tool_version: Count = 0
    arguments: Personal
    effect: Effect
    timeout_ms: Count = 30_000
    user: Personal | None = None
    bodies: str = ""


class ToolEvent(RunEvent):
    """What became of one call of a tool."""

    step: Count
    call: Label
    tool: Label
    started_at: Instant
    wait_ms: Count = 0


class ToolReturned(ToolEvent):
    """The tool's result. `ends` where the tool said that nothing is left to do: the run ends with
    this result.

    Of a long one `content` is what the model may see of it, and `whole` where all of it is kept.
    `total` is what it took, where the tool is an agent.
    """

    family: ClassVar[str] = FAMILY
    content: Personal
    ends: bool = False
    whole: Body | None = None
    bodies: str = ""
    total: Took = Took()


class ToolFailed(ToolEvent):
    """The tool did not do it; the model is told so."""

    family: ClassVar[str] = FAMILY
    reason: Label
    detail: str = ""
    total: Took = Took()


class ToolUncertain(ToolEvent):
    """Nobody knows whether the tool did it: it was started, and must never be started twice."""

    family: ClassVar[str] = FAMILY
    detail: str = ""


class ResultCleared(RunEvent):
    """A tool's result, or retrieved passages, as screened: what the model may see."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    step: Count
    call: Label
    tool: Label
    content: Personal
    ends: bool = False
    whole: Body | None = None
    bodies: str = ""
    total: Took = Took()


class PassagesAsked(RunEvent):
    """Knowledge is to be searched, by the agent's search tool."""

    family: ClassVar[str] = FAMILY
    step: Count
    call: Label
    tool: Label
    query: Personal
    limit: Count = 5


class Passage(Value):
    document: str
    nth: Count
    title: str = ""
    text: Personal
    score: float


class PassagesFound(ToolEvent):
    family: ClassVar[str] = FAMILY
    passages: tuple[Passage, ...]


class RunCancelled(SessionEvent):
    """Somebody outside asks that a run ends."""

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "request"
    run: UUID
    reason: str = ""
    user: Personal | None = None


class Woke(SessionEvent):
    """A time that a state waited for has come. Made by the runtime, and recorded like every event."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    step_name: Label


class RunFinished(RunEvent):
    """The one outcome of an admitted run, with what it took: itself, and in `total` with the agents
    that it asked.
    """

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "runs"
    outcome: Outcome
    reason: Label = ""
    detail: str = ""
    text: Personal = ""
    answer: Personal | None = None
    user: Personal | None = None
    model: Label = ""
    model_calls: Count = 0
    tool_calls: Count = 0
    tokens: Tokens = Tokens()
    cost_usd: Money | None = None
    unpriced_calls: Count = 0
    started_at: Instant
    wait_ms: Count
    traceparent: Label | None = None
    parent_run: UUID | None = None
    prompt_version: Count = 0
    not_undone: str = ""
    bodies: str = ""
    total: Took = Took()


class RunsHeld(Event):
    """So many runs of a session begin to wait for people or for a time only, so they need no place
    among their tenant's concurrent runs (`held`); or they go on, and take their places again.
    """

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "tenant.agents"
    session: Label
    runs: Count
    held: bool


class RunSettled(Event):
    """A run is over, told to its tenant: its place is free, its cost is known, and so is what
    profiles count.

    `script` is the writing of the question (latin, cyrillic, han, arabic, other, none), `language`
    its language (de, en, ...; else the script), `subject` a group by its most telling word, which
    it does not tell.
    """

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    log: ClassVar[str] = "tenant.usage"
    session: Label
    run: UUID
    outcome: Outcome
    cost_usd: Money | None = None
    agent: Label = ""
    model: Label = ""
    wait_ms: Count = 0
    question_chars: Count = 0
    answer_chars: Count = 0
    script: Label = ""
    language: Label = ""
    subject: Label = ""
