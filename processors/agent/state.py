"""What does a conversation remember between two events: its messages, the run under way, who waits?

All of it is immutable, and is written to the changelog as it stands here.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal
from uuid import UUID

from processors.agent.conversation.message_deltas import Sent
from processors.agent.conversation.messages import (
    CONTEXT_CHARS_MAX,
    chars_in,
    error_result,
    tool_says,
)
from processors.agent.progress import Course, Flow, Signal
from processors.common.text import label, ms_between
from processors.usage.metering import add_took, charge_of
from schemas.definitions.kinds import Agent, Definitions
from schemas.events.agent.runs import RequestBlocked, RequestCleared, RunFinished
from schemas.events.base import E, Event
from schemas.events.values import Message, Outcome, Tokens, Took

RUNS_REMEMBERED = 20
NO_TIME = timedelta()


class Phase(StrEnum):
    IDLE = "idle"
    THINKING = "thinking"
    ACTING = "acting"
    WAITING = "waiting"


@dataclass(frozen=True)
class Pending:
    """A call that the model asked for, and its result once there is one. `child` is the run of an
    agent that was asked, `held` whether it waits for people.

    A call that waits for people (`waits`) has been asked of them by the event `asked`, and keeps
    the `arguments` that it will be made with. `remark` stands before its result, of which `whole`
    is the key in the object store where it is not all there is. `step` is that of a model that a
    workflow asked.
    """

    call: str
    tool: str
    content: str | None = None
    ends: bool = False
    child: UUID | None = None
    held: bool = False
    waits: Literal["", "approval", "user"] = ""
    asked: UUID | None = None
    asked_at: datetime | None = None
    expires_at: datetime | None = None
    arguments: str = ""
    remark: str = ""
    step: int = 0
    whole: str = ""


@dataclass(frozen=True)
class Run:
    """A run under way. `repeats` counts equal calls, `repairs` answers that did not fit the agent's
    output schema; the versions of tools and prompt are those that it began with. `answered_by` are
    the requests that answered its questions to the user, `paused_at` since when it waits for people
    only, `summary_of` how many of the messages are being summarised, `others` what the agents that
    it asked took, `asides` how many questions were no turns, `sent` what was asked last.
    """

    request: RequestCleared
    deadline: datetime
    step: int = 0
    tool_versions: dict[str, int] = field(default_factory=dict)
    prompt_version: int | None = None
    pending: tuple[Pending, ...] = ()
    repeats: dict[str, int] = field(default_factory=dict)
    repairs: int = 0
    model: str = ""
    model_calls: int = 0
    tool_calls: int = 0
    tokens: Tokens = Tokens()
    cost_usd: Decimal = Decimal(0)
    unpriced_calls: int = 0
    others: Took = Took()
    course: Course | None = None
    flow: Flow | None = None
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
        return self.course.task if self.course and self.course.task else self.request.text

    def unanswered(self, waits: str | None = None) -> tuple[Pending, ...]:
        """The calls without a result; only those that wait for these people, where it says whom."""
        return tuple(p for p in self.pending if p.content is None and waits in (None, p.waits))

    def ends_at(self, at: datetime) -> datetime:
        """The deadline as of `at`: time in which the run only waited for people moves it on."""
        return (
            self.deadline + max(at - self.paused_at, NO_TIME) if self.paused_at else self.deadline
        )

    def awaits(self, event: Any) -> bool:
        """Is this an answer to the step that the run is at?"""
        return event.run == self.request.run and event.step == self.step

    def says(self, event: Event, kind: type[E], nth: int | str = 0, **fields: Any) -> E:
        """The next event of this run, caused by `event`, which may be of another one."""
        asked = self.request
        known = {
            "run": asked.run,
            "agent": asked.agent,
            "agent_version": asked.agent_version,
            "user": asked.user,
            "charge": charge_of(asked.metadata),
        }
        return event.then(
            kind, nth, **{k: v for k, v in known.items() if k in kind.model_fields}, **fields
        )


@dataclass(frozen=True)
class Session:
    """A conversation. `over` are the last runs that ended, `cancelled` those that were cancelled
    before they came.

    `decided` are the last approvals that were resolved, and how. `held` is how many of its runs
    have no place among their tenant's, because they wait. `GROWS` names what the changelog has in
    parts.
    """

    GROWS: ClassVar[str] = "messages"

    messages: tuple[Message, ...] = ()
    run: Run | None = None
    waiting: tuple[RequestCleared, ...] = ()
    over: tuple[UUID, ...] = ()
    cancelled: tuple[UUID, ...] = ()
    decided: dict[str, str] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    signals_known: tuple[UUID, ...] = ()
    held: int = 0

    @property
    def phase(self) -> Phase:
        if self.run is None:
            return Phase.IDLE
        if not self.run.pending and not self.run.flow:
            return Phase.THINKING
        return (
            Phase.WAITING if all(p.waits or p.held for p in self.run.unanswered()) else Phase.ACTING
        )

    @property
    def wake_at(self) -> datetime | None:
        """When the run under way has had its time, or somebody whom it waits for has."""
        if self.run is None:
            return None
        times = [pending.expires_at for pending in self.run.unanswered() if pending.waits]
        times += [self.run.flow.due] if self.run.flow and self.run.flow.due else []
        return min(times if self.run.paused_at else [self.run.deadline, *times], default=None)

    def paced(self, at: datetime) -> "Session":
        """The session at the end of a move: time in which its run waits for people only moves the
        deadline on.
        """
        run = self.run
        waits = self.phase is Phase.WAITING
        if run is None or waits == (run.paused_at is not None):
            return self
        if waits:
            return replace(self, run=replace(run, paused_at=at))
        return replace(self, run=replace(run, paused_at=None, deadline=run.ends_at(at)))

    def knows(self, run: UUID) -> bool:
        """Has this run been here before, so that it is not to begin again?"""
        under_way = self.run.serves if self.run else ()
        return run in (*self.over, *under_way, *(request.run for request in self.waiting))

    def without(self, run: UUID) -> "Session":
        """The session after this run, wherever in it the run stood, and after the requests that it
        served.
        """
        ends = self.run is not None and self.run.request.run == run
        return replace(
            self,
            run=None if ends else self.run,
            waiting=tuple(request for request in self.waiting if request.run != run),
            over=(*self.over, *(self.run.serves if ends else (run,)))[-RUNS_REMEMBERED:],
            cancelled=tuple(other for other in self.cancelled if other != run),
        )


Moved = tuple[Session, list[Event]]
"""A session after an event, and what is said of it."""


def agent_of(run: Run, given: Definitions) -> Agent:
    """The agent of a run under way, in the version that it began with: no version is ever
    forgotten.
    """
    return given.agent(run.request.agent, run.request.agent_version)


def end_run(
    session: Session,
    event: Event,
    outcome: Outcome,
    reason: str = "",
    detail: str = "",
    answer: str | None = None,
    whole: str = "",
) -> tuple[Session, list[Event]]:
    """End the run under way. What it did stays in the history; a call without a result gets a
    result that says so.

    `whole` is the key of an answer of which `answer` is not all. Each request has one outcome:
    those that answered its questions to the user have this one, at no cost of their own.
    """
    unknown = error_result("unknown", "the run ended before the result of this call was known")
    remains = _remains(session.run) if outcome != "completed" else ()
    if session.run.flow:  # its calls are none of the conversation's
        session = replace(session, run=replace(session.run, pending=()))
    session = with_results(session, unknown)
    if session.run.course:  # what was said on the way to no answer is not kept
        session = replace(session, messages=session.run.course.kept)
    run = session.run
    detail += f"; not undone: {'; '.join(remains)}" if remains else ""
    finished = outcome_of(run, event, outcome, reason, detail, answer)
    bodies = json.dumps({"answer": whole}) if whole else ""
    said = [finished.model_copy(update={"not_undone": "\n".join(remains), "bodies": bodies})]
    for request in run.answered_by:
        served = f"it answered a question of run {run.request.run}"
        said.append(
            outcome_of(
                Run(request, request.at, model=run.model),
                event,
                outcome,
                reason or "answered",
                f"{served}: {detail}" if detail else served,
                answer,
            )
        )
    return session.without(run.request.run), said


def _remains(run: Run) -> tuple[str, ...]:
    """What a workflow did, or may have done, and has not undone."""
    if run.flow is None:
        return ()
    under_way = [
        pending.call.rpartition("#")[0]
        for pending in run.pending
        if pending.tool and not pending.waits
    ]
    begun = tuple(
        f"{node} (it was under way)" for node in under_way if not node.startswith("undo:")
    )
    return (*begun, *run.flow.remaining(undoing=len(begun) < len(under_way)))


def with_results(session: Session, missing: str = "") -> Session:
    """The pending results become messages, in the order of the calls; one that finds no room is
    told as too large.
    """
    run, messages = session.run, session.messages
    room = CONTEXT_CHARS_MAX - chars_in(messages)
    for pending in run.pending:
        content = missing if pending.content is None else pending.remark + pending.content
        if len(content) > room:
            content = error_result(
                "too_large",
                f"the result has {len(content):,} characters, there is room for "
                f"{max(0, room):,}: ask for less",
            )
        room -= len(content)
        messages = (*messages, tool_says(pending.call, pending.tool, content))
    return replace(session, messages=messages, run=replace(run, pending=()))


def outcome_of(
    run: Run,
    event: Event,
    outcome: Outcome,
    reason: str = "",
    detail: str = "",
    answer: str | None = None,
) -> RunFinished:
    """The one RunFinished of a run: its id derives from the run as well as from the event that
    ended it.
    """
    asked = run.request
    nothing_priced = run.model_calls > 0 and run.unpriced_calls == run.model_calls
    return run.says(
        event,
        RunFinished,
        asked.run.hex,
        outcome=outcome,
        reason=label(reason),
        detail=detail,
        text=asked.text,
        answer=answer,
        model=run.model,
        model_calls=run.model_calls,
        tool_calls=run.tool_calls,
        tokens=run.tokens,
        cost_usd=None if nothing_priced else run.cost_usd,
        unpriced_calls=run.unpriced_calls,
        started_at=asked.at,
        wait_ms=ms_between(asked.at, event.at),
        traceparent=asked.traceparent,
        total=_total(run, nothing_priced),
        prompt_version=run.prompt_version or 0,
        parent_run=asked.parent.run if asked.parent else None,
    )


def _total(run: Run, nothing_priced: bool) -> Took:
    own = Took(
        total_input_tokens=run.tokens.input_tokens,
        total_output_tokens=run.tokens.output_tokens,
        total_cost_usd=None if nothing_priced else run.cost_usd,
        total_unpriced_calls=run.unpriced_calls,
    )
    return add_took(own, run.others)


def blocked_run(event: RequestBlocked) -> RunFinished:
    """A request that was blocked is a run that never began."""
    return event.then(
        RunFinished,
        event.run.hex,
        outcome="blocked",
        reason=event.rule,
        detail=event.detail,
        cost_usd=Decimal(0),
        started_at=event.at,
        wait_ms=0,
        total=Took(total_cost_usd=Decimal(0)),
        parent_run=event.parent.run if event.parent else None,
    )
