"""How does an agent's conversation go on when something happens to it?

A session is a state machine: idle, thinking (a model was asked), acting (tools were called) or
waiting (for people only). Every transition that there is stands in `NEXT`; whatever is not there
changes nothing, so an answer that nobody waits for any more is ignored, and each run ends exactly
once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from processors.agent import approvals, human_input, plan_and_critique, subagents
from processors.agent.approvals import decide
from processors.agent.conversation import messages
from processors.agent.conversation.messages import CONTEXT_CHARS_MAX, user_says
from processors.agent.model_replies import block, collect, fail, hear
from processors.agent.model_requests import ask
from processors.agent.signals import keep
from processors.agent.state import (
    Moved,
    Phase,
    Run,
    Session,
    agent_of,
    blocked_run,
    end_run,
    outcome_of,
)
from processors.agent.workflow import run as workflow
from processors.prompts import render
from schemas.definitions.kinds import Definitions
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalRefused,
    ApprovalResolved,
    UserAsked,
)
from schemas.events.agent.models import (
    ModelAsked,
    ModelFailed,
    ResponseBlocked,
    ResponseCleared,
)
from schemas.events.agent.runs import (
    AgentRequested,
    PassagesAsked,
    RequestBlocked,
    RequestCleared,
    ResultCleared,
    RunCancelled,
    RunFinished,
    RunsHeld,
    ToolCalled,
    ToolFailed,
    ToolUncertain,
    Woke,
)
from schemas.events.agent.signals import Signalled, SignalRefused
from schemas.events.agent.subagents import CallHeld, ChildCancelled, ChildFinished, ChildHeld
from schemas.events.base import Event

WAITING_MAX = 20
CANCELLED_REMEMBERED = 20

Heard = (
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
Decided = (
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


def advance(session: Session, event: Heard, given: Definitions) -> tuple[Session, list[Decided]]:
    """Take one event. When a run has ended, the request that waited longest begins."""
    move = NEXT.get((session.phase, type(event)))
    if move is None:
        return session, []
    before = session
    session, events = move.act(session, event, given)
    while session.run is None and session.waiting:
        request, *rest = session.waiting
        session, more = _begin(replace(session, waiting=tuple(rest)), request, event, given)
        events = [*events, *more]
    events = [
        *events,
        *subagents.consequences(before, event, events),
        *human_input.consequences(before, event, events),
    ]
    session = replace(session, decided=human_input.remembered(session.decided, events))
    session, told = human_input.places(session.paced(event.at), event)
    return session, [*events, *subagents.held(before, session, event), *told]


def _take(session: Session, request: RequestCleared, given: Definitions) -> Moved:
    if session.knows(request.run):
        return session, []
    not_begun = Run(request, deadline=request.at)
    if request.run in session.cancelled:
        return session.without(request.run), [
            outcome_of(not_begun, request, "cancelled", "cancelled before it began")
        ]
    if session.run is None:
        return _begin(session, request, request, given)
    question = approvals.answers(session, request)
    if question:
        return approvals.answer(session, request, question, given)
    chars = sum(len(other.text) for other in (*session.waiting, request))
    if len(session.waiting) >= WAITING_MAX or chars > CONTEXT_CHARS_MAX:
        detail = f"{len(session.waiting)} requests wait in this session already: send the next when one has finished"
        return session.without(request.run), [
            outcome_of(not_begun, request, "failed", "session_busy", detail)
        ]
    return replace(session, waiting=(*session.waiting, request)), []


def _begin(session: Session, request: RequestCleared, event: Event, given: Definitions) -> Moved:
    agent = given.agent(request.agent, request.agent_version)
    if agent is None:
        detail = f"version {request.agent_version} of agent {request.agent!r} is not defined: apply it again"
        failed = outcome_of(
            Run(request, deadline=event.at), event, "failed", "agent_missing", detail
        )
        return session.without(request.run), [failed]
    versions = {
        name: version
        for name in plan_and_critique.tools_of(agent)
        if (version := given.version("tool", name)) is not None
    }
    run = Run(
        request,
        deadline=event.at + timedelta(seconds=agent.limits.seconds),
        tool_versions=versions,
        prompt_version=render.version_for(agent.prompt, request.run, given),
    )
    most = (
        len(session.messages) if agent.context else agent.history_messages
    )  # a context has its own measure
    kept = messages.recent(session.messages, most, CONTEXT_CHARS_MAX // 2)
    before = kept or request.history
    session = replace(session, run=run, messages=(*before, user_says(request.text)))
    if agent.workflow:
        return workflow.start(session, event, given)
    return ask(plan_and_critique.begun(session, agent), event, given)


def _refuse(session: Session, blocked: RequestBlocked, given: Definitions) -> Moved:
    if session.knows(blocked.run):
        return session, []
    return session.without(blocked.run), [blocked_run(blocked)]


def _cancel(session: Session, cancelled: RunCancelled, given: Definitions) -> Moved:
    """Wherever the run stands; one that has not come yet is remembered, so that it ends when it
    comes.
    """
    if session.run and cancelled.run in session.run.serves:
        return end_run(session, cancelled, "cancelled", "cancelled", cancelled.reason)
    for request in session.waiting:
        if request.run == cancelled.run:
            ended = outcome_of(
                Run(request, cancelled.at), cancelled, "cancelled", "cancelled", cancelled.reason
            )
            return session.without(request.run), [ended]
    if session.knows(cancelled.run) or cancelled.run in session.cancelled:
        return session, []
    return replace(
        session, cancelled=(*session.cancelled, cancelled.run)[-CANCELLED_REMEMBERED:]
    ), []


def _wake(session: Session, woke: Woke, given: Definitions) -> Moved:
    """The run has had its time, or somebody whom it waits for has."""
    run, agent = session.run, agent_of(session.run, given)
    if run.flow and run.flow.due and run.flow.due <= woke.at:
        return workflow.woken(session, woke, given)
    if run.paused_at or woke.at < run.deadline:
        return approvals.expire(session, woke, given)
    return end_run(
        session,
        woke,
        "stopped",
        "seconds",
        f"reached {agent.limits.seconds:g} seconds: raise limits.seconds of agent {agent.name!r}",
    )


def _signal(session: Session, signal: Signalled, given: Definitions) -> Moved:
    session, refused = keep(session, signal)
    if refused or session.run is None or session.run.flow is None:
        return session, [*refused]
    return workflow.signalled(session, signal, given)


def _held(session: Session, told: CallHeld, given: Definitions) -> Moved:
    return subagents.note(session, told), []


def _result(session: Session, answer: Event, given: Definitions) -> Moved:
    """A call's result, for whoever decided the call: the model, or the graph of a workflow."""
    return (workflow.answered if session.run.flow else collect)(session, answer, given)


def _of_node(session: Session, answer: Event, given: Definitions) -> Moved:
    """A model's answer while calls are under way: only a workflow asks both at once."""
    return workflow.answered(session, answer, given) if session.run.flow else (session, [])


@dataclass(frozen=True)
class Move:
    """What is done at an event in a phase, in which phases the run may be afterwards, and whether
    it may end with it.
    """

    act: Callable[..., Moved]
    stays: frozenset[Phase] = frozenset()
    ends: bool = False

    @property
    def to(self) -> frozenset[Phase]:
        """The phases in which the session may be: a run that ends makes room for the request that
        waited longest.
        """
        return frozenset(Phase) if self.ends else self.stays


IDLE, THINKING, ACTING, WAITING = Phase
ON_IDLE, ON_THINKING, ON_ACTING, ON_WAITING = (frozenset({phase}) for phase in Phase)
UNDER_WAY = ON_THINKING | ON_ACTING | ON_WAITING

# fmt: off
NEXT: dict[tuple[Phase, type[Event]], Move] = {
    (IDLE,     RequestCleared):  Move(_take,    UNDER_WAY, ends=True),
    (THINKING, RequestCleared):  Move(_take,    ON_THINKING),
    (ACTING,   RequestCleared):  Move(_take,    ON_ACTING),
    (WAITING,  RequestCleared):  Move(_take,    ON_WAITING | ON_THINKING, ends=True),
    (IDLE,     RequestBlocked):  Move(_refuse,  ON_IDLE),
    (THINKING, RequestBlocked):  Move(_refuse,  ON_THINKING),
    (ACTING,   RequestBlocked):  Move(_refuse,  ON_ACTING),
    (WAITING,  RequestBlocked):  Move(_refuse,  ON_WAITING),
    (THINKING, ResponseCleared): Move(hear,     UNDER_WAY, ends=True),
    (THINKING, ResponseBlocked): Move(block,    ON_THINKING, ends=True),
    (THINKING, ModelFailed):     Move(fail,     ON_THINKING, ends=True),
    (ACTING,   ResultCleared):   Move(_result,  UNDER_WAY, ends=True),
    (ACTING,   ToolFailed):      Move(_result,  UNDER_WAY, ends=True),
    (ACTING,   ToolUncertain):   Move(_result,  UNDER_WAY, ends=True),
    (ACTING,   ResponseCleared): Move(_of_node, ON_ACTING | ON_WAITING, ends=True),
    (ACTING,   ResponseBlocked): Move(_of_node, ON_ACTING | ON_WAITING, ends=True),
    (ACTING,   ModelFailed):     Move(_of_node, ON_ACTING | ON_WAITING, ends=True),
    (IDLE,     Signalled):       Move(_signal,  ON_IDLE),
    (THINKING, Signalled):       Move(_signal,  ON_THINKING),
    (ACTING,   Signalled):       Move(_signal,  ON_ACTING),
    (WAITING,  Signalled):       Move(_signal,  ON_ACTING | ON_WAITING, ends=True),
    # of an agent that waited for people
    (WAITING,  ResultCleared):   Move(_result,  UNDER_WAY, ends=True),
    (WAITING,  ToolFailed):      Move(_result,  UNDER_WAY, ends=True),
    (WAITING,  ToolUncertain):   Move(_result,  UNDER_WAY, ends=True),
    (ACTING,   CallHeld):        Move(_held,    ON_ACTING | ON_WAITING),
    (WAITING,  CallHeld):        Move(_held,    ON_ACTING | ON_WAITING),
    (IDLE,     ApprovalDecided): Move(decide,   ON_IDLE),
    (THINKING, ApprovalDecided): Move(decide,   ON_THINKING),
    (ACTING,   ApprovalDecided): Move(decide,   ON_ACTING),
    (WAITING,  ApprovalDecided): Move(decide,   UNDER_WAY, ends=True),
    (IDLE,     RunCancelled):    Move(_cancel,  ON_IDLE),
    (THINKING, RunCancelled):    Move(_cancel,  ON_THINKING, ends=True),
    (ACTING,   RunCancelled):    Move(_cancel,  ON_ACTING, ends=True),
    (WAITING,  RunCancelled):    Move(_cancel,  ON_WAITING, ends=True),
    (THINKING, Woke):            Move(_wake,    ON_THINKING, ends=True),
    (ACTING,   Woke):            Move(_wake,    ON_ACTING, ends=True),
    (WAITING,  Woke):            Move(_wake,    UNDER_WAY, ends=True),
}
# fmt: on
