"""The state of a session: its conversation, the run under way, and what that run waits for.

A session is `Idle` or `Active`. All of it is immutable and is written to the changelog as it stands
here, as JSON: `kind` tells the members of a union apart.
"""

from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from processors.agent.calls.pending import (
    AnsweredCall,
    Awaiting,
    AwaitingApproval,
    AwaitingSubAgent,
    AwaitingUser,
    PendingCall,
)
from processors.agent.conversation.message_deltas import Sent
from processors.agent.conversation.messages import (
    CONTEXT_CHARS_MAX,
    chars_in,
    error_result,
    tool_says,
)
from processors.agent.modes import LoopMode, Mode, PendingSignal, PlanMode, WorkflowMode
from schemas.definitions.kinds import Agent, Definitions
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import RequestCleared, ResultCleared, ToolFailed, ToolUncertain
from schemas.events.base import BY_KIND, UnprocessableError
from schemas.events.values import Message, Tokens, Took

RUNS_REMEMBERED = 20
NO_TIME = timedelta()
NO_TOKENS = Tokens()
NOTHING_TAKEN = Took()
LOOP = LoopMode()

CallResult = ResultCleared | ToolFailed | ToolUncertain
ModelAnswer = ResponseCleared | ResponseBlocked | ModelFailed


class Phase(StrEnum):
    """What a session waits for: nothing, a model, calls, or only people and times."""

    IDLE = "idle"
    THINKING = "thinking"
    ACTING = "acting"
    WAITING = "waiting"


@dataclass(frozen=True)
class RunUsage:
    """What a run used so far. `sub_agents` is what the agents used that it asked.

    `estimated_usd` is what calls may have cost whose usage nobody reported: no cost, but it counts
    towards limits.
    """

    model: str = ""
    model_calls: int = 0
    tool_calls: int = 0
    tokens: Tokens = NO_TOKENS
    cost_usd: Decimal = Decimal(0)
    unpriced_calls: int = 0
    sub_agents: Took = NOTHING_TAKEN
    estimated_usd: Decimal = Decimal(0)

    @property
    def known_cost_usd(self) -> Decimal | None:
        """The cost of its model calls; None where no price of them is known."""
        if self.model_calls and self.unpriced_calls == self.model_calls:
            return None
        return self.cost_usd


NOTHING_USED = RunUsage()


@dataclass(frozen=True)
class ActiveRun:
    """A run under way.

    The versions of tools and prompt are those that it began with. `step` counts what was asked of
    models, `asides` how many of these questions were no turns of the conversation. `repeats` counts
    equal calls in a row with equal results, of which `last_results` has the digests, `repairs`
    answers that did not fit the agent's output schema. `answered_by` are the requests that answered
    its questions to the user. `paused_at` is since when it waits for people only, `summary_of` how
    many of the messages are being summarised, and `sent` what the model was sent last.
    """

    request: RequestCleared
    deadline: datetime
    mode: Mode = LOOP
    step: int = 0
    tool_versions: dict[str, int] = field(default_factory=dict)
    prompt_version: int | None = None
    pending: tuple[PendingCall, ...] = ()
    repeats: dict[str, int] = field(default_factory=dict)
    last_results: dict[str, str] = field(default_factory=dict)
    repairs: int = 0
    usage: RunUsage = NOTHING_USED
    answered_by: tuple[RequestCleared, ...] = ()
    paused_at: datetime | None = None
    summary_of: int = 0
    asides: int = 0
    sent: Sent | None = None

    @property
    def newest(self) -> RequestCleared:
        """The newest request that this run serves."""
        return (self.request, *self.answered_by)[-1]

    @property
    def serves(self) -> tuple[UUID, ...]:
        """The runs of all requests whose outcome this run's end is, its own first."""
        return self.request.run, *(request.run for request in self.answered_by)

    @property
    def task(self) -> str:
        """What the model is to do, in words that no summary of its conversation may lose."""
        planned = self.mode.task if isinstance(self.mode, PlanMode) else ""
        return planned or self.request.text

    @property
    def unanswered(self) -> tuple[Awaiting, ...]:
        """The calls without a result."""
        return tuple(one for one in self.pending if not isinstance(one, AnsweredCall))

    @property
    def waits_for_people(self) -> bool:
        """Whether every call without a result waits for people, here or in a sub-agent."""
        return all(
            one.waiting
            if isinstance(one, AwaitingSubAgent)
            else isinstance(one, AwaitingApproval | AwaitingUser)
            for one in self.unanswered
        )

    def ends_at(self, at: datetime) -> datetime:
        """The deadline as of `at`: time in which the run only waited for people moves it on."""
        if self.paused_at is None:
            return self.deadline
        return self.deadline + max(at - self.paused_at, NO_TIME)

    def awaits(self, event: ModelAnswer | CallResult) -> bool:
        """Whether this answers the step that the run is at."""
        return event.run == self.request.run and event.step == self.step

    def with_call(self, old: PendingCall, new: PendingCall) -> Self:
        """The run with one pending call in place of another."""
        return replace(self, pending=tuple(new if one is old else one for one in self.pending))


@dataclass(frozen=True)
class SessionMemory:
    """What a session remembers whether a run is under way or not.

    `queue` are the requests that wait for the end of the run under way. `over` are the last runs
    that ended, `cancelled` those that were cancelled before they came. `resolved` are the last
    approvals that were resolved: their status and the event that did it. `signals_known` are the
    last signals that came. `waiting_runs` is how many of its runs wait, so that they do not count
    among their tenant's. `GROWS` names the field that the changelog holds in parts.
    """

    GROWS: ClassVar[str] = "messages"

    messages: tuple[Message, ...] = ()
    queue: tuple[RequestCleared, ...] = ()
    over: tuple[UUID, ...] = ()
    cancelled: tuple[UUID, ...] = ()
    resolved: dict[str, str] = field(default_factory=dict)
    signals: tuple[PendingSignal, ...] = ()
    signals_known: tuple[UUID, ...] = ()
    waiting_runs: int = 0

    @property
    def memory(self) -> dict[str, Any]:
        """The fields that idle and active sessions share."""
        return {one.name: getattr(self, one.name) for one in fields(SessionMemory)}

    @property
    def serves(self) -> tuple[UUID, ...]:
        """The runs of the requests that the run under way serves."""
        return ()

    def knows(self, run: UUID) -> bool:
        """Whether this run has been here before, so that it must not begin again."""
        return run in (*self.over, *self.serves, *(request.run for request in self.queue))

    def without(self, run: UUID) -> Self:
        """The session after the end of a run that is not under way."""
        return replace(
            self,
            queue=tuple(request for request in self.queue if request.run != run),
            over=(*self.over, run)[-RUNS_REMEMBERED:],
            cancelled=tuple(other for other in self.cancelled if other != run),
        )


@dataclass(frozen=True)
class Idle(SessionMemory):
    """A session without a run under way."""

    kind: Literal["idle"] = "idle"

    @property
    def phase(self) -> Phase:
        return Phase.IDLE

    @property
    def wake_at(self) -> datetime | None:
        """It needs no timer."""
        return None


@dataclass(frozen=True)
class Active(SessionMemory):
    """A session with a run under way."""

    run: ActiveRun = field(kw_only=True)
    kind: Literal["active"] = "active"

    @property
    def phase(self) -> Phase:
        run = self.run
        if not run.pending and not isinstance(run.mode, WorkflowMode):
            return Phase.THINKING
        return Phase.WAITING if run.waits_for_people else Phase.ACTING

    @property
    def serves(self) -> tuple[UUID, ...]:
        return self.run.serves

    @property
    def wake_at(self) -> datetime | None:
        """When the run has had its time, or the next wait for people or of a node is over. None
        where it only waits for a signal, or for sub-agents that have timers of their own.
        """
        times = [
            one.expires_at
            for one in self.run.unanswered
            if isinstance(one, AwaitingApproval | AwaitingUser)
        ]
        if isinstance(self.run.mode, WorkflowMode) and self.run.mode.due:
            times.append(self.run.mode.due)
        if self.run.paused_at is None:
            times.append(self.run.deadline)
        return min(times, default=None)

    def ended(self) -> Idle:
        """The session after the end of its run, and of all requests that the run served."""
        own = self.run.request.run
        return replace(
            Idle(**self.memory),
            over=(*self.over, *self.run.serves)[-RUNS_REMEMBERED:],
            cancelled=tuple(other for other in self.cancelled if other != own),
        )


Session = Annotated[Idle | Active, BY_KIND]


def new_session() -> Session:
    """The state of a session of which nothing is known yet."""
    return Idle()


def paced(session: Session, at: datetime) -> Session:
    """The session at the end of a move. The clock of a run stands still while it waits for people
    only; when it goes on, its deadline has moved on by that time.
    """
    if isinstance(session, Idle):
        return session
    run = session.run
    waits = session.phase is Phase.WAITING
    if waits == (run.paused_at is not None):
        return session
    if waits:
        return replace(session, run=replace(run, paused_at=at))
    return replace(session, run=replace(run, paused_at=None, deadline=run.ends_at(at)))


def agent_of(run: ActiveRun, definitions: Definitions) -> Agent:
    """The agent of a run under way, in the version that it began with."""
    name = run.request.agent
    version = run.request.agent_version
    agent = definitions.agent(name, version)
    if agent is None:
        raise UnprocessableError(
            f"version {version} of agent {name!r} is not defined: apply it again"
        )
    return agent


def with_results(session: Active, missing: str = "") -> Active:
    """The session, its pending results turned into messages in the order of the calls; `missing`
    stands for a result that there is not. One that finds no room becomes an error that says so.
    """
    messages = session.messages
    room = CONTEXT_CHARS_MAX - chars_in(messages)
    for pending in session.run.pending:
        content = missing
        if isinstance(pending, AnsweredCall):
            content = pending.remark + pending.content
        if len(content) > room:
            content = error_result(
                "too_large",
                f"the result has {len(content):,} characters, there is room for "
                f"{max(0, room):,}: ask for less",
            )
        room -= len(content)
        messages = (*messages, tool_says(pending.call, pending.tool, content))
    return replace(session, messages=messages, run=replace(session.run, pending=()))
