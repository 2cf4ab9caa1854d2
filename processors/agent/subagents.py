"""How does one agent have another do a part of its work, and how does it hear of the end?

An agent is a tool of kind `agent`: calling it makes a request of its own, in a session of its own,
which is admitted and screened like any other. Its end comes back as the result of the call. Several
calls in one turn work side by side, a terminal one hands the conversation over, and an end of the
parent is an end of the children that still work.
"""

from dataclasses import replace
from typing import Any

from processors.agent.state import Run, Session
from processors.common.json_schema import Unfit
from processors.common.text import clean, compact, label, ms_between
from processors.tracing.spans import root_span
from schemas.definitions.kinds import Definitions, Tool
from schemas.events.agent.runs import (
    AgentRequested,
    RequestBlocked,
    RequestCleared,
    RunCancelled,
    RunFinished,
    ToolFailed,
    ToolReturned,
)
from schemas.events.agent.subagents import CallHeld, ChildCancelled, ChildFinished, ChildHeld
from schemas.events.base import Event
from schemas.events.values import Parent, ToolRequest
from schemas.wire.codec import trace_of


def request_of(
    run: Run,
    event: Event,
    nth: int | str,
    request: ToolRequest,
    tool: Tool,
    arguments: dict[str, Any],
    given: Definitions,
) -> AgentRequested:
    """The request that a call makes. Raises Unfit where the agent's limits forbid another child."""
    agent = given.agent(run.request.agent, run.request.agent_version)
    depth = 1 + (run.request.parent.depth if run.request.parent else 0)
    if agent and depth > agent.limits.depth:
        raise Unfit(
            f"agents stand {depth - 1} deep already, which is limits.depth of agent {agent.name!r}: do it "
            "without another agent"
        )
    task = arguments.get("task")
    asked = run.request
    parent = Parent(
        run=asked.run,
        session=asked.session,
        agent=asked.agent,
        agent_version=asked.agent_version,
        step=run.step,
        call=request.id,
        tool=tool.name,
        depth=depth,
    )
    return event.then(
        AgentRequested,
        nth,
        agent=tool.agent,
        session="",
        user=run.request.user,
        parent=parent,
        text=clean(task if isinstance(task, str) else compact(arguments)),
        metadata=run.request.metadata,
        traceparent=_traceparent(run),
    )


def _traceparent(run: Run) -> str:
    """The child's spans stand in the parent's trace, below its root."""
    given = run.request.traceparent or ""
    trace = trace_of([("traceparent", given.encode())]) or run.request.run.hex
    return f"00-{trace}-{root_span(run.request.run)}-01"


def too_many(run: Run, begun: int, given: Definitions) -> str | None:
    """Why no further child may begin in a turn where `begun` have begun; None where one may."""
    agent = given.agent(run.request.agent, run.request.agent_version)
    if agent and begun >= agent.limits.fan_out:
        return (
            f"{begun} agents were asked in this turn, which is limits.fan_out of agent {agent.name!r}: ask the rest "
            "in the next turn"
        )
    return None


def consequences(
    session: Session, event: Event, said: list[Event]
) -> list[ChildFinished | ChildCancelled]:
    """What the ends of runs mean for their parents and their children. `session` is as it was
    before `event`.
    """
    requests = [*([session.run.request] if session.run else []), *session.waiting]
    if isinstance(event, RequestCleared | RequestBlocked):
        requests.append(event)
    parents = {request.run: request.parent for request in requests if request.parent}
    told: list[ChildFinished | ChildCancelled] = []
    for finished in (one for one in said if isinstance(one, RunFinished)):
        if finished.run in parents:
            told.append(finished.then(ChildFinished, parent=parents[finished.run]))
        if session.run and finished.run == session.run.request.run:
            told += [
                finished.then(ChildCancelled, pending.child.hex, child=pending.child)
                for pending in session.run.pending
                if pending.child and pending.content is None
            ]
    return told


def held(before: Session, after: Session, event: Event) -> list[ChildHeld]:
    """Tells the run above when this one begins to wait for people only, and when it goes on."""
    was, run = before.run, after.run
    if not (was and run and was.request.run == run.request.run and run.request.parent):
        return []
    if (was.paused_at is None) == (run.paused_at is None):
        return []
    return [
        event.then(
            ChildHeld,
            run.request.run.hex,
            run=run.request.run,
            parent=run.request.parent,
            held=run.paused_at is not None,
        )
    ]


def hold(child: ChildHeld) -> list[CallHeld]:
    """From the child's tenant to the session of its parent."""
    return [
        child.then(
            CallHeld,
            session=child.parent.session,
            run=child.parent.run,
            call=child.parent.call,
            child=child.run,
        )
    ]


def note(session: Session, told: CallHeld) -> Session:
    """The run knows whether a call of it is held up by people. A call that is answered is held up
    by nobody.
    """
    run = session.run
    if run.request.run != told.run:
        return session
    pending = tuple(
        replace(one, held=told.held) if one.child == told.child and one.content is None else one
        for one in run.pending
    )
    return replace(session, run=replace(run, pending=pending))


def result(child: ChildFinished) -> list[ToolReturned | ToolFailed]:
    """A child's end, as the result of the call that asked for it. Only what it completed is a
    result.
    """
    of = child.parent
    place = {
        "session": of.session,
        "run": of.run,
        "agent": of.agent,
        "agent_version": of.agent_version,
        "step": of.step,
        "call": of.call,
        "tool": of.tool,
        "started_at": child.started_at,
        "wait_ms": ms_between(child.started_at, child.at),
        "total": child.total,
    }
    if child.outcome == "completed":
        return [child.then(ToolReturned, content=child.answer or "", **place)]
    return [
        child.then(
            ToolFailed,
            **place
            | {
                "reason": label(f"agent_{child.outcome}"),
                "detail": ": ".join(filter(None, (child.reason, child.detail))),
            },
        )
    ]


def refused(asked: AgentRequested, reason: str, detail: str) -> list[ToolFailed]:
    """What the parent of a request that was not admitted is told; nothing where it has none."""
    of = asked.parent
    if of is None:
        return []
    return [
        asked.then(
            ToolFailed,
            session=of.session,
            run=of.run,
            agent=of.agent,
            agent_version=of.agent_version,
            step=of.step,
            call=of.call,
            tool=of.tool,
            started_at=asked.at,
            reason=label(f"agent_refused_{reason}"),
            detail=detail,
        )
    ]


def cancel(child: ChildCancelled) -> list[RunCancelled]:
    """A child has a session of its own, named after its request."""
    return [
        child.then(
            RunCancelled,
            run=child.child,
            session=str(child.child),
            reason=f"the run {child.run} that asked for it is over",
        )
    ]
