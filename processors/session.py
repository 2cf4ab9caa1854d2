"""What does a conversation remember between two events: its messages, the run under way, who waits?

All of it is immutable, and is written to the changelog as it stands here.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from processors.conversation import CONTEXT_CHARS_MAX, chars_in, error_result, tool_says
from processors.progress import Course, Flow
from processors.text import label, ms_between
from processors.usage import charge_of
from schemas.agent import Message, Outcome, RequestBlocked, RequestCleared, RunFinished, Tokens
from schemas.base import E, Event
from schemas.registry import Agent, Definitions

RUNS_REMEMBERED = 20


class Phase(StrEnum):
    IDLE = "idle"
    THINKING = "thinking"
    ACTING = "acting"


@dataclass(frozen=True)
class Pending:
    """A call that the model asked for, and its result once there is one. `child` is the run of an agent that was
    asked."""

    call: str
    tool: str
    content: str | None = None
    ends: bool = False
    child: UUID | None = None


@dataclass(frozen=True)
class Run:
    """A run under way. `repeats` counts equal calls, `repairs` answers that did not fit the agent's output schema; the
    versions of tools and prompt are those that it began with."""

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
    course: Course | None = None
    flow: Flow | None = None

    def awaits(self, event: Any) -> bool:
        """Is this an answer to the step that the run is at?"""
        return event.run == self.request.run and event.step == self.step

    def says(self, event: Event, kind: type[E], nth: int | str = 0, **fields: Any) -> E:
        """The next event of this run, caused by `event`, which may be of another one."""
        asked = self.request
        known = {"run": asked.run, "agent": asked.agent, "agent_version": asked.agent_version, "user": asked.user,
                 "charge": charge_of(asked.metadata)}
        return event.then(kind, nth, **{k: v for k, v in known.items() if k in kind.model_fields}, **fields)


@dataclass(frozen=True)
class Session:
    """A conversation. `over` are the last runs that ended, `cancelled` those that were cancelled before they came."""

    messages: tuple[Message, ...] = ()
    run: Run | None = None
    waiting: tuple[RequestCleared, ...] = ()
    over: tuple[UUID, ...] = ()
    cancelled: tuple[UUID, ...] = ()

    @property
    def phase(self) -> Phase:
        if self.run is None:
            return Phase.IDLE
        return Phase.ACTING if self.run.pending else Phase.THINKING

    @property
    def wake_at(self) -> datetime | None:
        """When the run under way has had its time."""
        return self.run.deadline if self.run else None

    def knows(self, run: UUID) -> bool:
        """Has this run been here before, so that it is not to begin again?"""
        under_way = [self.run.request.run] if self.run else []
        return run in (*self.over, *under_way, *(request.run for request in self.waiting))

    def without(self, run: UUID) -> "Session":
        """The session after this run, wherever in it the run stood."""
        return replace(
            self,
            run=None if self.run and self.run.request.run == run else self.run,
            waiting=tuple(request for request in self.waiting if request.run != run),
            over=(*self.over, run)[-RUNS_REMEMBERED:],
            cancelled=tuple(other for other in self.cancelled if other != run),
        )


Moved = tuple[Session, list[Event]]
"""A session after an event, and what is said of it."""


def agent_of(run: Run, given: Definitions) -> Agent:
    """The agent of a run under way, in the version that it began with: no version is ever forgotten."""
    return given.find("agent", run.request.agent, run.request.agent_version)


def end_run(
    session: Session, event: Event, outcome: Outcome, reason: str = "", detail: str = "", answer: str | None = None
) -> tuple[Session, list[Event]]:
    """End the run under way. What it did stays in the history; a call without a result gets a result that says so."""
    unknown = error_result("unknown", "the run ended before the result of this call was known")
    session = with_results(session, unknown)
    if session.run.course:  # what was said on the way to no answer is not kept
        session = replace(session, messages=session.run.course.kept)
    said = outcome_of(session.run, event, outcome, reason, detail, answer)
    return session.without(session.run.request.run), [said]


def with_results(session: Session, missing: str = "") -> Session:
    """The pending results become messages, in the order of the calls; one that finds no room is told as too large."""
    run, messages = session.run, session.messages
    room = CONTEXT_CHARS_MAX - chars_in(messages)
    for pending in run.pending:
        content = missing if pending.content is None else pending.content
        if len(content) > room:
            content = error_result("too_large", f"the result has {len(content):,} characters, there is room for "
                                   f"{max(0, room):,}: ask for less")
        room -= len(content)
        messages = (*messages, tool_says(pending.call, pending.tool, content))
    return replace(session, messages=messages, run=replace(run, pending=()))


def outcome_of(
    run: Run, event: Event, outcome: Outcome, reason: str = "", detail: str = "", answer: str | None = None
) -> RunFinished:
    """The one RunFinished of a run: its id derives from the run as well as from the event that ended it."""
    asked = run.request
    nothing_priced = run.model_calls > 0 and run.unpriced_calls == run.model_calls
    return run.says(
        event, RunFinished, asked.run.hex, outcome=outcome, reason=label(reason), detail=detail, text=asked.text,
        answer=answer, model=run.model, model_calls=run.model_calls, tool_calls=run.tool_calls, tokens=run.tokens,
        cost_usd=None if nothing_priced else run.cost_usd, unpriced_calls=run.unpriced_calls, started_at=asked.at,
        wait_ms=ms_between(asked.at, event.at), traceparent=asked.traceparent,
        prompt_version=run.prompt_version or 0, parent_run=asked.parent.run if asked.parent else None)


def blocked_run(event: RequestBlocked) -> RunFinished:
    """A request that was blocked is a run that never began."""
    return event.then(RunFinished, event.run.hex, outcome="blocked", reason=event.rule, detail=event.detail,
                      cost_usd=Decimal(0), started_at=event.at, wait_ms=0,
                      parent_run=event.parent.run if event.parent else None)
