"""Values that several events carry: messages, tool requests, tokens, attempts."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.events.base import Count, Money, Personal, Value

Label = Annotated[str, Field(max_length=200)]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Outcome = Literal["completed", "failed", "blocked", "stopped", "cancelled"]
Effect = Literal["pure", "idempotent", "reconcilable", "once"]


class ToolRequest(Value):
    """A model's wish to call a tool. `arguments` is JSON text, exactly as the model wrote it.

    `opaque` is what its provider sent with it and wants back as it came: signatures and thoughts,
    as JSON, with the name of who understands them.
    """

    id: str
    name: str
    arguments: str
    opaque: Personal = ""


class Body(Value):
    """What is too much for an event and is kept in the object store under `key`, of which the
    tenant and the SHA-256 are parts. `head` is its beginning, for people.
    """

    key: str
    bytes: Count
    sha256: Label
    media_type: Label = "text/plain"
    head: Personal = ""


class Message(Value):
    """One message of a conversation, in the shape of the chat completions protocol."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Personal | None = None
    tool_calls: tuple[ToolRequest, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class ToolSpec(Value):
    """A tool as a model sees it. `parameters` is a JSON Schema, as JSON text."""

    name: str
    description: str = ""
    parameters: str


class Parent(Value):
    """The call of an agent that a request came from, and how many agents stand above it."""

    run: UUID
    session: Annotated[str, Field(min_length=1, max_length=200)]
    agent: Label
    agent_version: Count
    step: Count
    call: Label
    tool: Label
    depth: Count = 1


class Tokens(Value):
    """Tokens of one model call by kind. Input includes cached, output includes reasoning
    (OpenTelemetry GenAI).

    Both include audio and images. What is written to a cache is kept for five minutes, or for an
    hour where `cache_write_1h_tokens` says so, which is a part of `cache_write_tokens`.
    """

    input_tokens: Count = 0
    cached_input_tokens: Count = 0
    cache_write_tokens: Count = 0
    output_tokens: Count = 0
    reasoning_tokens: Count = 0
    cache_write_1h_tokens: Count = 0
    input_audio_tokens: Count = 0
    cached_audio_tokens: Count = 0
    output_audio_tokens: Count = 0
    input_image_tokens: Count = 0
    cached_image_tokens: Count = 0
    output_image_tokens: Count = 0


class Took(Value):
    """What a run took together with the agents that it asked, those that they asked, and so on; of
    agents that were still at work when it ended, nothing. `total_unpriced_calls` are model calls of
    which nobody knows the price.
    """

    total_input_tokens: Count = 0
    total_output_tokens: Count = 0
    total_cost_usd: Money | None = None
    total_unpriced_calls: Count = 0


class Charge(Value):
    """Whom in the tenant's house a call is charged to (metadata `feature` and `team` of its
    request), and at which of its provider's tiers: `priority`, `flex`, `batch`; empty for the usual
    one.
    """

    feature: Label = ""
    team: Label = ""
    service_tier: Label = ""


class Attempt(Value):
    """One request to one model. `reason` says why it gave no answer that could be used; empty where
    it did.

    It began `after_ms` after the question. Wasted is every attempt but the one whose answer was
    taken. No `cost_usd` means that nobody knows whether it will be on the bill: a request given up
    on may have been worked on.
    """

    model: Label
    provider: Label
    reason: Label = ""
    after_ms: Count = 0
    wait_ms: Count = 0
    tokens: Tokens = Tokens()
    cost_usd: Money | None = None
    wasted: bool = False
    hedge: bool = False
