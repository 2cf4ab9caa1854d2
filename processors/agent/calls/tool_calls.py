"""Tool calls of a model's answer: which of them are made, and why the others are not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from processors.agent.calls import human_input, subagents
from processors.agent.calls.pending import (
    AnsweredCall,
    AwaitingApproval,
    AwaitingSubAgent,
    AwaitingTool,
    AwaitingUser,
    PendingCall,
)
from processors.agent.conversation.messages import NOT_CALLED, error_result
from processors.agent.decisions import (
    AskApproval,
    AskSubAgent,
    AskUser,
    CallDecision,
    CallTool,
    SearchKnowledge,
    ToolDecision,
)
from processors.agent.progress import DECLINED, must_stop, same_call
from processors.agent.state import ActiveRun, agent_of
from processors.common.json_schema import InvalidValueError, read_arguments
from processors.common.text import clean, compact
from schemas.definitions.kinds import Definitions, Tool
from schemas.definitions.tools import AgentTarget, SearchTarget
from schemas.events.agent.runs import AgentRequested, PassagesAsked, ToolCalled
from schemas.events.values import ToolRequest

CALLS_MAX = 64
CALL_ID_CHARS = 200
PASSAGES = 5
PASSAGES_MAX = 50

CallEvent = ToolCalled | PassagesAsked | AgentRequested
"""The events by which a call is made."""


@dataclass(frozen=True)
class PlannedCalls:
    """The calls of one turn. `repeated` names a tool that was called too often with the same
    arguments and the same result; then nothing is called.
    """

    run: ActiveRun
    decisions: tuple[CallDecision, ...] = ()
    repeated: str = ""


def wrong_with(requests: tuple[ToolRequest, ...]) -> str | None:
    """Why these calls cannot be told apart or carried out; None where they can."""
    ids = [request.id for request in requests]
    if len(ids) > CALLS_MAX:
        return f"the model asked for {len(ids)} calls at once, at most {CALLS_MAX} are allowed"
    if len(set(ids)) < len(ids) or not all(0 < len(call) <= CALL_ID_CHARS for call in ids):
        return (
            "the ids of the model's calls are not distinct texts of 1 to "
            f"{CALL_ID_CHARS} characters"
        )
    return None


def plan_calls(
    run: ActiveRun, requests: tuple[ToolRequest, ...], at: datetime, definitions: Definitions
) -> PlannedCalls:
    """Every request becomes a call or an error that the model is shown, in their order."""
    limit = agent_of(run, definitions).limits.repeats
    asked = Counter[str]()
    pending: list[PendingCall] = []
    decisions: list[CallDecision] = []
    for nth, request in enumerate(requests):
        if must_stop(run.repeats, request, limit):
            return PlannedCalls(run, repeated=request.name)
        asked[same_call(request)] += 1
        if limit is not None and asked[same_call(request)] >= limit:
            pending.append(AnsweredCall(request.id, request.name, DECLINED))
            continue
        try:
            decision = call_of(run, request, decisions, at, definitions)
        except InvalidValueError as unfit:
            error = error_result(NOT_CALLED, str(unfit))
            pending.append(AnsweredCall(request.id, request.name, error))
            continue
        decisions.append(replace(decision, nth=nth))
        pending.append(pending_for(decision, request.name, at))
    made = sum(isinstance(one, ToolDecision) for one in decisions)
    run = replace(counting(run, made), pending=tuple(pending))
    return PlannedCalls(run, tuple(decisions))


def counting(run: ActiveRun, calls: int) -> ActiveRun:
    """The run with so many more calls. One that waits for approval is counted when it is made."""
    usage = replace(run.usage, tool_calls=run.usage.tool_calls + calls)
    return replace(run, usage=usage)


def pending_for(decision: CallDecision, tool: str, at: datetime) -> PendingCall:
    """The call that waits for what was decided at `at`."""
    match decision:
        case AskApproval():
            return AwaitingApproval(
                decision.call, tool, decision.arguments, at, decision.expires_at
            )
        case AskUser():
            return AwaitingUser(decision.call, tool, decision.expires_at)
        case AskSubAgent():
            return AwaitingSubAgent(decision.call, tool)
        case CallTool() | SearchKnowledge():
            return AwaitingTool(decision.call, tool)


def call_of(
    run: ActiveRun,
    request: ToolRequest,
    before: Sequence[CallDecision],
    at: datetime,
    definitions: Definitions,
) -> CallDecision:
    """What a request for a call becomes: the call, or a question to people where it needs their
    approval or is one. `before` is what was decided in this turn already. Raises InvalidValueError,
    with what to change.
    """
    agent = agent_of(run, definitions)
    if request.name == human_input.ASK_USER and agent.ask_user:
        return human_input.question_of(run, request, agent, at, before)
    version = run.tool_versions.get(request.name)
    tool = None if version is None else definitions.tool(request.name, version)
    if tool is None:
        known = ", ".join(run.tool_versions) or "none"
        raise InvalidValueError(f"there is no tool of this name; the tools are: {known}")
    arguments = read_arguments(tool, request.arguments)
    if tool.approval and human_input.needs_approval(tool.approval, arguments):
        return human_input.approval_of(run, request, tool.approval, at)
    asked = sum(isinstance(one, AskSubAgent) for one in before)
    return make_call(run, request, tool, asked, definitions)


def make_call(
    run: ActiveRun, request: ToolRequest, tool: Tool, asked: int, definitions: Definitions
) -> ToolDecision:
    """The call of a tool. `asked` sub-agents were asked in this turn already. Raises
    InvalidValueError.
    """
    arguments = read_arguments(tool, request.arguments)
    if isinstance(tool.target, AgentTarget):
        wrong = subagents.too_many(run, asked, definitions)
        if wrong:
            raise InvalidValueError(wrong)
        task = arguments.get("task")
        text = task if isinstance(task, str) else compact(arguments)
        return subagents.ask_sub_agent(run, request, tool.target.agent, text, definitions)
    if isinstance(tool.target, SearchTarget):
        return _search(run, request, arguments)
    return CallTool(
        of=run.request,
        step=run.step,
        call=request.id,
        tool=request.name,
        tool_version=run.tool_versions[tool.name],
        arguments=request.arguments or "{}",
        effect=tool.effect,
        timeout_ms=tool.timeout_ms,
    )


def _search(run: ActiveRun, request: ToolRequest, arguments: dict[str, Any]) -> SearchKnowledge:
    query = arguments.get("query")
    if not isinstance(query, str) or not query.strip():
        raise InvalidValueError("a search needs a text `query`")
    limit = arguments.get("limit")
    if not isinstance(limit, int | float) or limit != limit:  # NaN is not equal to itself
        limit = PASSAGES
    return SearchKnowledge(
        of=run.request,
        step=run.step,
        call=request.id,
        tool=request.name,
        query=clean(query),
        limit=int(max(1, min(limit, PASSAGES_MAX))),  # 1e999 is infinite
    )
