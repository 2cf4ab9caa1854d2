"""How does a run go on whose agent is a workflow: which nodes begin, what came of them, what is
undone at the end?

The graph takes the place of the model: it decides the next calls. They are pending calls of the
session as any others, so tools, children, cancelling, limits and tracing are those of every agent.
A node that fails without `on_error` ends the workflow: nothing new begins, what works comes to its
end, and what was done is undone in reverse order, one after the other. A run that is cancelled, or
out of time, ends at once; its end says what is not undone.
"""

from dataclasses import replace

from processors.agent.model_replies import counted, with_others
from processors.agent.progress import Failing, Flow, Spot, Undo
from processors.agent.state import Moved, Run, Session, agent_of, end_run
from processors.agent.structured_output import read_output
from processors.agent.workflow import nodes
from processors.agent.workflow.graph import begin, end, entered, settle, usable
from processors.agent.workflow.nodes import UNDO, Begun, known, text_of, valued
from processors.common.cel_expressions import BadExpression
from processors.common.json_schema import Unfit
from processors.common.text import cut
from schemas.definitions.kinds import Definitions
from schemas.definitions.patterns import Node, Workflow
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import ResultCleared, ToolFailed, ToolUncertain, Woke
from schemas.events.base import Event
from schemas.events.values import Message

RESULTS_CHARS_MAX = 750_000
DETAIL_CHARS = 1_000
AT_ONCE_MAX = 500
TURNS = f"more than {AT_ONCE_MAX} nodes were done without waiting for anything: lower the bounds of the loops"
Answer = (
    ResultCleared | ToolFailed | ToolUncertain | ResponseCleared | ResponseBlocked | ModelFailed
)


def start(session: Session, event: Event, given: Definitions) -> Moved:
    """The first nodes of a run that begins."""
    workflow = agent_of(session.run, given).workflow
    return _go_on(_with(session, entered(Flow(), workflow.start)), event, given)


def answered(session: Session, answer: Answer, given: Definitions) -> Moved:
    """What a call came to: of a node, or of what undoes one."""
    run = session.run
    pending = next((one for one in run.pending if nodes.answers(one, answer, run)), None)
    if pending is None:
        return session, []
    session = replace(
        session, run=replace(run, pending=tuple(one for one in run.pending if one != pending))
    )
    if isinstance(answer, ResponseCleared | ResponseBlocked | ModelFailed):
        session = counted(session, answer)
    else:
        session = with_others(session, answer)
    name, undoes = _node_of(pending.call)
    said, trouble = nodes.outcome(answer)
    if undoes:
        return _go_on(_undone(session, trouble), answer, given)
    if isinstance(answer, ToolUncertain):
        session = _noted(session, Undo(name, cannot="nobody knows whether it was done"))
    if trouble:
        return _go_on(_failed(session, given, name, trouble), answer, given)
    return _go_on(_done(session, given, name, said), answer, given)


def resumed(session: Session, event: Event, given: Definitions) -> Moved:
    """Calls that nobody allowed: their nodes failed, or what they would have undone is not."""
    for pending in (one for one in session.run.pending if one.content is not None):
        run = session.run
        session = replace(
            session, run=replace(run, pending=tuple(one for one in run.pending if one != pending))
        )
        name, undoes = _node_of(pending.call)
        why = nodes.refusal(pending.content)
        session = _undone(session, why) if undoes else _failed(session, given, name, why)
    return _go_on(session, event, given)


def woken(session: Session, woke: Woke, given: Definitions) -> Moved:
    """Waits that are over, and events that did not come in time. Nothing where the time is for
    something else.
    """
    spots = {} if session.run.flow.failing else session.run.flow.spots
    due = [
        name
        for name, spot in spots.items()
        if spot.state == "open" and spot.due and spot.due <= woke.at
    ]
    for name in sorted(due):
        event = session.run.flow.spots[name].event
        session = (
            _failed(session, given, name, f"timeout: no signal {event!r} came in time")
            if event
            else _done(session, given, name, "")
        )
    return _go_on(session, woke, given) if due else (session, [])


def signalled(session: Session, event: Event, given: Definitions) -> Moved:
    """Signals that came, taken by the nodes that wait for them."""
    taken, spots = False, {} if session.run.flow.failing else session.run.flow.spots
    for name, spot in sorted(spots.items(), key=lambda one: one[0]):
        signal = next((one for one in session.signals if one.name == spot.event), None)
        if spot.state == "open" and spot.event and signal:
            session = replace(
                session, signals=tuple(one for one in session.signals if one != signal)
            )
            session, taken = _done(session, given, name, signal.payload), True
    return _go_on(session, event, given) if taken else (session, [])


def _go_on(session: Session, event: Event, given: Definitions) -> Moved:
    """Begin what can begin now; at the end of all ways the run is over."""
    workflow, events, begun = agent_of(session.run, given).workflow, [], 0
    while session.run.flow.failing is None:
        flow, ready = settle(workflow, session.run.flow)
        session = _with(session, flow)
        if not ready:
            break
        begun += len(ready)
        if begun > AT_ONCE_MAX:
            session = _with(session, replace(flow, failing=Failing("stopped", "loop", TURNS)))
            break
        for name in ready:
            session, made = _begun(session, event, given, name, workflow.nodes[name], events)
            events += made
            if session.run.flow.failing:
                break
    session, made = _rested(session, event, given, workflow)
    return session, [*events, *made]


def _begun(
    session: Session, event: Event, given: Definitions, name: str, node: Node, before: list[Event]
) -> Moved:
    flow = begin(session.run.flow, name, Spot("open"))
    session = _with(session, flow)
    try:
        begun: Begun = nodes.begun(session, event, given, name, node, before)
    except BadExpression as bad:
        return _failed(session, given, name, f"bad_expression: {bad}"), []
    except nodes.NotBegun as no:
        return _failed(session, given, name, str(no)), []
    except nodes.LimitReached as limit:
        failing = Failing("stopped", limit.name, limit.sentence)
        return _with(session, replace(flow, failing=failing)), []
    if begun.gone is not None:
        workflow = agent_of(session.run, given).workflow
        return _with(session, end(flow, workflow, name, "done", begun.gone)), []
    session = replace(session, run=begun.run)
    if begun.spot:
        session = _with(session, replace(session.run.flow, spots={**flow.spots, name: begun.spot}))
        signal = next((one for one in session.signals if one.name == begun.spot.event), None)
        if signal:
            session = replace(
                session, signals=tuple(one for one in session.signals if one != signal)
            )
            session = _done(session, given, name, signal.payload)
    return session, list(begun.events)


def _done(session: Session, given: Definitions, name: str, said: str) -> Session:
    """A node did its work. What would undo it is worked out now: later the results may be others."""
    workflow = agent_of(session.run, given).workflow
    node, flow = workflow.nodes[name], session.run.flow
    results = {**flow.results, name: said}
    flow = replace(
        flow, results=results, errors={one: why for one, why in flow.errors.items() if one != name}
    )
    session = _noted(_with(session, flow), nodes.undo_of(_with(session, flow), given, name, node))
    flow = session.run.flow
    if sum(map(len, results.values())) > RESULTS_CHARS_MAX:
        flow = replace(flow, results={**results, name: ""})
        return _failed(
            _with(session, flow),
            given,
            name,
            f"too_large: the results of the nodes have more than "
            f"{RESULTS_CHARS_MAX:,} characters together",
        )
    gone = node.next if usable(flow, name, node.next) else ()
    return _with(session, end(flow, workflow, name, "done", gone))


def _failed(session: Session, given: Definitions, name: str, why: str) -> Session:
    workflow, why = agent_of(session.run, given).workflow, cut(why, DETAIL_CHARS)
    node, flow = workflow.nodes[name], session.run.flow
    flow = replace(flow, errors={**flow.errors, name: why})
    if node.on_error and usable(flow, name, node.on_error):
        return _with(session, end(flow, workflow, name, "failed", node.on_error))
    flow = end(flow, workflow, name, "failed", ())
    if flow.failing is None:
        flow = replace(
            flow, failing=Failing("failed", "node_failed", f"node {name!r} failed: {why}")
        )
    return _with(session, flow)


def _rested(session: Session, event: Event, given: Definitions, workflow: Workflow) -> Moved:
    """Nothing more begins now: wait for what is open, undo what was done, or come to the end."""
    flow = session.run.flow
    if flow.failing and not session.run.pending:
        return _undo(session, event, given)
    waits = any(spot.state == "open" for spot in flow.spots.values())
    if session.run.pending or (waits and not flow.failing):
        return session, []
    try:
        answer = read_output(agent_of(session.run, given), _answer(session.run, flow, workflow))
    except (BadExpression, Unfit) as bad:
        reason = "bad_output" if isinstance(bad, Unfit) else "bad_expression"
        failing = Failing("failed", reason, f"the workflow has no answer: {bad}")
        return _undo(_with(session, replace(flow, failing=failing)), event, given)
    session = replace(
        session, messages=(*session.messages, Message(role="assistant", content=answer))
    )
    return end_run(session, event, "completed", answer=answer)


def _answer(run: Run, flow: Flow, workflow: Workflow) -> str:
    if workflow.answer is None:
        return flow.results.get(flow.last, "")
    return text_of(valued(workflow.answer, known(run)))


def _undo(session: Session, event: Event, given: Definitions) -> Moved:
    """Undo the work that was done last, or end when nothing is left that could be."""
    while session.run.flow.undo:
        undo = session.run.flow.undo[-1]
        if undo.cannot:
            session = _undone(session, undo.cannot)
            continue
        try:
            run, made = nodes.undoing(session, event, given, undo)
        except nodes.NotBegun as no:
            session = _undone(session, str(no))
            continue
        return replace(session, run=run), [made]
    flow = session.run.flow
    undone = f"; undone: {', '.join(flow.undone)}" if flow.undone else ""
    failing = flow.failing
    return end_run(
        session, event, failing.outcome, failing.reason, cut(failing.detail, DETAIL_CHARS) + undone
    )


def _undone(session: Session, trouble: str) -> Session:
    flow = session.run.flow
    *rest, undo = flow.undo
    if trouble:
        flow = replace(flow, not_undone=(*flow.not_undone, f"{undo.node} ({trouble})"))
    else:
        flow = replace(flow, undone=(*flow.undone, undo.node))
    return _with(session, replace(flow, undo=tuple(rest)))


def _node_of(call: str) -> tuple[str, bool]:
    """The node that a call is of, and whether it undoes what the node did."""
    name = call.rpartition("#")[0]
    return name.removeprefix(UNDO), name.startswith(UNDO)


def _noted(session: Session, undo: Undo | None) -> Session:
    flow = session.run.flow
    return session if undo is None else _with(session, replace(flow, undo=(*flow.undo, undo)))


def _with(session: Session, flow: Flow) -> Session:
    return replace(session, run=replace(session.run, flow=flow))
