"""Sub-agents: an agent has another one do a part of its work, and learns of its end.

An agent is a tool of kind `agent`. Calling it makes a request of its own, in a session of its own,
which is admitted and screened like any other; its end comes back as the result of the call. Several
calls in one turn work side by side, a terminal one hands the conversation over, and when a run ends
its sub-agents that are still at work are cancelled.

What parent and sub-agent tell each other goes by way of their tenant, as they have different keys:
the functions from `hold` on are these steps.
"""

from collections.abc import Iterable
from dataclasses import replace

from processors.agent.calls.pending import AwaitingSubAgent
from processors.agent.decisions import (
    AskSubAgent,
    CancelSubAgent,
    Decision,
    FinishBlocked,
    FinishRun,
    ReportToParent,
    ReportWaiting,
)
from processors.agent.state import Active, ActiveRun, Session, agent_of
from processors.common.json_schema import InvalidValueError
from processors.common.text import clean, label, ms_between
from processors.tracing.spans import root_span
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import (
    AgentRequested,
    RequestCleared,
    RunCancelled,
    ToolFailed,
    ToolReturned,
)
from schemas.events.agent.subagents import CallHeld, ChildCancelled, ChildFinished, ChildHeld
from schemas.events.values import Parent, ToolRequest
from schemas.wire.codec import trace_of

REPORTS_KNOWN = 20


def ask_sub_agent(
    run: ActiveRun, request: ToolRequest, agent: str, text: str, definitions: Definitions
) -> AskSubAgent:
    """Ask a sub-agent. Raises InvalidValueError where the agent's limits.depth forbids another
    one.
    """
    asking = agent_of(run, definitions)
    asked = run.request
    depth = 1 + (asked.parent.depth if asked.parent else 0)
    if depth > asking.limits.depth:
        raise InvalidValueError(
            f"agents stand {depth - 1} deep already, which is limits.depth of agent "
            f"{asking.name!r}: do it without another agent"
        )
    parent = Parent(
        run=asked.run,
        session=asked.session,
        agent=asked.agent,
        agent_version=asked.agent_version,
        step=run.step,
        call=request.id,
        tool=request.name,
        depth=depth,
    )
    return AskSubAgent(asked, parent, agent, clean(text), _traceparent(asked))


def _traceparent(request: RequestCleared) -> str:
    """The sub-agent's spans stand in the parent's trace, below its root."""
    header = (request.traceparent or "").encode()
    trace = trace_of([("traceparent", header)]) or request.run.hex
    return f"00-{trace}-{root_span(request.run)}-01"


def too_many(run: ActiveRun, asked: int, definitions: Definitions) -> str | None:
    """Why no further sub-agent may be asked in a turn in which `asked` were; None where one may."""
    agent = agent_of(run, definitions)
    if asked < agent.limits.fan_out:
        return None
    return (
        f"{asked} agents were asked in this turn, which is limits.fan_out of agent "
        f"{agent.name!r}: ask the rest in the next turn"
    )


def reports_of_ends(
    before: Session, decisions: Iterable[Decision]
) -> tuple[ReportToParent | CancelSubAgent, ...]:
    """What the ends of runs mean for their parents and their sub-agents. `before` is the session
    before the event that ended them.
    """
    reports: list[ReportToParent | CancelSubAgent] = []
    for end in decisions:
        if not isinstance(end, FinishRun | FinishBlocked):
            continue
        run = end.of.run
        if end.of.parent:
            reports.append(ReportToParent(run, end.of.parent))
        if isinstance(before, Active) and run == before.run.request.run:
            reports += [
                CancelSubAgent(run, pending.id)
                for pending in before.run.unanswered
                if isinstance(pending, AwaitingSubAgent)
            ]
    return tuple(reports)


def reports_of_waiting(before: Session, after: Session) -> tuple[ReportWaiting, ...]:
    """Tells the parent when the run begins to wait for people only, and when it goes on."""
    if not isinstance(before, Active) or not isinstance(after, Active):
        return ()
    request = after.run.request
    if request.parent is None or before.run.request.run != request.run:
        return ()
    waits = after.run.paused_at is not None
    if waits == (before.run.paused_at is not None):
        return ()
    return (ReportWaiting(request, request.parent, waits),)


def note_waiting(session: Active, report: CallHeld) -> Active:
    """The session, knowing whether a sub-agent of its run waits for people."""
    run = session.run
    if run.request.run != report.run:
        return session
    for pending in run.pending:
        if not isinstance(pending, AwaitingSubAgent) or pending.id != report.child:
            continue
        if report.id not in pending.reports_known:
            known = (*pending.reports_known, report.id)[-REPORTS_KNOWN:]
            noted = replace(pending, waiting=report.held, reports_known=known)
            run = run.with_call(pending, noted)
    return replace(session, run=run)


def hold(report: ChildHeld) -> list[CallHeld]:
    """From the sub-agent's tenant to the session of its parent."""
    return [
        report.then(
            CallHeld,
            session=report.parent.session,
            run=report.parent.run,
            call=report.parent.call,
            child=report.run,
        )
    ]


def result(end: ChildFinished) -> list[ToolReturned | ToolFailed]:
    """A sub-agent's end, as the result of the call that asked for it. Only a completed run is a
    result, any other end is a failure.
    """
    call = end.parent
    common = {
        "session": call.session,
        "run": call.run,
        "agent": call.agent,
        "agent_version": call.agent_version,
        "step": call.step,
        "call": call.call,
        "tool": call.tool,
        "started_at": end.started_at,
        "wait_ms": ms_between(end.started_at, end.at),
        "total": end.total,
    }
    if end.outcome == "completed":
        return [end.then(ToolReturned, content=end.answer or "", **common)]
    reason = label(f"agent_{end.outcome}")
    detail = ": ".join(filter(None, (end.reason, end.detail)))
    return [end.then(ToolFailed, reason=reason, detail=detail, **common)]


def refused(request: AgentRequested, reason: str, detail: str) -> list[ToolFailed]:
    """The failed call of a sub-agent that was not admitted; nothing where no agent asked for it."""
    call = request.parent
    if call is None:
        return []
    return [
        request.then(
            ToolFailed,
            session=call.session,
            run=call.run,
            agent=call.agent,
            agent_version=call.agent_version,
            step=call.step,
            call=call.call,
            tool=call.tool,
            started_at=request.at,
            reason=label(f"agent_refused_{reason}"),
            detail=detail,
        )
    ]


def cancel(end: ChildCancelled) -> list[RunCancelled]:
    """Cancels a sub-agent's run, whose session is named after its request."""
    return [
        end.then(
            RunCancelled,
            run=end.child,
            session=str(end.child),
            reason=f"the run {end.run} that asked for it is over",
        )
    ]
