"""A run that follows a workflow: which nodes begin, what came of them, what is compensated.

The graph takes the place of the model: it decides the next calls. They are pending calls of the
session as any others, so tools, sub-agents, cancelling, limits and tracing are those of every
agent. A node that fails without `on_error` ends the workflow: nothing new begins, what works comes
to its end, and what was done is compensated in reverse order, one call after the other (a saga). A
run that is cancelled, or out of time, ends at once; its end says what is not undone.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from processors.agent.calls.pending import AnsweredCall, PendingCall
from processors.agent.conversation.structured_output import read_output
from processors.agent.decisions import Decided, Decision
from processors.agent.model_replies import counted, with_sub_agents
from processors.agent.modes import NodeCompensation, NodeState, WorkflowFailure, WorkflowMode
from processors.agent.run_end import end_run
from processors.agent.state import Active, ActiveRun, CallResult, ModelAnswer, agent_of
from processors.agent.workflow import nodes, signals
from processors.agent.workflow.graph import begin, end, entered, settle, usable
from processors.agent.workflow.node_calls import is_compensation, node_of
from processors.agent.workflow.nodes import DETAIL_CHARS, mode_of, workflow_of
from processors.common.cel_expressions import ExpressionError
from processors.common.json_schema import InvalidValueError
from processors.common.text import cut
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import ToolUncertain
from schemas.events.values import Message

RESULTS_CHARS_MAX = 750_000
AT_ONCE_MAX = 500
ENDLESS = WorkflowFailure(
    "stopped",
    "loop",
    f"more than {AT_ONCE_MAX} nodes were done without waiting for anything: "
    "lower the bounds of the loops",
)


def start(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Begin the first nodes of a run."""
    workflow = workflow_of(session.run, definitions)
    return _go_on(_with(session, entered(WorkflowMode(), workflow.start)), at, definitions)


def take_answer(
    session: Active, answer: ModelAnswer | CallResult, definitions: Definitions
) -> Decided:
    """Take what a call came to: that of a node, or of a compensation."""
    pending = nodes.awaited_by(session.run, answer)
    if pending is None:
        return session, ()
    session = _without(session, pending)
    if isinstance(answer, ModelAnswer):
        session = counted(session, answer)
    else:
        session = with_sub_agents(session, answer)
    name = node_of(pending.call)
    result, error = nodes.outcome(answer)
    if is_compensation(pending.call):
        return _go_on(_compensated(session, error), answer.at, definitions)
    if isinstance(answer, ToolUncertain):
        unknown = NodeCompensation(name, impossible="nobody knows whether it was done")
        session = _with_compensation(session, unknown)
    if error:
        session = _failed(session, definitions, name, error)
    else:
        session = _done(session, definitions, name, result)
    return _go_on(session, answer.at, definitions)


def resume(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Go on after calls that nobody allowed: their nodes failed, or what they would have undone is
    not undone.
    """
    for pending in session.run.pending:
        if not isinstance(pending, AnsweredCall):
            continue
        session = _without(session, pending)
        name = node_of(pending.call)
        why = nodes.refusal(pending.content)
        if is_compensation(pending.call):
            session = _compensated(session, why)
        else:
            session = _failed(session, definitions, name, why)
    return _go_on(session, at, definitions)


def wake(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """End the waits that are over, and those for signals that did not come in time."""
    due = [name for name, node in _open_nodes(session) if node.due and node.due <= at]
    for name in due:
        event = mode_of(session.run).nodes[name].event
        if event:
            why = f"timeout: no signal {event!r} came in time"
            session = _failed(session, definitions, name, why)
        else:
            session = _done(session, definitions, name, "")
    return _go_on(session, at, definitions) if due else (session, ())


def take_signals(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Give the signals that came to the nodes that wait for them."""
    taken = False
    for name, node in _open_nodes(session):
        session, signal = signals.taken(session, node.event) if node.event else (session, None)
        if signal:
            session = _done(session, definitions, name, signal.payload)
            taken = True
    return _go_on(session, at, definitions) if taken else (session, ())


def _open_nodes(session: Active) -> list[tuple[str, NodeState]]:
    """The nodes that have begun and are not over, by name; none where the workflow has failed."""
    mode = mode_of(session.run)
    if mode.failure:
        return []
    return sorted(
        ((name, node) for name, node in mode.nodes.items() if node.status == "open"),
        key=lambda one: one[0],
    )


def _go_on(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Begin what can begin now; when nothing can any more, the run waits, compensates or ends."""
    workflow = workflow_of(session.run, definitions)
    decisions: tuple[Decision, ...] = ()
    begun = 0
    while mode_of(session.run).failure is None:
        mode, ready = settle(workflow, mode_of(session.run))
        session = _with(session, mode)
        if not ready:
            break
        begun += len(ready)
        if begun > AT_ONCE_MAX:
            session = _with(session, replace(mode, failure=ENDLESS))
            break
        for name in ready:
            session, more = _begin_node(session, name, decisions, at, definitions)
            decisions += more
            if mode_of(session.run).failure:
                break
    after, more = _rest(session, at, definitions)
    return after, (*decisions, *more)


def _begin_node(
    session: Active,
    name: str,
    before: Sequence[Decision],
    at: datetime,
    definitions: Definitions,
) -> tuple[Active, tuple[Decision, ...]]:
    workflow = workflow_of(session.run, definitions)
    session = _with(session, begin(mode_of(session.run), name, NodeState("open")))
    try:
        started = nodes.start_node(session.run, name, workflow.nodes[name], before, at, definitions)
    except ExpressionError as bad:
        return _failed(session, definitions, name, f"bad_expression: {bad}"), ()
    except nodes.NotBegunError as no:
        return _failed(session, definitions, name, str(no)), ()
    except nodes.LimitReachedError as limit:
        failure = WorkflowFailure("stopped", limit.name, limit.sentence)
        return _with(session, replace(mode_of(session.run), failure=failure)), ()
    match started:
        case nodes.NodeCall(run, decision):
            return replace(session, run=run), (decision,)
        case nodes.NodeWait(state):
            return _begin_wait(session, name, state, definitions), ()
        case nodes.NodeChoice(taken):
            return _with(session, end(mode_of(session.run), workflow, name, "done", taken)), ()


def _begin_wait(session: Active, name: str, state: NodeState, definitions: Definitions) -> Active:
    """The session with a node that waits. It is done at once where its signal has come already."""
    mode = mode_of(session.run)
    session = _with(session, replace(mode, nodes={**mode.nodes, name: state}))
    session, signal = signals.taken(session, state.event)
    return _done(session, definitions, name, signal.payload) if signal else session


def _done(session: Active, definitions: Definitions, name: str, result: str) -> Active:
    """A node did its work. Its compensation is worked out now: later the results may be others."""
    workflow = workflow_of(session.run, definitions)
    node = workflow.nodes[name]
    mode = mode_of(session.run)
    results = {**mode.results, name: result}
    errors = {one: why for one, why in mode.errors.items() if one != name}
    session = _with(session, replace(mode, results=results, errors=errors))
    compensation = nodes.compensation_of(session.run, definitions, name, node)
    if compensation:
        session = _with_compensation(session, compensation)
    mode = mode_of(session.run)
    if sum(len(one) for one in results.values()) > RESULTS_CHARS_MAX:
        session = _with(session, replace(mode, results={**results, name: ""}))
        why = (
            "too_large: the results of the nodes have more than "
            f"{RESULTS_CHARS_MAX:,} characters together"
        )
        return _failed(session, definitions, name, why)
    taken = node.next if usable(mode, name, node.next) else ()
    return _with(session, end(mode, workflow, name, "done", taken))


def _failed(session: Active, definitions: Definitions, name: str, why: str) -> Active:
    """A node failed: the workflow goes on by its `on_error`, or fails as well."""
    workflow = workflow_of(session.run, definitions)
    why = cut(why, DETAIL_CHARS)
    on_error = workflow.nodes[name].on_error
    mode = mode_of(session.run)
    mode = replace(mode, errors={**mode.errors, name: why})
    if on_error and usable(mode, name, on_error):
        return _with(session, end(mode, workflow, name, "failed", on_error))
    mode = end(mode, workflow, name, "failed", ())
    if mode.failure is None:
        detail = f"node {name!r} failed: {why}"
        mode = replace(mode, failure=WorkflowFailure("failed", "node_failed", detail))
    return _with(session, mode)


def _rest(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Nothing more begins now: wait for what is open, compensate what was done, or end."""
    run = session.run
    mode = mode_of(run)
    if run.pending:
        return session, ()
    if mode.failure:
        return _compensate(session, mode.failure, at, definitions)
    if _open_nodes(session):
        return session, ()
    try:
        answer = read_output(agent_of(run, definitions), _answer(run, definitions))
    except ExpressionError as bad:
        return _no_answer(session, "bad_expression", bad, at, definitions)
    except InvalidValueError as unfit:
        return _no_answer(session, "bad_output", unfit, at, definitions)
    answered = Message(role="assistant", content=answer)
    session = replace(session, messages=(*session.messages, answered))
    return end_run(session, "completed", answer=answer)


def _answer(run: ActiveRun, definitions: Definitions) -> str:
    """The workflow's answer. Raises ExpressionError."""
    expression = workflow_of(run, definitions).answer
    if expression is None:
        mode = mode_of(run)
        return mode.results.get(mode.last, "")
    return nodes.text_of(nodes.valued(expression, nodes.known(run)))


def _no_answer(
    session: Active, reason: str, wrong: Exception, at: datetime, definitions: Definitions
) -> Decided:
    failure = WorkflowFailure("failed", reason, f"the workflow has no answer: {wrong}")
    session = _with(session, replace(mode_of(session.run), failure=failure))
    return _compensate(session, failure, at, definitions)


def _compensate(
    session: Active, failure: WorkflowFailure, at: datetime, definitions: Definitions
) -> Decided:
    """Undo the work that was done last, or end when nothing is left that could be undone."""
    while compensations := mode_of(session.run).compensations:
        compensation = compensations[-1]
        if compensation.impossible:
            session = _compensated(session, compensation.impossible)
            continue
        try:
            run, call = nodes.compensate(session.run, compensation, at, definitions)
        except nodes.NotBegunError as no:
            session = _compensated(session, str(no))
            continue
        return replace(session, run=run), (call,)
    detail = cut(failure.detail, DETAIL_CHARS)
    compensated = mode_of(session.run).compensated
    if compensated:
        detail += f"; undone: {', '.join(compensated)}"
    return end_run(session, failure.outcome, failure.reason, detail)


def _compensated(session: Active, error: str) -> Active:
    """The newest compensation is over; with an error the work is not undone."""
    mode = mode_of(session.run)
    *rest, newest = mode.compensations
    mode = replace(mode, compensations=tuple(rest))
    if error:
        not_compensated = (*mode.not_compensated, f"{newest.node} ({error})")
        return _with(session, replace(mode, not_compensated=not_compensated))
    return _with(session, replace(mode, compensated=(*mode.compensated, newest.node)))


def _with_compensation(session: Active, compensation: NodeCompensation) -> Active:
    mode = mode_of(session.run)
    compensations = (*mode.compensations, compensation)
    return _with(session, replace(mode, compensations=compensations))


def _without(session: Active, pending: PendingCall) -> Active:
    rest = tuple(one for one in session.run.pending if one is not pending)
    return replace(session, run=replace(session.run, pending=rest))


def _with(session: Active, mode: WorkflowMode) -> Active:
    return replace(session, run=replace(session.run, mode=mode))
