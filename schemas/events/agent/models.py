"""Events on model calls of a run: requests, responses, failures, and what screening let pass."""

from typing import ClassVar

from schemas.events.agent.base import FAMILY, RunEvent
from schemas.events.base import Count, Instant, Money, Personal
from schemas.events.values import Attempt, Charge, Label, Message, Tokens, ToolRequest, ToolSpec


class ModelAsked(RunEvent):
    """A question to a model: all that the call needs. `model` names a model or a route, `fallback`
    models.

    `timeout_ms` is what the run has left; an answer of the last `cache_ttl_s` seconds to the same
    question will do. `messages` are those after the messages that `follows` names, a digest (empty:
    they are all there are); `digest` names them all, where a later question may follow.
    `output_schema` is the JSON Schema, as JSON text, that the answer must fit; `purpose` says what
    a question is for that is no turn of the conversation (`summary`).
    """

    family: ClassVar[str] = FAMILY
    step: Count
    model: Label
    fallback: tuple[str, ...] = ()
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    max_output_tokens: Count | None = None
    timeout_ms: Count = 60_000
    cache_ttl_s: Count = 0
    user: Personal | None = None
    charge: Charge = Charge()
    output_schema: str = ""
    follows: Label = ""
    follows_chars: Count = 0
    digest: Label = ""
    purpose: Label = ""
    bodies: str = ""


class ModelResponded(RunEvent):
    """A model answered. `model` is the definition that answered, `response_model` what the provider
    calls itself.

    `first_token_ms` is known where the answer was streamed: from this attempt's sending to its
    first token. `tokens` and `cost_usd` are the answer's own; what other attempts took beside it is
    `wasted_tokens`, `wasted_usd`. A cache hit took nothing: `saved` and `saved_usd` are what the
    answer took when a model gave it. `uncached_usd` is what the same call would have cost had
    nothing been read from or written to a cache, and `unrouted_usd` what its tokens would have cost
    at the dearest model of its route; none where no route chose. `estimated_usd` is what a call may
    have cost whose usage its provider did not report: then `cost_usd` is unknown.
    """

    family: ClassVar[str] = FAMILY
    step: Count
    model: Label
    provider: Label
    response_model: Label = ""
    content: Personal | None = None
    tool_calls: tuple[ToolRequest, ...] = ()
    finish_reason: Label
    tokens: Tokens
    cost_usd: Money | None = None
    attempts: Count = 1
    fell_back: bool = False
    route: Label = ""
    cache_hit: bool = False
    saved: Tokens = Tokens()
    saved_usd: Money | None = None
    attempts_made: tuple[Attempt, ...] = ()
    wasted_tokens: Tokens = Tokens()
    wasted_usd: Money | None = None
    started_at: Instant
    wait_ms: Count
    first_token_ms: Count | None = None
    user: Personal | None = None
    charge: Charge = Charge()
    uncached_usd: Money | None = None
    unrouted_usd: Money | None = None
    bodies: str = ""
    estimated_usd: Money | None = None


class ModelFailed(RunEvent):
    family: ClassVar[str] = FAMILY
    step: Count
    model: Label
    reason: Label
    detail: str = ""
    attempts: Count = 1
    route: Label = ""
    attempts_made: tuple[Attempt, ...] = ()
    wasted_tokens: Tokens = Tokens()
    wasted_usd: Money | None = None
    started_at: Instant
    wait_ms: Count = 0
    user: Personal | None = None
    charge: Charge = Charge()


class ResponseCleared(RunEvent):
    """A model's answer as screened: what the agent goes on with."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    step: Count
    model: Label = ""
    content: Personal | None = None
    tool_calls: tuple[ToolRequest, ...] = ()
    finish_reason: Label
    tokens: Tokens
    cost_usd: Money | None = None
    wasted_tokens: Tokens = Tokens()
    wasted_usd: Money | None = None
    bodies: str = ""
    estimated_usd: Money | None = None


class ResponseBlocked(RunEvent):
    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    step: Count
    model: Label = ""
    rule: Label
    detail: str = ""
    tokens: Tokens
    cost_usd: Money | None = None
    wasted_tokens: Tokens = Tokens()
    wasted_usd: Money | None = None
    estimated_usd: Money | None = None
