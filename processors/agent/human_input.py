"""What does a run ask of people before it goes on: to agree to a call, or to answer a question?

A run that waits for people only is in phase `waiting`. That time is not counted in its
limits.seconds, it keeps nothing busy, it costs a row of state, and its place among the tenant's
concurrent_runs is free until it goes on.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from processors.agent.state import Pending, Phase, Run, Session
from processors.common.cel_expressions import BadExpression, value_of
from processors.common.json_schema import Unfit, read_json
from processors.common.text import clean, ms_between
from schemas.definitions.kinds import Agent, Tool
from schemas.events.agent.approvals import ApprovalAsked, ApprovalResolved, UserAsked
from schemas.events.agent.runs import RunFinished, RunsHeld
from schemas.events.base import Event
from schemas.events.values import ToolRequest, ToolSpec

ASK_USER = "ask_user"
ASK_USER_SPEC = ToolSpec(
    name=ASK_USER,
    parameters='{"type":"object","properties":{"question":{"type":"string"},"options":{"type":"array",'
    '"items":{"type":"string"},"description":"Answers to choose from, where there are such"}},"required":["question"]}',
    description="Ask the user one question and wait for the answer. Only for what you cannot find out in another way.",
)
OPTIONS_MAX = 50
DECIDED_REMEMBERED = 50


def specs(agent: Agent) -> tuple[ToolSpec, ...]:
    """The tools that an agent has besides those that are defined."""
    return (ASK_USER_SPEC,) if agent.ask_user and agent.pattern != "single" else ()


def needs_word(tool: Tool, arguments: dict[str, Any]) -> bool:
    """Does this call wait for somebody's word? Where it cannot be told, it does."""
    if tool.approval is None or not tool.approval.when:
        return tool.approval is not None
    try:
        return value_of(tool.approval.when, {"input": arguments}) is not False
    except BadExpression:
        return True


def approval_of(
    run: Run, event: Event, nth: int | str, request: ToolRequest, tool: Tool
) -> ApprovalAsked:
    """Ask for somebody's word on a call whose arguments have been checked."""
    wanted = tool.approval
    return run.says(
        event,
        ApprovalAsked,
        nth,
        step=run.step,
        call=request.id,
        tool=tool.name,
        approvers=wanted.by,
        tool_version=run.tool_versions[tool.name],
        arguments=request.arguments or "{}",
        override=wanted.override,
        expires_at=event.at + timedelta(seconds=wanted.timeout_s),
    )


def question_of(
    run: Run, event: Event, nth: int | str, request: ToolRequest, agent: Agent, before: list[Event]
) -> UserAsked:
    """Ask the user. Raises Unfit where there is no question, or one too many."""
    arguments = read_json(request.arguments)
    question, options = arguments.get("question"), arguments.get("options") or []
    if not isinstance(question, str) or not question.strip():
        raise Unfit("a question to the user needs a text `question`")
    if (
        not isinstance(options, list)
        or not all(isinstance(one, str) for one in options)
        or len(options) > OPTIONS_MAX
    ):
        raise Unfit(f"`options` is a list of at most {OPTIONS_MAX} texts")
    if any(isinstance(one, UserAsked) for one in before):
        raise Unfit("the user is asked something else already: ask one question at a time")
    return run.says(
        event,
        UserAsked,
        nth,
        step=run.step,
        call=request.id,
        question=clean(question),
        options=tuple(map(clean, options)),
        request=run.newest.run,
        expires_at=event.at + timedelta(seconds=agent.limits.waiting_seconds),
    )


def pending_of(made: ApprovalAsked | UserAsked, tool: str) -> Pending:
    """The call that waits for this."""
    if isinstance(made, ApprovalAsked):
        return Pending(
            made.call,
            tool,
            waits="approval",
            asked=made.id,
            asked_at=made.at,
            expires_at=made.expires_at,
            arguments=made.arguments,
        )
    return Pending(
        made.call, tool, waits="user", asked=made.id, asked_at=made.at, expires_at=made.expires_at
    )


def resolved(
    run: Run, event: Event, pending: Pending, status: str, **fields: Any
) -> ApprovalResolved:
    return run.says(
        event,
        ApprovalResolved,
        pending.asked.hex,
        approval=pending.asked,
        step=run.step,
        call=pending.call,
        tool=pending.tool,
        status=status,
        wait_ms=ms_between(pending.asked_at, event.at),
        **fields,
    )


def consequences(session: Session, event: Event, said: list[Event]) -> list[ApprovalResolved]:
    """Approvals that nobody needs any more, because their run is over. `session` is as it was
    before `event`.
    """
    run = session.run
    if run is None or not any(
        isinstance(one, RunFinished) and one.run == run.request.run for one in said
    ):
        return []
    done = {one.approval for one in said if isinstance(one, ApprovalResolved)}
    return [
        resolved(run, event, pending, "cancelled")
        for pending in run.unanswered("approval")
        if pending.asked not in done
    ]


def places(session: Session, event: Event) -> tuple[Session, list[RunsHeld]]:
    """Tells the tenant how many runs of the session wait for people or for a time only: those that
    the run under way serves, and the requests that wait for its end.
    """
    waits = session.phase is Phase.WAITING
    held = len(session.run.serves) + len(session.waiting) if waits and session.run else 0
    if held == session.held:
        return session, []
    return replace(session, held=held), [
        event.then(RunsHeld, runs=abs(held - session.held), held=held > session.held)
    ]


def remembered(decided: dict[str, str], said: list[Event]) -> dict[str, str]:
    """The last approvals that were resolved: what became of each, and the event that did it."""
    new = {
        one.approval.hex: f"{one.status}/{one.cause.hex}"
        for one in said
        if isinstance(one, ApprovalResolved)
    }
    return dict(list((decided | new).items())[-DECIDED_REMEMBERED:]) if new else decided
