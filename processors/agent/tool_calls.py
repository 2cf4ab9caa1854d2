"""Which tool calls does a model's answer lead to, and which of its wishes cannot be granted?"""

import hashlib
import json
from dataclasses import dataclass, replace

from processors.agent import human_input, subagents
from processors.agent.conversation.messages import NOT_CALLED, error_result
from processors.agent.state import Pending, Run, agent_of
from processors.common.json_schema import Unfit, read_arguments
from processors.common.text import clean, compact
from schemas.definitions.kinds import Definitions, Tool
from schemas.events.agent.approvals import ApprovalAsked, UserAsked
from schemas.events.agent.models import ResponseCleared
from schemas.events.agent.runs import AgentRequested, PassagesAsked, ToolCalled
from schemas.events.base import Event
from schemas.events.values import ToolRequest

CALLS_MAX = 64
CALL_ID_CHARS = 200
REPEATS_MAX = 3
PASSAGES, PASSAGES_MAX = 5, 50


Made = ToolCalled | PassagesAsked | AgentRequested
Wished = Made | ApprovalAsked | UserAsked


@dataclass(frozen=True)
class Plan:
    """What is called, and what the model is told at once. `repeated` names a call made too often."""

    run: Run
    events: tuple[Wished, ...]
    repeated: str = ""


def wrong_with(requests: tuple[ToolRequest, ...]) -> str | None:
    """Why these calls cannot be told apart or carried out; None where they can."""
    ids = [request.id for request in requests]
    if len(ids) > CALLS_MAX:
        return f"the model asked for {len(ids)} calls at once, at most {CALLS_MAX} are allowed"
    if len(set(ids)) < len(ids) or not all(0 < len(call) <= CALL_ID_CHARS for call in ids):
        return f"the ids of the model's calls are not distinct texts of 1 to {CALL_ID_CHARS} characters"
    return None


def plan_calls(run: Run, said: ResponseCleared, given: Definitions) -> Plan:
    """Every wish becomes a call, or an error that the model is told; in the order of the wishes."""
    repeats, pending, events = dict(run.repeats), [], []
    for nth, request in enumerate(said.tool_calls):
        same = same_call(request)
        repeats[same] = repeats.get(same, 0) + 1
        if repeats[same] >= REPEATS_MAX:
            return Plan(run, (), repeated=request.name)
        try:
            made = call_of(run, said, nth, request, given, events)
            events.append(made)
            pending.append(pending_for(made, request))
        except Unfit as unfit:
            pending.append(Pending(request.id, request.name, error_result(NOT_CALLED, str(unfit))))
    run = replace(
        run,
        pending=tuple(pending),
        repeats=repeats,
        tool_calls=run.tool_calls + sum(isinstance(made, Made) for made in events),
    )
    return Plan(run, tuple(events))


def same_call(request: ToolRequest) -> str:
    """Equal for calls of one tool with equal arguments, however they are written."""
    try:
        arguments = compact(json.loads(request.arguments))
    except (ValueError, RecursionError):
        arguments = request.arguments
    return hashlib.sha256(f"{request.name}\n{arguments}".encode("utf-8", "replace")).hexdigest()[
        :16
    ]


def pending_for(made: Wished, request: ToolRequest) -> Pending:
    """The call that waits for what was made of it."""
    if isinstance(made, ApprovalAsked | UserAsked):
        return human_input.pending_of(made, request.name)
    return Pending(
        request.id, request.name, child=made.id if isinstance(made, AgentRequested) else None
    )


def call_of(
    run: Run,
    said: Event,
    nth: int | str,
    request: ToolRequest,
    given: Definitions,
    before: list[Event],
) -> Wished:
    """The event that a wish becomes: a call, or a question to people where the call needs their
    word, or is one. Raises Unfit with what to change.
    """
    agent = agent_of(run, given)
    if request.name == human_input.ASK_USER and agent and agent.ask_user:
        return human_input.question_of(run, said, nth, request, agent, before)
    version = run.tool_versions.get(request.name)
    tool = None if version is None else given.tool(request.name, version)
    if tool is None:
        known = ", ".join(run.tool_versions) or "none"
        raise Unfit(f"there is no tool of this name; the tools are: {known}")
    if human_input.needs_word(tool, read_arguments(tool, request.arguments)):
        return human_input.approval_of(run, said, nth, request, tool)
    return make_call(
        run,
        said,
        nth,
        request,
        tool,
        given,
        sum(isinstance(event, AgentRequested) for event in before),
    )


def make_call(
    run: Run,
    event: Event,
    nth: int | str,
    request: ToolRequest,
    tool: Tool,
    given: Definitions,
    begun: int,
) -> Made:
    """The call of a tool, caused by `event`; `begun` children of this turn work already. Raises
    Unfit.
    """
    arguments = read_arguments(tool, request.arguments)
    if tool.via == "agent":
        wrong = subagents.too_many(run, begun, given)
        if wrong:
            raise Unfit(wrong)
        return subagents.request_of(run, event, nth, request, tool, arguments, given)
    if tool.via == "search":
        query, limit = arguments.get("query"), arguments.get("limit", PASSAGES)
        if not isinstance(query, str) or not query.strip():
            raise Unfit("a search needs a text `query`")
        limit = (
            min(limit, PASSAGES_MAX)
            if isinstance(limit, int | float) and limit == limit
            else PASSAGES
        )  # 1e999 too
        return run.says(
            event,
            PassagesAsked,
            nth,
            step=run.step,
            call=request.id,
            tool=request.name,
            query=clean(query),
            limit=int(max(1, limit)),
        )
    return run.says(
        event,
        ToolCalled,
        nth,
        step=run.step,
        call=request.id,
        tool=request.name,
        tool_version=run.tool_versions[tool.name],
        arguments=request.arguments or "{}",
        effect=tool.effect,
        timeout_ms=tool.timeout_ms,
    )
