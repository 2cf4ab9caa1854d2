"""What do events carry that is more than a number or a text: messages, tool wishes, tokens?"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.base import Count, Personal, Value

Label = Annotated[str, Field(max_length=200)]
Outcome = Literal["completed", "failed", "blocked", "stopped", "cancelled"]
Effect = Literal["pure", "idempotent", "reconcilable", "once"]


class ToolRequest(Value):
    """A model's wish to call a tool. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


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
    """Tokens of one model call by kind. Input includes cached, output includes reasoning (OpenTelemetry GenAI)."""

    input_tokens: Count = 0
    cached_input_tokens: Count = 0
    cache_write_tokens: Count = 0
    output_tokens: Count = 0
    reasoning_tokens: Count = 0
