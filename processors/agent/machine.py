"""The state machine of an agent's session: theory of operation.

A session is one conversation of a user with an agent. It is a fold: `advance` takes the session and
one event, and returns the session afterwards and the events that follow. It reads no clock and does
no I/O; the same events in the same order always give the same sessions and the same events.

**States.** A session is in one of four phases:

    idle      no run is under way
    thinking  a model was asked, and its answer is awaited
    acting    calls were made (of tools, sub-agents or a workflow's nodes), and results are awaited
    waiting   only people, times or signals are awaited: approvals, the user's answer, a wait of a
              workflow, a sub-agent that itself waits for people

The phase is not stored. It follows from the run under way and its pending calls.

**Events.** A request begins a run. While a run is under way, another request answers the question
that the run asked its user, or it waits in the session's queue. Answers of models, results of
calls, decisions of approvers, signals and timers move the run on; a cancellation ends it. What
nobody waits for changes nothing: an answer to an earlier step, an event that comes a second time,
a result after the end. That is why every event may come twice.

**Transitions.** `TRANSITIONS` is the whole table: what is decided when an event comes in a phase,
in which phases the run may be afterwards, and whether it may end. What is not in the table changes
nothing. A run that ends makes room for the request that waited longest, within the same `advance`,
so after an end the session may be in any phase. Each run ends exactly once.

    idle ──request──> thinking ──answer with calls──> acting ──last result──> thinking
                         │                              │ ^
                         │ answer without calls         v │ a decision, a signal, a timer
                         v                            waiting
                        end

**Decide, then emit.** Functions that decide return a session and decisions (`decisions.py`): ask
this model, call this tool, finish this run. They are given the time of the event and never the
event's id. At the end of `advance` the module `emit.py` makes events of all decisions at once, and
their ids derive from the event that was taken.

**Modes.** A run has a mode by its agent's pattern (`modes.py`). In a loop the model is asked until
it answers without calls. A plan is such a loop for each of its steps, between a question for the
plan and one for the answer; a critique alternates drafts and criticism. In a workflow a graph takes
the model's place.

**Parallel calls and nodes.** All calls of one turn are made at once, and their results may come in
any order. The model is asked again when the last one is there, and reads them in the order of its
calls. Nodes of a workflow begin as soon as the edges to them are decided, so several branches are
under way side by side; each answer settles the graph once more.

**Pauses.** While every pending call waits for people, the run's clock stands still: `paced` notes
when the pause began, and moves the deadline on by its length when it ends. The tenant learns how
many runs wait, because a waiting run does not count among its concurrent runs; a parent learns it
too, as its own call then waits as well. During a pause the session's timer (`wake_at`) is only for
the time that people have.

**Compensation.** A workflow is a saga. When a node's work is done, the call that would undo it is
written down, with arguments from the results of that moment. When the workflow fails, nothing new
begins, what is under way comes to its end, and then the calls are made in reverse order, one after
the other. Work without a compensation is named in the run's end. A run that is cancelled or out of
time ends at once and names what is not undone.

**Sub-agents.** A call of another agent is a request in a session of its own, which runs through
this same machine. Its end comes back as a result, by way of the tenant. When a run ends, its
sub-agents that are still at work are cancelled, and theirs in turn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from processors.agent import model_replies, plan_and_critique
from processors.agent.calls import approvals, human_input, subagents
from processors.agent.conversation import messages
from processors.agent.conversation.messages import CONTEXT_CHARS_MAX, user_says
from processors.agent.decisions import Decided, Decision, FinishBlocked, FinishRun
from processors.agent.emit import AgentOutput, emit, with_ids
from processors.agent.model_requests import ask
from processors.agent.modes import WorkflowMode
from processors.agent.run_end import end_run
from processors.agent.state import (
    Active,
    ActiveRun,
    CallResult,
    Idle,
    ModelAnswer,
    Phase,
    Session,
    agent_of,
    paced,
)
from processors.agent.workflow import run as workflow
from processors.agent.workflow import signals
from processors.prompts import render
from schemas.definitions.kinds import Agent, Definitions
from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import (
    RequestBlocked,
    RequestCleared,
    ResultCleared,
    RunCancelled,
    ToolFailed,
    ToolUncertain,
    Woke,
)
from schemas.events.agent.signals import Signalled
from schemas.events.agent.subagents import CallHeld
from schemas.events.base import E, Event
from schemas.events.values import Message

QUEUE_MAX = 20
CANCELLED_REMEMBERED = 20

AgentInput = (
    RequestCleared
    | RequestBlocked
    | ResponseCleared
    | ResponseBlocked
    | ResultCleared
    | ModelFailed
    | ToolFailed
    | ToolUncertain
    | ApprovalDecided
    | CallHeld
    | RunCancelled
    | Signalled
    | Woke
)


def advance(
    session: Session, event: AgentInput, definitions: Definitions
) -> tuple[Session, list[AgentOutput]]:
    """Take one event: the session afterwards, and the events that follow, in order."""
    transition = TRANSITIONS.get((session.phase, type(event)))
    if transition is None:
        return session, []
    after, decisions = transition.decide(session, event, definitions)
    after, more = _begin_queued(after, event.at, definitions)
    decisions = (*decisions, *more)
    # What the runs that ended leave behind: parents, sub-agents and approvers that wait for them.
    ends = subagents.reports_of_ends(session, decisions)
    decisions = (*decisions, *ends, *human_input.cancelled_approvals(session, decisions))
    after = human_input.remember_resolved(after, event.id, decisions)
    # The pause begins or ends last: only the whole move shows what the run waits for now.
    after, counts = human_input.count_waiting_runs(paced(after, event.at))
    decisions = (*decisions, *subagents.reports_of_waiting(session, after), *counts)
    events = emit(event, decisions)
    return with_ids(after, events), events


def _begin_queued(session: Session, at: datetime, definitions: Definitions) -> Decided:
    """Begin the request that waited longest, where no run is under way; the next one where that run
    has ended already.
    """
    decisions: tuple[Decision, ...] = ()
    while isinstance(session, Idle) and session.queue:
        request, *rest = session.queue
        session, more = _begin(replace(session, queue=tuple(rest)), request, at, definitions)
        decisions += more
    return session, decisions


def _take(session: Session, request: RequestCleared, definitions: Definitions) -> Decided:
    """A request begins a run, answers the question of one, or waits for its end."""
    if session.knows(request.run):
        return session, ()
    if request.run in session.cancelled:
        ended = FinishRun(request, "cancelled", "cancelled before it began")
        return session.without(request.run), (ended,)
    if isinstance(session, Idle):
        return _begin(session, request, request.at, definitions)
    question = approvals.question_for(session.run, request)
    if question:
        return approvals.answer(session, request, question, definitions)
    queue = (*session.queue, request)
    chars = sum(len(one.text) for one in queue)
    if len(queue) > QUEUE_MAX or chars > CONTEXT_CHARS_MAX:
        detail = (
            f"{len(session.queue)} requests wait in this session already: "
            "send the next when one has finished"
        )
        busy = FinishRun(request, "failed", "session_busy", detail)
        return session.without(request.run), (busy,)
    return replace(session, queue=queue), ()


def _begin(
    session: Idle, request: RequestCleared, at: datetime, definitions: Definitions
) -> Decided:
    """Begin a run: ask the model, or begin the first nodes of a workflow."""
    agent = definitions.agent(request.agent, request.agent_version)
    if agent is None:
        detail = (
            f"version {request.agent_version} of agent {request.agent!r} is not defined: "
            "apply it again"
        )
        missing = FinishRun(request, "failed", "agent_missing", detail)
        return session.without(request.run), (missing,)
    history = _history(session, agent) or request.history
    conversation = (*history, user_says(request.text))
    run = ActiveRun(
        request,
        deadline=at + timedelta(seconds=agent.limits.seconds),
        mode=plan_and_critique.first_mode(agent, conversation),
        tool_versions=_tool_versions(agent, definitions),
        prompt_version=render.version_for(agent.prompt, request.run, definitions),
    )
    begun = replace(Active(**session.memory, run=run), messages=conversation)
    if isinstance(run.mode, WorkflowMode):
        return workflow.start(begun, at, definitions)
    return ask(begun, at, definitions)


def _history(session: Idle, agent: Agent) -> tuple[Message, ...]:
    """The messages that a run begins with. An agent's `context` has a measure of its own."""
    most = len(session.messages) if agent.context else agent.history_messages
    return messages.recent(session.messages, most, CONTEXT_CHARS_MAX // 2)


def _tool_versions(agent: Agent, definitions: Definitions) -> dict[str, int]:
    versions: dict[str, int] = {}
    for name in plan_and_critique.tools_of(agent):
        version = definitions.version("tool", name)
        if version is not None:
            versions[name] = version
    return versions


def _refuse(session: Session, blocked: RequestBlocked, _: Definitions) -> Decided:
    """A blocked request is a run that never began."""
    if session.knows(blocked.run):
        return session, ()
    return session.without(blocked.run), (FinishBlocked(blocked),)


def _cancel(session: Session, cancelled: RunCancelled, _: Definitions) -> Decided:
    """End a run wherever it stands. One that has not come yet is remembered, and ends when it
    comes.
    """
    if isinstance(session, Active) and cancelled.run in session.run.serves:
        return end_run(session, "cancelled", "cancelled", cancelled.reason)
    for request in session.queue:
        if request.run == cancelled.run:
            ended = FinishRun(request, "cancelled", "cancelled", cancelled.reason)
            return session.without(request.run), (ended,)
    if session.knows(cancelled.run) or cancelled.run in session.cancelled:
        return session, ()
    remembered = (*session.cancelled, cancelled.run)[-CANCELLED_REMEMBERED:]
    return replace(session, cancelled=remembered), ()


def _wake(session: Active, timer: Woke, definitions: Definitions) -> Decided:
    """The time of the run is over, or that of a node or of people whom it waits for."""
    run = session.run
    agent = agent_of(run, definitions)
    if isinstance(run.mode, WorkflowMode) and run.mode.due and run.mode.due <= timer.at:
        return workflow.wake(session, timer.at, definitions)
    if run.paused_at or timer.at < run.deadline:
        return approvals.expire(session, timer.at, definitions)
    advice = f"raise limits.seconds of agent {agent.name!r}"
    detail = f"reached {agent.limits.seconds:g} seconds: {advice}"
    return end_run(session, "stopped", "seconds", detail)


def _signal(session: Session, signal: Signalled, definitions: Definitions) -> Decided:
    """Keep a signal, and give it to a node that waits for it."""
    after, refusals = signals.keep(session, signal)
    if refusals or isinstance(after, Idle) or not isinstance(after.run.mode, WorkflowMode):
        return after, refusals
    return workflow.take_signals(after, signal.at, definitions)


def _note_waiting(session: Active, report: CallHeld, _: Definitions) -> Decided:
    """A sub-agent begins to wait for people, or goes on."""
    return subagents.note_waiting(session, report), ()


def _collect(session: Active, result: CallResult, definitions: Definitions) -> Decided:
    """A call's result goes to whoever decided the call: the model, or the graph of a workflow."""
    if isinstance(session.run.mode, WorkflowMode):
        return workflow.take_answer(session, result, definitions)
    return model_replies.collect(session, result, definitions)


def _read_of_node(session: Active, answer: ModelAnswer, definitions: Definitions) -> Decided:
    """A model's answer while calls are under way: only a workflow asks both at once."""
    if isinstance(session.run.mode, WorkflowMode):
        return workflow.take_answer(session, answer, definitions)
    return session, ()


@dataclass(frozen=True)
class Transition:
    """What is decided at an event in a phase, in which phases the run may be afterwards, and
    whether it may end with it.
    """

    decide: Callable[..., Decided]
    stays: frozenset[Phase] = frozenset()
    ends: bool = False

    @property
    def to(self) -> frozenset[Phase]:
        """The phases in which the session may be. A run that ends makes room for a request that
        waits, so these are all then.
        """
        return frozenset(Phase) if self.ends else self.stays


Row = tuple[tuple[Phase, type[Event]], Transition]


def _idle(
    kind: type[E],
    decide: Callable[[Idle, E, Definitions], Decided],
    stays: frozenset[Phase],
    ends: bool = False,
) -> Row:
    return (IDLE, kind), Transition(decide, stays, ends)


def _active(
    phase: Phase,
    kind: type[E],
    decide: Callable[[Active, E, Definitions], Decided],
    stays: frozenset[Phase],
    ends: bool = False,
) -> Row:
    return (phase, kind), Transition(decide, stays, ends)


IDLE = Phase.IDLE
THINKING = Phase.THINKING
ACTING = Phase.ACTING
WAITING = Phase.WAITING
ON_IDLE = frozenset({IDLE})
ON_THINKING = frozenset({THINKING})
ON_ACTING = frozenset({ACTING})
ON_WAITING = frozenset({WAITING})
UNDER_WAY = ON_THINKING | ON_ACTING | ON_WAITING

# fmt: off
TRANSITIONS: dict[tuple[Phase, type[Event]], Transition] = dict([
    #                 event            decided by            the run is then in        may end
    _idle(            RequestCleared,  _take,                UNDER_WAY,                ends=True),
    _active(THINKING, RequestCleared,  _take,                ON_THINKING),
    _active(ACTING,   RequestCleared,  _take,                ON_ACTING),
    _active(WAITING,  RequestCleared,  _take,                ON_WAITING | ON_THINKING, ends=True),
    _idle(            RequestBlocked,  _refuse,              ON_IDLE),
    _active(THINKING, RequestBlocked,  _refuse,              ON_THINKING),
    _active(ACTING,   RequestBlocked,  _refuse,              ON_ACTING),
    _active(WAITING,  RequestBlocked,  _refuse,              ON_WAITING),
    _active(THINKING, ResponseCleared, model_replies.read,   UNDER_WAY,                ends=True),
    _active(THINKING, ResponseBlocked, model_replies.block,  ON_THINKING,              ends=True),
    _active(THINKING, ModelFailed,     model_replies.fail,   ON_THINKING,              ends=True),
    _active(ACTING,   ResultCleared,   _collect,             UNDER_WAY,                ends=True),
    _active(ACTING,   ToolFailed,      _collect,             UNDER_WAY,                ends=True),
    _active(ACTING,   ToolUncertain,   _collect,             UNDER_WAY,                ends=True),
    _active(ACTING,   ResponseCleared, _read_of_node,        ON_ACTING | ON_WAITING,   ends=True),
    _active(ACTING,   ResponseBlocked, _read_of_node,        ON_ACTING | ON_WAITING,   ends=True),
    _active(ACTING,   ModelFailed,     _read_of_node,        ON_ACTING | ON_WAITING,   ends=True),
    _idle(            Signalled,       _signal,              ON_IDLE),
    _active(THINKING, Signalled,       _signal,              ON_THINKING),
    _active(ACTING,   Signalled,       _signal,              ON_ACTING),
    _active(WAITING,  Signalled,       _signal,              ON_ACTING | ON_WAITING,   ends=True),
    # results of a sub-agent that waited for people
    _active(WAITING,  ResultCleared,   _collect,             UNDER_WAY,                ends=True),
    _active(WAITING,  ToolFailed,      _collect,             UNDER_WAY,                ends=True),
    _active(WAITING,  ToolUncertain,   _collect,             UNDER_WAY,                ends=True),
    _active(ACTING,   CallHeld,        _note_waiting,        ON_ACTING | ON_WAITING),
    _active(WAITING,  CallHeld,        _note_waiting,        ON_ACTING | ON_WAITING),
    _idle(            ApprovalDecided, approvals.decide,     ON_IDLE),
    _active(THINKING, ApprovalDecided, approvals.decide,     ON_THINKING),
    _active(ACTING,   ApprovalDecided, approvals.decide,     ON_ACTING),
    _active(WAITING,  ApprovalDecided, approvals.decide,     UNDER_WAY,                ends=True),
    _idle(            RunCancelled,    _cancel,              ON_IDLE),
    _active(THINKING, RunCancelled,    _cancel,              ON_THINKING,              ends=True),
    _active(ACTING,   RunCancelled,    _cancel,              ON_ACTING,                ends=True),
    _active(WAITING,  RunCancelled,    _cancel,              ON_WAITING,               ends=True),
    _active(THINKING, Woke,            _wake,                ON_THINKING,              ends=True),
    _active(ACTING,   Woke,            _wake,                ON_ACTING,                ends=True),
    _active(WAITING,  Woke,            _wake,                UNDER_WAY,                ends=True),
])
# fmt: on
