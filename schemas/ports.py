"""What is asked of the world outside, and what does it answer? Values of ports; they are never on
the wire.

A port never raises for what the world does: a failure is a value too.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.definitions.routes import Check
from schemas.definitions.tools import Reconcile, Shorten, ToolTarget
from schemas.events.agent.runs import Passage
from schemas.events.values import Body, Message, Tokens, ToolRequest, ToolSpec

RUN_OVER = "the run that asked is over, so nobody waits for the answer"
"""Why a call under way is given up; the message of its CancelledError."""


@dataclass(frozen=True)
class Tried:
    """One request to one endpoint, as it ended: `reason` is empty where it answered. `unsure` where
    it may be on the bill although nobody knows what it took. `tokens` are what the provider has
    reported, all of it where `usage_known`.
    """

    endpoint: str
    provider: str
    reason: str = ""
    after_ms: int = 0
    wait_ms: int = 0
    tokens: Tokens | None = None
    unsure: bool = False
    wasted: bool = False
    hedge: bool = False
    usage_known: bool = True


@dataclass(frozen=True)
class Moved:
    """A breaker of the call runner named `runner` has another state since `at`; it stays open for
    `open_ms`.
    """

    kind: str
    provider: str
    name: str
    state: str
    at: datetime
    open_ms: int = 0
    runner: str = ""


@dataclass(frozen=True)
class Failure:
    """The world said no, or nothing. `reason` is a short name (`timeout`, `http_500`, ...),
    `detail` for people.
    """

    reason: str
    detail: str
    started_at: datetime
    at: datetime
    attempts: int = 1
    model: str = ""
    tried: tuple[Tried, ...] = ()
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True)
class Uncertain:
    """A call was begun before a crash and nobody knows its end; it must not be begun again."""

    detail: str
    started_at: datetime
    at: datetime
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """One model to try. `api_key` is a reference (`env:NAME`), resolved by the sink. `json_schema`:
    it has a strict mode.
    """

    name: str
    provider: str
    base_url: str
    upstream: str
    api_key: str | None = None
    timeout_ms: int = 60_000
    stream: bool = False
    first_token_ms: int = 30_000
    idle_ms: int = 15_000
    json_schema: bool = False


@dataclass(frozen=True)
class Ways:
    """How endpoints are gone through. The first `measured` change places: fastest first.

    After `hedge_ms` without an answer the next is asked too, for at most the share `hedge_budget`
    of the questions of one `name`. The answers of the first `checked` have to pass `check`; one
    that does not sends the question on.
    """

    name: str = ""
    measured: int = 0
    hedge_ms: int | None = None
    hedge_budget: float = 0.0
    checked: int = 0
    check: Check | None = None


@dataclass(frozen=True)
class Kept:
    """Where the answer may be kept, and for how long: equal keys are equal questions of one
    tenant.
    """

    tenant: str
    key: str
    ttl_s: int


@dataclass(frozen=True)
class ChatQuestion:
    """Messages for the first endpoint that answers, in order. `audible`: whether its text may be
    told as it comes; `output_schema`: what its answer must fit, as JSON text. `follows` and
    `digest` as in ModelAsked. `again`: it was asked before a crash, and nobody knows what became of
    that.
    """

    endpoints: tuple[Endpoint, ...]
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    temperature: float | None
    max_output_tokens: int | None
    timeout_ms: int
    idempotency_key: str
    user: str | None = None
    context: dict[str, str] = field(default_factory=dict)
    audible: bool = False
    output_schema: str = ""
    ways: Ways = Ways()
    kept: Kept | None = None
    follows: str = ""
    digest: str = ""
    again: bool = False


@dataclass(frozen=True)
class ChatAnswer:
    """`endpoint` is the name of the one that answered; `attempts` counts all requests sent, to any.

    `first_token_ms` counts from the sending of the one that was answered; None where the answer
    came in one piece. `preferred` is the endpoint whose turn was first. A cache hit took no
    attempt; its tokens are what it once took. `usage_known`: the provider reported both input and
    output; without that there is no price.
    """

    endpoint: str
    provider: str
    response_model: str
    content: str | None
    tool_calls: tuple[ToolRequest, ...]
    finish_reason: str
    tokens: Tokens
    started_at: datetime
    at: datetime
    attempts: int = 1
    first_token_ms: int | None = None
    service_tier: str = ""
    preferred: str = ""
    tried: tuple[Tried, ...] = ()
    cache_hit: bool = False
    moved: tuple[Moved, ...] = ()
    usage_known: bool = True


@dataclass(frozen=True)
class ToolQuestion:
    """A call of a tool. `arguments` is JSON text; header values of its target may be secret
    references (`env:NAME`).

    Of the result at most `result_chars` and `result_bytes` are taken; of one that is longer than
    `shown_chars` a model sees what `shorten` leaves of it. `begun`: it was begun before a crash, so
    first it must be asked whether it happened.
    """

    tool: str
    target: ToolTarget
    arguments: str
    timeout_ms: int
    result_chars: int
    effect: str
    idempotency_key: str
    context: dict[str, str] = field(default_factory=dict)
    reconcile: Reconcile | None = None
    concurrency: int | None = None
    begun: bool = False
    result_bytes: int = 8 * 1024 * 1024
    shown_chars: int = 100_000
    shorten: Shorten = "ends"
    returns: dict[str, Any] | None = None


@dataclass(frozen=True)
class ToolAnswer:
    """What the tool said. `ends`: its answer bore the header `weir-ends: true`, the run is over
    with it.

    Of one that was too long `content` is what is left of it, and `whole` where it is kept.
    """

    content: str
    started_at: datetime
    at: datetime
    ends: bool = False
    moved: tuple[Moved, ...] = ()
    whole: Body | None = None


@dataclass(frozen=True)
class SearchQuestion:
    tenant: str
    query: str
    limit: int


@dataclass(frozen=True)
class SearchAnswer:
    passages: tuple[Passage, ...]
    started_at: datetime
    at: datetime


@dataclass(frozen=True)
class Impossible:
    """What `ask` returns instead of a question that must not leave the house, e.g. arguments
    against their schema.
    """

    reason: str
    detail: str
