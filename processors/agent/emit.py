"""Makes events of decisions. This is the only module of the agent that makes events and ids.

Every id derives from the event that was answered, the class of the new event and what tells it from
others of its class; so a replay makes the same ids. Two answers need an id in the state: that of a
sub-agent's request and that of a question to people. `with_ids` writes them into the pending calls.
"""

import json
from collections.abc import Iterable
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from processors.agent.calls.pending import (
    AwaitingApproval,
    AwaitingSubAgent,
    AwaitingUser,
    PendingCall,
)
from processors.agent.decisions import (
    AskApproval,
    AskModel,
    AskSubAgent,
    AskUser,
    CallTool,
    CancelSubAgent,
    CountWaitingRuns,
    Decision,
    FinishBlocked,
    FinishRun,
    RefuseApproval,
    RefuseSignal,
    ReportToParent,
    ReportWaiting,
    ResolveApproval,
    SearchKnowledge,
)
from processors.agent.state import Active, RunUsage, Session
from processors.common.text import label, ms_between
from processors.usage.metering import add_took, charge_of
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalRefused,
    ApprovalResolved,
    UserAsked,
)
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import (
    AgentRequested,
    PassagesAsked,
    RequestCleared,
    RunFinished,
    RunsHeld,
    ToolCalled,
)
from schemas.events.agent.signals import SignalRefused
from schemas.events.agent.subagents import ChildCancelled, ChildFinished, ChildHeld
from schemas.events.base import E, Event
from schemas.events.values import Took

AgentOutput = (
    ModelAsked
    | ToolCalled
    | PassagesAsked
    | AgentRequested
    | ApprovalAsked
    | ApprovalResolved
    | ApprovalRefused
    | UserAsked
    | SignalRefused
    | RunFinished
    | ChildFinished
    | ChildCancelled
    | ChildHeld
    | RunsHeld
)
"""All events that the agent writes."""
StepDecision = AskModel | CallTool | SearchKnowledge | AskApproval | AskUser
Ends = dict[UUID, RunFinished]
"""The ends that were emitted so far, by run: more follows from each."""

StepEvent = ModelAsked | ToolCalled | PassagesAsked | ApprovalAsked | UserAsked
STEP_EVENTS: dict[type[StepDecision], type[StepEvent]] = {
    AskModel: ModelAsked,
    CallTool: ToolCalled,
    SearchKnowledge: PassagesAsked,
    AskApproval: ApprovalAsked,
    AskUser: UserAsked,
}
"""Decisions whose fields are those of their event."""


def emit(cause: Event, decisions: Iterable[Decision]) -> list[AgentOutput]:
    """The events of these decisions, which `cause` led to, in their order."""
    events: list[AgentOutput] = []
    ends: Ends = {}
    for decision in decisions:
        event = _event_of(cause, decision, ends)
        if isinstance(event, RunFinished):
            ends[event.run] = event
        events.append(event)
    return events


def with_ids(session: Session, events: Iterable[AgentOutput]) -> Session:
    """The session, its pending calls with the ids of the events by which they were asked."""
    if not isinstance(session, Active):
        return session
    run = session.run.request.run
    ids: dict[str, UUID] = {}
    for event in events:
        if isinstance(event, ApprovalAsked | UserAsked) and event.run == run:
            ids[event.call] = event.id
        elif isinstance(event, AgentRequested) and event.parent and event.parent.run == run:
            ids[event.parent.call] = event.id
    if not ids:
        return session
    pending = tuple(_with_id(one, ids) for one in session.run.pending)
    return replace(session, run=replace(session.run, pending=pending))


def _with_id(call: PendingCall, ids: dict[str, UUID]) -> PendingCall:
    if call.call in ids and isinstance(call, AwaitingSubAgent | AwaitingApproval | AwaitingUser):
        return replace(call, id=ids[call.call])
    return call


def _event_of(cause: Event, decision: Decision, ends: Ends) -> AgentOutput:
    match decision:
        case AskModel() | CallTool() | SearchKnowledge() | AskApproval() | AskUser():
            return _step(cause, decision)
        case AskSubAgent():
            return _sub_agent_request(cause, decision)
        case FinishRun() | FinishBlocked():
            return _end(cause, decision)
        case ReportToParent() | CancelSubAgent() | ReportWaiting():
            return _report(cause, decision, ends)
        case ResolveApproval():
            return _resolution(cause, decision)
        case RefuseApproval(reason, detail):
            return cause.then(ApprovalRefused, reason=reason, detail=detail)
        case RefuseSignal(reason, detail):
            return cause.then(SignalRefused, reason=reason, detail=detail)
        case CountWaitingRuns(runs, waiting):
            return cause.then(RunsHeld, runs=runs, held=waiting)


def _of_run(
    cause: Event, kind: type[E], request: RequestCleared, nth: int | str, values: dict[str, Any]
) -> E:
    """An event of the run that began with this request. The cause may be of another run."""
    known = {
        "run": request.run,
        "agent": request.agent,
        "agent_version": request.agent_version,
        "user": request.user,
        "charge": charge_of(request.metadata),
    }
    known = {name: value for name, value in known.items() if name in kind.model_fields}
    return cause.then(kind, nth, **known, **values)


def _step(cause: Event, decision: StepDecision) -> StepEvent:
    values = {
        one.name: getattr(decision, one.name)
        for one in fields(decision)
        if one.name not in ("of", "nth")
    }
    return _of_run(cause, STEP_EVENTS[type(decision)], decision.of, decision.nth, values)


def _sub_agent_request(cause: Event, decision: AskSubAgent) -> AgentRequested:
    return cause.then(
        AgentRequested,
        decision.nth,
        agent=decision.agent,
        session="",
        user=decision.of.user,
        parent=decision.parent,
        text=decision.text,
        metadata=decision.of.metadata,
        traceparent=decision.traceparent,
    )


def _end(cause: Event, decision: FinishRun | FinishBlocked) -> RunFinished:
    """The one RunFinished of a run: its id derives from the run, too."""
    if isinstance(decision, FinishBlocked):
        blocked = decision.of
        return cause.then(
            RunFinished,
            blocked.run.hex,
            outcome="blocked",
            reason=blocked.rule,
            detail=blocked.detail,
            cost_usd=Decimal(0),
            started_at=blocked.at,
            wait_ms=0,
            total=Took(total_cost_usd=Decimal(0)),
            parent_run=blocked.parent.run if blocked.parent else None,
        )
    request = decision.of
    usage = decision.usage
    values = {
        "outcome": decision.outcome,
        "reason": label(decision.reason),
        "detail": decision.detail,
        "text": request.text,
        "answer": decision.answer,
        "model": usage.model,
        "model_calls": usage.model_calls,
        "tool_calls": usage.tool_calls,
        "tokens": usage.tokens,
        "cost_usd": usage.known_cost_usd,
        "unpriced_calls": usage.unpriced_calls,
        "started_at": request.at,
        "wait_ms": ms_between(request.at, cause.at),
        "traceparent": request.traceparent,
        "total": _total(usage),
        "prompt_version": decision.prompt_version,
        "parent_run": request.parent.run if request.parent else None,
        "not_undone": "\n".join(decision.not_undone),
        "bodies": json.dumps({"answer": decision.whole}) if decision.whole else "",
    }
    return _of_run(cause, RunFinished, request, request.run.hex, values)


def _total(usage: RunUsage) -> Took:
    own = Took(
        total_input_tokens=usage.tokens.input_tokens,
        total_output_tokens=usage.tokens.output_tokens,
        total_cost_usd=usage.known_cost_usd,
        total_unpriced_calls=usage.unpriced_calls,
    )
    return add_took(own, usage.sub_agents)


def _report(
    cause: Event, decision: ReportToParent | CancelSubAgent | ReportWaiting, ends: Ends
) -> ChildFinished | ChildCancelled | ChildHeld:
    """A report of a run to its parent or its sub-agent. What follows from an end has it as its
    cause.
    """
    match decision:
        case ReportToParent(run, parent):
            return ends[run].then(ChildFinished, parent=parent)
        case CancelSubAgent(run, sub_agent):
            return ends[run].then(ChildCancelled, sub_agent.hex, child=sub_agent)
        case ReportWaiting(request, parent, waiting):
            return cause.then(
                ChildHeld, request.run.hex, run=request.run, parent=parent, held=waiting
            )


def _resolution(cause: Event, decision: ResolveApproval) -> ApprovalResolved:
    approval = decision.approval
    values = {
        "approval": approval.id,
        "step": decision.step,
        "call": approval.call,
        "tool": approval.tool,
        "status": decision.status,
        "by": decision.by,
        "note": decision.note,
        "arguments": decision.arguments,
        "wait_ms": ms_between(approval.asked_at, cause.at),
    }
    return _of_run(cause, ApprovalResolved, decision.of, approval.id.hex, values)
