"""Human input: a run asks people to approve a call, or its user a question.

A run that waits for people only is in phase `waiting`. That time is not counted in its
limits.seconds, it keeps no worker busy, it costs a row of state, and its place among the tenant's
concurrent_runs is free until it goes on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from processors.agent.calls.pending import AwaitingApproval
from processors.agent.decisions import (
    AskApproval,
    AskUser,
    CallDecision,
    CountWaitingRuns,
    Decision,
    FinishRun,
    ResolveApproval,
)
from processors.agent.state import Active, ActiveRun, Phase, Session
from processors.common.cel_expressions import ExpressionError, value_of
from processors.common.json_schema import InvalidValueError, read_json
from processors.common.text import clean
from schemas.definitions.kinds import Agent
from schemas.definitions.limits import Approval
from schemas.events.values import ToolRequest, ToolSpec

ASK_USER = "ask_user"
ASK_USER_SPEC = ToolSpec(
    name=ASK_USER,
    parameters='{"type":"object","properties":{"question":{"type":"string"},'
    '"options":{"type":"array","items":{"type":"string"},'
    '"description":"Answers to choose from, where there are such"}},"required":["question"]}',
    description="Ask the user one question and wait for the answer. "
    "Only for what you cannot find out in another way.",
)
OPTIONS_MAX = 50
RESOLVED_REMEMBERED = 50


def specs(agent: Agent) -> tuple[ToolSpec, ...]:
    """The tools that an agent has besides those that are defined."""
    return (ASK_USER_SPEC,) if agent.ask_user and agent.pattern != "single" else ()


def needs_approval(approval: Approval, arguments: dict[str, Any]) -> bool:
    """Whether a call with these arguments waits for approval. It does where that cannot be told."""
    if not approval.when:
        return True
    try:
        return value_of(approval.when, {"input": arguments}) is not False
    except ExpressionError:
        return True


def approval_of(
    run: ActiveRun, request: ToolRequest, approval: Approval, at: datetime
) -> AskApproval:
    """Ask for approval of a call whose arguments have been checked."""
    return AskApproval(
        of=run.request,
        step=run.step,
        call=request.id,
        tool=request.name,
        tool_version=run.tool_versions[request.name],
        arguments=request.arguments or "{}",
        approvers=approval.by,
        override=approval.override,
        expires_at=at + timedelta(seconds=approval.timeout_s),
    )


def question_of(
    run: ActiveRun,
    request: ToolRequest,
    agent: Agent,
    at: datetime,
    before: Sequence[CallDecision],
) -> AskUser:
    """Ask the user. Raises InvalidValueError where there is no question, or one too many."""
    arguments = read_json(request.arguments)
    question = arguments.get("question")
    if not isinstance(question, str) or not question.strip():
        raise InvalidValueError("a question to the user needs a text `question`")
    options = _options(arguments)
    if any(isinstance(one, AskUser) for one in before):
        raise InvalidValueError(
            "the user is asked something else already: ask one question at a time"
        )
    return AskUser(
        of=run.request,
        step=run.step,
        call=request.id,
        question=clean(question),
        options=options,
        request=run.newest.run,
        expires_at=at + timedelta(seconds=agent.limits.waiting_seconds),
    )


def _options(arguments: dict[str, Any]) -> tuple[str, ...]:
    options = arguments.get("options") or []
    wrong = not isinstance(options, list) or len(options) > OPTIONS_MAX
    if wrong or not all(isinstance(one, str) for one in options):
        raise InvalidValueError(f"`options` is a list of at most {OPTIONS_MAX} texts")
    return tuple(clean(one) for one in options)


def cancelled_approvals(
    before: Session, decisions: Iterable[Decision]
) -> tuple[ResolveApproval, ...]:
    """The approvals that nobody needs any more, because their run ended. `before` is the session
    before the event that ended it.
    """
    if not isinstance(before, Active):
        return ()
    run = before.run
    ended: set[UUID] = set()
    resolved: set[UUID] = set()
    for one in decisions:
        if isinstance(one, FinishRun):
            ended.add(one.of.run)
        elif isinstance(one, ResolveApproval):
            resolved.add(one.approval.id)
    if run.request.run not in ended:
        return ()
    return tuple(
        ResolveApproval(run.request, run.step, pending, "cancelled")
        for pending in run.unanswered
        if isinstance(pending, AwaitingApproval) and pending.id not in resolved
    )


def count_waiting_runs(session: Session) -> tuple[Session, tuple[CountWaitingRuns, ...]]:
    """Count the runs of the session that wait for people or for a time only, and report a change to
    the tenant: those that the run under way serves, and the requests that wait for its end.
    """
    waiting = 0
    if session.phase is Phase.WAITING:
        waiting = len(session.serves) + len(session.queue)
    change = waiting - session.waiting_runs
    if change == 0:
        return session, ()
    session = replace(session, waiting_runs=waiting)
    return session, (CountWaitingRuns(abs(change), waiting=change > 0),)


def remember_resolved(session: Session, cause: UUID, decisions: Iterable[Decision]) -> Session:
    """The session, knowing what became of the approvals that the event `cause` resolved."""
    new = {
        one.approval.id.hex: f"{one.status}/{cause.hex}"
        for one in decisions
        if isinstance(one, ResolveApproval)
    }
    if not new:
        return session
    resolved = list((session.resolved | new).items())[-RESOLVED_REMEMBERED:]
    return replace(session, resolved=dict(resolved))
