"""A tool call's two sides: the request to the tool, and the events that its result becomes."""

import json
from typing import Any

from processors.common.json_schema import InvalidValueError, read_arguments, result_error
from processors.common.text import clean, label, ms_between
from processors.tools.truncate import shortened
from processors.usage.attempts import moves
from schemas.definitions.kinds import Definitions, Tool
from schemas.definitions.tools import SearchTarget
from schemas.events.agent.runs import ToolCalled, ToolFailed, ToolReturned, ToolUncertain
from schemas.events.operations import BreakerMoved
from schemas.ports import Failure, Impossible, ToolAnswer, ToolQuestion, Uncertain
from schemas.wire.codec import traceparent_of

UNKNOWN = Tool(name="unknown", target=SearchTarget())
"""In place of a tool whose definition is not there: its defaults hold for the result."""


def ask(called: ToolCalled, definitions: Definitions) -> ToolQuestion | Impossible:
    """The event's id is the idempotency key, minted here: a model that words its call anew cannot
    change it.

    Arguments are checked once more at the door: what is on the topic may have come from elsewhere.
    """
    tool = definitions.tool(called.tool, called.tool_version)
    if tool is None:
        return Impossible(
            "unknown_tool",
            f"version {called.tool_version} of tool {called.tool!r} is not defined: apply it again",
        )
    try:
        arguments = read_arguments(tool, called.arguments)
    except InvalidValueError as unfit:
        return Impossible("invalid_arguments", str(unfit))
    return ToolQuestion(
        called.tool,
        tool.target,
        _own(tool, arguments, called.arguments),
        called.timeout_ms,
        tool.result_chars if tool.shorten == "refuse" else tool.result_bytes,
        called.effect,
        idempotency_key=str(called.id),
        reconcile=tool.reconcile,
        concurrency=tool.concurrency,
        result_bytes=tool.result_bytes,
        shown_chars=tool.result_chars,
        shorten=tool.shorten,
        returns=tool.returns,
        context={
            "tenant": called.tenant,
            "session": called.session,
            "run": str(called.run),
            "agent": called.agent,
            "call": called.call,
            "traceparent": traceparent_of(called),
        },
    )


def _own(tool: Tool, arguments: dict[str, Any], text: str) -> str:
    """The arguments under the tool's own names; as the model wrote them where these are the same."""
    if not tool.names:
        return text or "{}"
    return json.dumps(
        {tool.names.get(name, name): value for name, value in arguments.items()}, ensure_ascii=False
    )


def tell(
    called: ToolCalled, answer: ToolAnswer | Failure | Uncertain, definitions: Definitions
) -> list[ToolReturned | ToolFailed | ToolUncertain | BreakerMoved]:
    """What became of the call: done, not done, or nobody knows."""
    return [_became(called, answer, definitions), *moves(called, answer)]


def _became(
    called: ToolCalled, answer: ToolAnswer | Failure | Uncertain, definitions: Definitions
) -> ToolReturned | ToolFailed | ToolUncertain:
    times = {
        "at": answer.at,
        "started_at": answer.started_at,
        "wait_ms": ms_between(answer.started_at, answer.at),
    }
    if isinstance(answer, ToolAnswer):
        tool = definitions.tool(called.tool, called.tool_version)
        tool = tool or UNKNOWN
        wrong = "" if answer.whole else broken(tool.returns, called.effect, answer.content)
        if wrong:
            return called.then(ToolFailed, reason="bad_result", detail=clean(wrong), **times)
        shown = (
            answer.content
            if len(answer.content) <= tool.result_chars
            else shortened(answer.content, tool.shorten, tool.result_chars, kept=False)
        )
        return called.then(
            ToolReturned, content=clean(shown), ends=answer.ends, whole=answer.whole, **times
        )
    if isinstance(answer, Uncertain):
        return called.then(ToolUncertain, detail=clean(answer.detail), **times)
    return called.then(
        ToolFailed, reason=label(answer.reason), detail=clean(answer.detail), **times
    )


def broken(returns: dict[str, Any] | None, effect: str, content: str) -> str:
    """Where a result breaks the tool's own schema of it; empty where it does not, or where there is
    none.
    """
    wrong = result_error(returns, content) if returns is not None else None
    if wrong and effect in ("once", "reconcilable"):
        return f"{wrong}. It was carried out, so it must not be called again for that"
    return wrong or ""
