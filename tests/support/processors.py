"""A small company and complete events for the tests of processors."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Definitions, Model, Policy, Rule, Tenant, Tool
from schemas.definitions.limits import Limits
from schemas.definitions.prices import Price
from schemas.events.agent.models import ModelFailed, ModelResponded, ResponseCleared
from schemas.events.agent.runs import (
    AgentRequested,
    RequestCleared,
    ResultCleared,
    RunCancelled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
    Woke,
)
from schemas.events.values import Message, Tokens, ToolRequest

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SPACE = UUID(int=7)

TENANT = Tenant(
    name="acme", requests_per_minute=60, burst=3, concurrent_runs=2, request_chars=1_000
)
MODEL = Model(
    name="small",
    provider="openai",
    base_url="http://models/v1",
    upstream="gpt-4o-mini",
    timeout_ms=9_000,
    price=Price(input="2", output="8", cached_input="0.5", cache_write="3"),
)
LOOKUP = Tool(
    name="lookup",
    url="http://tools/lookup",
    effect="pure",
    parameters={
        "type": "object",
        "properties": {"order": {"type": "string", "pattern": "^A-[0-9]+$"}},
        "required": ["order"],
        "additionalProperties": False,
    },
)
REFUND = Tool(
    name="refund", url="http://tools/refund", effect="once", parameters={"type": "object"}
)
HAND_OVER = Tool(name="hand_over", url="http://tools/hand_over", effect="idempotent", terminal=True)
SEARCH = Tool(
    name="search",
    via="search",
    effect="pure",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "number"}},
    },
)
POLICY = Policy(
    name="guard",
    rules=(
        Rule(find="secret", action="block"),
        Rule(find="card", action="redact"),
        Rule(find="iban", action="redact"),
        Rule(find="email", action="flag"),
    ),
)
AGENT = Agent(
    name="support",
    prompt="Be brief.",
    model="small",
    fallback=("spare",),
    policy="guard",
    tools=("lookup", "refund", "hand_over", "search"),
    limits=Limits(steps=4, tokens=1_000, seconds=60),
)
EVERYTHING: tuple[Definition, ...] = (
    TENANT,
    MODEL,
    LOOKUP,
    REFUND,
    HAND_OVER,
    SEARCH,
    POLICY,
    AGENT,
)


def company(*changed: Definition) -> Definitions:
    """The company with some definitions in place of those of the same kind and name."""
    laid_over = {(d.kind, d.name): d for d in (*EVERYTHING, *changed)}
    return Definitions.of(*laid_over.values())


def ident(name: str) -> UUID:
    return uuid5(SPACE, name)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def asked(
    name: str = "r1", text: str = "Where is A-1?", seconds: float = 0, **fields: Any
) -> AgentRequested:
    return AgentRequested(
        **(
            {
                "id": ident(name),
                "at": at(seconds),
                "tenant": "acme",
                "agent": "support",
                "text": text,
                "session": "s",
            }
            | fields
        )
    )


def of_run(kind: type, name: str, run: str = "r1", seconds: float = 0, **fields: Any) -> Any:
    return kind(
        **(
            {
                "id": ident(f"{kind.__name__}/{name}"),
                "at": at(seconds),
                "tenant": "acme",
                "session": "s",
                "run": ident(run),
                "agent": "support",
                "agent_version": 1,
            }
            | fields
        )
    )


def cleared(
    run: str = "r1", text: str = "Where is A-1?", seconds: float = 0, **fields: Any
) -> RequestCleared:
    return of_run(RequestCleared, run, run, seconds, text=text, **fields)


def call(name: str, arguments: str, ident_: str = "c1") -> ToolRequest:
    return ToolRequest(id=ident_, name=name, arguments=arguments)


def responded(
    run: str = "r1",
    step: int = 1,
    content: str | None = None,
    calls: tuple[ToolRequest, ...] = (),
    seconds: float = 1,
    **fields: Any,
) -> ModelResponded:
    return of_run(
        ModelResponded,
        f"{run}/{step}",
        run,
        seconds,
        **(
            {
                "step": step,
                "model": "small",
                "provider": "openai",
                "response_model": "gpt-4o-mini",
                "content": content,
                "tool_calls": calls,
                "finish_reason": "tool_calls" if calls else "stop",
                "tokens": Tokens(input_tokens=10, output_tokens=5),
                "cost_usd": "0.001",
                "started_at": at(seconds - 1),
                "wait_ms": 1_000,
            }
            | fields
        ),
    )


def heard(
    run: str = "r1",
    step: int = 1,
    content: str | None = None,
    calls: tuple[ToolRequest, ...] = (),
    seconds: float = 1,
    **fields: Any,
) -> ResponseCleared:
    return responded(run, step, content, calls, seconds).then(ResponseCleared, **fields)


def told(
    run: str = "r1",
    step: int = 1,
    call_: str = "c1",
    tool: str = "lookup",
    content: str = '{"status":"sent"}',
    seconds: float = 2,
    **fields: Any,
) -> ResultCleared:
    return of_run(
        ResultCleared,
        f"{run}/{step}/{call_}",
        run,
        seconds,
        step=step,
        call=call_,
        tool=tool,
        content=content,
        **fields,
    )


def of_tool(
    kind: type,
    run: str = "r1",
    step: int = 1,
    call_: str = "c1",
    tool: str = "lookup",
    seconds: float = 2,
    **fields: Any,
) -> ToolReturned | ToolFailed | ToolUncertain:
    return of_run(
        kind,
        f"{run}/{step}/{call_}",
        run,
        seconds,
        step=step,
        call=call_,
        tool=tool,
        started_at=at(seconds - 1),
        wait_ms=1_000,
        **fields,
    )


def failed(
    run: str = "r1", step: int = 1, reason: str = "timeout", seconds: float = 1
) -> ModelFailed:
    return of_run(
        ModelFailed,
        f"{run}/{step}",
        run,
        seconds,
        step=step,
        model="small",
        reason=reason,
        started_at=at(seconds - 1),
    )


def cancelled(run: str = "r1", seconds: float = 1) -> RunCancelled:
    return RunCancelled(
        id=ident(f"cancel/{run}"),
        at=at(seconds),
        tenant="acme",
        session="s",
        run=ident(run),
        reason="changed my mind",
    )


def woke(seconds: float) -> Woke:
    return Woke(
        id=ident(f"woke/{seconds}"), at=at(seconds), tenant="acme", session="s", step_name="agent"
    )


def roles(messages: tuple[Message, ...]) -> str:
    """The roles of messages by their first letters, e.g. `uat`."""
    return "".join(message.role[0] for message in messages)
