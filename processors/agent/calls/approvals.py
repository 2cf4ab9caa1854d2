"""Approvals: what people's decisions, and their silence, do to the run that waits for them.

A decision that cannot count changes nothing and is answered with an ApprovalRefused that says why.
No decision in time is a no.
"""

from dataclasses import replace
from datetime import datetime

from processors.agent.calls.pending import (
    AnsweredCall,
    AwaitingApproval,
    AwaitingPeople,
    AwaitingSubAgent,
    AwaitingTool,
    AwaitingUser,
)
from processors.agent.calls.tool_calls import counting, make_call
from processors.agent.conversation.messages import NOT_CALLED, error_result
from processors.agent.decisions import (
    ApprovalRefusal,
    AskSubAgent,
    Decided,
    RefuseApproval,
    ResolveApproval,
)
from processors.agent.model_replies import go_on_with_results
from processors.agent.modes import WorkflowMode
from processors.agent.run_end import end_run
from processors.agent.state import Active, ActiveRun, Session, agent_of
from processors.agent.workflow import run as workflow
from processors.common.json_schema import InvalidValueError, read_arguments
from processors.common.text import clean
from schemas.definitions.kinds import Definitions, Tool
from schemas.definitions.limits import Approval
from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.agent.runs import RequestCleared
from schemas.events.base import UnprocessableError
from schemas.events.values import ToolRequest

REFUSAL_OF_STATUS: dict[str, ApprovalRefusal] = {"expired": "expired", "cancelled": "run_over"}


def decide(session: Session, decision: ApprovalDecided, definitions: Definitions) -> Decided:
    """Approve or deny the call that waits for it."""
    pending = _waiting_for(session, decision)
    if pending is None or not isinstance(session, Active):
        return session, _too_late(session, decision)
    run = session.run
    tool, approval = _tool_of(run, pending, definitions)
    refusal = _refusal(decision, pending, tool, approval)
    if refusal:
        return session, (refusal,)
    approved = decision.decision == "approve"
    resolved = ResolveApproval(
        run.request,
        run.step,
        pending,
        status="approved" if approved else "denied",
        by=decision.by,
        note=decision.note,
        arguments=decision.arguments if approved else None,
    )
    if approved:
        session, more = _call(session, decision, pending, tool, definitions)
    else:
        note = f": {clean(decision.note)}" if decision.note else ""
        denied = _denied(f"somebody who has to agree said no{note}")
        session, more = go_on(_answered(session, pending, denied), decision.at, definitions)
    return session, (resolved, *more)


def _waiting_for(session: Session, decision: ApprovalDecided) -> AwaitingApproval | None:
    """The call that waits for this decision."""
    for pending in session.run.unanswered if isinstance(session, Active) else ():
        if isinstance(pending, AwaitingApproval) and pending.id == decision.approval:
            return pending
    return None


def _too_late(session: Session, decision: ApprovalDecided) -> tuple[RefuseApproval, ...]:
    """Nothing waits for this decision. The same decision once more is not answered again."""
    status, _, by = session.resolved.get(decision.approval.hex, "").partition("/")
    if by == decision.id.hex:
        return ()
    if not status:
        detail = (
            "no approval of this id waits in this session: see "
            "that the session is the run's, and that the id is that of the ApprovalAsked"
        )
        return (RefuseApproval("unknown", detail),)
    reason = REFUSAL_OF_STATUS.get(status, "already_decided")
    return (RefuseApproval(reason, f"it is {status} already: the first word counts"),)


def _tool_of(
    run: ActiveRun, pending: AwaitingApproval, definitions: Definitions
) -> tuple[Tool, Approval]:
    """The tool of a call, in the run's version, and who must agree to it."""
    tool = definitions.tool(pending.tool, run.tool_versions.get(pending.tool, 0))
    if tool is None or tool.approval is None:
        raise UnprocessableError(f"tool {pending.tool!r} is not defined as it was: apply it again")
    return tool, tool.approval


def _refusal(
    decision: ApprovalDecided, pending: AwaitingApproval, tool: Tool, wanted: Approval
) -> RefuseApproval | None:
    """Why this decision does not count; None where it does."""
    if decision.by not in wanted.by and not set(decision.roles) & set(wanted.by):
        detail = f"tool {tool.name!r} may be approved by: {', '.join(wanted.by)}"
        return RefuseApproval("not_an_approver", detail)
    if decision.at > pending.expires_at:
        detail = f"it could be decided until {pending.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        return RefuseApproval("expired", detail)
    if decision.decision == "deny" or decision.arguments is None:
        return None
    if not wanted.override:
        detail = f"the arguments of tool {tool.name!r} may not be changed: approve or deny them"
        return RefuseApproval("no_override", detail)
    try:
        read_arguments(tool, decision.arguments)
    except InvalidValueError as unfit:
        return RefuseApproval("bad_arguments", str(unfit))
    return None


def _call(
    session: Active,
    decision: ApprovalDecided,
    pending: AwaitingApproval,
    tool: Tool,
    definitions: Definitions,
) -> Decided:
    """Make the call at last. The model is told where its arguments were changed."""
    run = session.run
    arguments = pending.arguments
    remark = ""
    if decision.arguments is not None:
        arguments = decision.arguments
        remark = f"(Somebody who has to agree changed the arguments to {arguments})\n"
    asked = sum(isinstance(one, AwaitingSubAgent) for one in run.pending)
    request = ToolRequest(id=pending.call, name=pending.tool, arguments=arguments)
    try:
        made = make_call(run, request, tool, asked, definitions)
    except InvalidValueError as unfit:
        error = error_result(NOT_CALLED, str(unfit))
        return go_on(_answered(session, pending, error), decision.at, definitions)
    awaiting = AwaitingSubAgent if isinstance(made, AskSubAgent) else AwaitingTool
    run = run.with_call(pending, awaiting(pending.call, pending.tool, remark))
    return replace(session, run=counting(run, 1)), (made,)


def question_for(run: ActiveRun, request: RequestCleared) -> AwaitingUser | None:
    """The question that this request answers: one of its own agent, asked before it came."""
    if request.agent != run.request.agent:
        return None
    return next((one for one in run.unanswered if isinstance(one, AwaitingUser)), None)


def answer(
    session: Active, request: RequestCleared, question: AwaitingUser, definitions: Definitions
) -> Decided:
    """The user's answer is the result of the call that asked. Its request has the outcome of the
    run that it serves.
    """
    run = replace(session.run, answered_by=(*session.run.answered_by, request))
    answered = _answered(replace(session, run=run), question, request.text)
    return go_on(answered, request.at, definitions)


def expire(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Nobody decided or answered in time: calls are denied, and a run whose user is gone is
    stopped.
    """
    run = session.run
    resolved: list[ResolveApproval] = []
    for pending in run.unanswered:
        if isinstance(pending, AwaitingUser) and pending.expires_at <= at:
            seconds = agent_of(run, definitions).limits.waiting_seconds
            detail = (
                f"the user did not answer within {seconds:g} seconds: "
                "limits.waiting_seconds of the agent"
            )
            after, ended = end_run(session, "stopped", "waiting_seconds", detail)
            return after, (*resolved, *ended)
        if isinstance(pending, AwaitingApproval) and pending.expires_at <= at:
            resolved.append(ResolveApproval(run.request, run.step, pending, "expired"))
            session = _answered(session, pending, _denied("nobody agreed in time"))
    if not resolved:
        return session, ()
    after, more = go_on(session, at, definitions)
    return after, (*resolved, *more)


def go_on(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Go on without the call, as whoever decided it does: the model, or the graph of a workflow."""
    if isinstance(session.run.mode, WorkflowMode):
        return workflow.resume(session, at, definitions)
    return go_on_with_results(session, at, definitions)


def _denied(why: str) -> str:
    return error_result("denied", f"this was not done, {why}. Do not ask for the same again")


def _answered(session: Active, pending: AwaitingPeople, content: str) -> Active:
    answered = AnsweredCall(pending.call, pending.tool, content)
    return replace(session, run=session.run.with_call(pending, answered))
