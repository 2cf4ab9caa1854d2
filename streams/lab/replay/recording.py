"""Reads recorded conversations, and derives the definitions that the pipeline needs for them.

A line of the file is an object with `messages`: a system message, then user, assistant (with tool
calls) and tool messages of the chat completions protocol; or a multi-turn case of the Berkeley
Function-Calling Leaderboard (`bfcl`). A last user message without a response is not sent. Where a
conversation ends with a tool's result, that tool ended it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Policy, Rule, Tenant, Tool
from schemas.definitions.limits import Limits
from schemas.definitions.prices import Price
from schemas.definitions.tools import HttpTarget
from schemas.events.values import Message, ToolRequest, ToolSpec
from streams.engine.errors import UserError
from streams.lab.replay import bfcl

TENANT = "recorded"
POLICY = Policy(
    name="recorded-shadow",
    shadow=True,
    rules=(
        Rule(find="secret", action="block"),
        Rule(find="card", action="redact"),
        Rule(find="iban", action="redact"),
        Rule(find="email", action="redact"),
    ),
)
UNLIMITED = Limits(
    steps=1_000,
    tokens=100_000_000,
    cost_usd=Decimal(1_000_000),
    seconds=86_400,
    repeats=None,
)
"""Limits that no recorded run reaches: what was recorded has ended already."""


class RecordingError(UserError):
    """An invalid recording; the text names the line, the mistake and the right form."""


@dataclass(frozen=True)
class Conversation:
    """One recorded conversation: `messages` up to its last response or result.

    `turns` are the user's messages, `tools` those that were offered, where that was recorded.
    """

    number: int
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()

    @property
    def prompt(self) -> str:
        return self.messages[0].content or ""

    @property
    def agent(self) -> str:
        return "recorded-" + hashlib.sha256(self.prompt.encode()).hexdigest()[:12]

    @property
    def turns(self) -> tuple[str, ...]:
        return tuple(m.content or "" for m in self.messages if m.role == "user")

    @property
    def calls(self) -> list[ToolRequest]:
        return [call for message in self.messages for call in message.tool_calls]

    @property
    def model_calls(self) -> int:
        return sum(m.role == "assistant" for m in self.messages)

    @property
    def tool_calls(self) -> int:
        return sum(m.role == "tool" for m in self.messages)


def read(path: Path) -> tuple[Conversation, ...]:
    """The conversations of a file, in order. Raises RecordingError, or OSError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = tuple(
        conversation(number, line, path) for number, line in enumerate(lines) if line.strip()
    )
    if not found:
        raise RecordingError(
            f"{path} has no conversation: it needs one JSON object a line, with `messages`"
        )
    return found


def conversation(number: int, line: str, path: Path | str = "the file") -> Conversation:
    """The conversation on one line of JSON."""
    try:
        row = json.loads(line)
        tools = ()
        if bfcl.is_case(row):
            row["messages"], tools = bfcl.messages_of(row, bfcl.functions_beside(Path(path)))
        messages = [message(m) for m in row["messages"]]
    except bfcl.BfclCaseError as error:
        raise RecordingError(f"{path}, line {number + 1}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingError(
            f"{path}, line {number + 1}: {type(error).__name__}: {error}. A line is a JSON object "
            "with `messages`, each with `role` and `content`"
        ) from error
    while messages and messages[-1].role == "user":
        messages.pop()
    if len(messages) < 3 or messages[0].role != "system" or messages[1].role != "user":
        raise RecordingError(
            f"{path}, line {number + 1}: a conversation begins with a system and a user message "
            "and has an answer"
        )
    return Conversation(number, tuple(messages), tuple(tools))


def as_lines(conversations: Iterable[Conversation]) -> str:
    """The conversations as a file for the recorded model: a line each, at its number."""
    by_number = {talk.number: talk for talk in conversations}
    return "".join(
        json.dumps({"messages": [body_of(m) for m in by_number[n].messages]}) + "\n"
        if n in by_number
        else "\n"
        for n in range(max(by_number, default=-1) + 1)
    )


def body_of(said: Message) -> dict[str, Any]:
    """A message in the protocol's JSON."""
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
        for c in said.tool_calls
    ]
    return said.model_dump(include={"role", "content", "tool_call_id", "name"}) | (
        {"tool_calls": calls} if calls else {}
    )


def message(said: dict[str, Any]) -> Message:
    """One message out of the protocol's JSON."""
    calls = tuple(
        ToolRequest(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"])
        for c in said.get("tool_calls") or ()
    )
    return Message(
        role=said["role"],
        content=said.get("content"),
        tool_calls=calls,
        tool_call_id=said.get("tool_call_id"),
        name=said.get("name") if said["role"] == "tool" else None,
    )


def definitions(conversations: Iterable[Conversation], service_url: str) -> list[Definition]:
    """The definitions for these conversations: one agent a prompt, and every tool that is called.

    Tools have their recorded parameters, else any. They are `pure`, as a recorded tool has no
    effect.
    """
    conversations = list(conversations)
    offered = {one.name: one for talk in conversations for one in talk.tools}
    names = sorted({call.name for talk in conversations for call in talk.calls} | offered.keys())
    tools = [
        Tool(
            name=name,
            description=offered[name].description if name in offered else "recorded",
            target=HttpTarget(url=f"{service_url}/tools/{name}"),
            effect="pure",
            parameters=json.loads(offered[name].parameters)
            if name in offered
            else {"type": "object"},
        )
        for name in names
    ]
    agents = {talk.agent: talk for talk in conversations}
    model = Model(
        name="recorded",
        provider="recorded",
        base_url=f"{service_url}/v1",
        upstream="recorded-1",
        price=Price(input=Decimal("2.5"), output=Decimal(10)),
    )
    tenant = Tenant(
        name=TENANT,
        requests_per_minute=1_000_000,
        burst=100_000,
        concurrent_runs=100_000,
        request_chars=1_000_000,
    )
    return [
        tenant,
        POLICY,
        model,
        *tools,
        *(
            Agent(
                name=name,
                prompt=talk.prompt,
                model="recorded",
                tools=tuple(t.name for t in talk.tools or tools),
                policy=POLICY.name,
                limits=UNLIMITED,
                history_messages=10_000,
            )
            for name, talk in agents.items()
        ),
    ]


def first_difference(recorded: tuple[Message, ...], played: tuple[Message, ...]) -> str | None:
    """The first difference of two conversations, in one line; None where they are equal."""
    for place, (theirs, ours) in enumerate(zip(recorded, played, strict=False)):
        if theirs != ours:
            return (
                f"message {place}: recorded {theirs.model_dump_json()[:200]}, "
                f"played {ours.model_dump_json()[:200]}"
            )
    if len(recorded) != len(played):
        return f"recorded {len(recorded)} messages, played {len(played)}"
    return None
