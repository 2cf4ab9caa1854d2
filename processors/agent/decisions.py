"""Decisions of the agent: what it does next, before there is an event of it.

Modules that decide return a session and decisions. They know neither the event that they answer nor
any id: `emit.py` makes the events. A decision about a run carries the request that the run began
with; its other fields are named as those of its event.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from processors.agent.calls.pending import AwaitingApproval
from processors.agent.state import NOTHING_USED, RunUsage, Session
from schemas.events.agent.runs import RequestBlocked, RequestCleared
from schemas.events.values import Effect, Message, Outcome, Parent, ToolSpec

Nth = int | str
"""Tells decisions of one class apart that answer one event: the new event's id derives from it."""

ApprovalStatus = Literal["approved", "denied", "expired", "cancelled"]
ApprovalRefusal = Literal[
    "unknown",
    "not_an_approver",
    "already_decided",
    "expired",
    "run_over",
    "no_override",
    "bad_arguments",
]


@dataclass(frozen=True)
class AskModel:
    """Ask a model. `nth` is the call of a workflow's node that asks."""

    of: RequestCleared
    step: int
    model: str
    messages: tuple[Message, ...]
    timeout_ms: int
    fallback: tuple[str, ...] = ()
    temperature: float | None = None
    tools: tuple[ToolSpec, ...] = ()
    max_output_tokens: int | None = None
    cache_ttl_s: int = 0
    output_schema: str = ""
    follows: str = ""
    follows_chars: int = 0
    digest: str = ""
    purpose: str = ""
    nth: Nth = 0


@dataclass(frozen=True)
class CallTool:
    """Call a tool."""

    of: RequestCleared
    step: int
    call: str
    tool: str
    tool_version: int
    arguments: str
    effect: Effect
    timeout_ms: int
    nth: Nth = 0


@dataclass(frozen=True)
class SearchKnowledge:
    """Search the tenant's knowledge."""

    of: RequestCleared
    step: int
    call: str
    tool: str
    query: str
    limit: int
    nth: Nth = 0


@dataclass(frozen=True)
class AskSubAgent:
    """Have another agent do a part of the work, in a session of its own."""

    of: RequestCleared
    parent: Parent
    agent: str
    text: str
    traceparent: str
    nth: Nth = 0

    @property
    def call(self) -> str:
        """The call that asks for it."""
        return self.parent.call


@dataclass(frozen=True)
class AskApproval:
    """Ask the approvers whether a call may be made."""

    of: RequestCleared
    step: int
    call: str
    tool: str
    tool_version: int
    arguments: str
    approvers: tuple[str, ...]
    override: bool
    expires_at: datetime
    nth: Nth = 0


@dataclass(frozen=True)
class AskUser:
    """Ask the user a question. `request` is the run whose sender waits for it."""

    of: RequestCleared
    step: int
    call: str
    question: str
    options: tuple[str, ...]
    request: UUID
    expires_at: datetime
    nth: Nth = 0


@dataclass(frozen=True)
class ResolveApproval:
    """Report how an approval ended."""

    of: RequestCleared
    step: int
    approval: AwaitingApproval
    status: ApprovalStatus
    by: str = ""
    note: str = ""
    arguments: str | None = None


@dataclass(frozen=True)
class RefuseApproval:
    """Refuse somebody's decision on an approval that does not count."""

    reason: ApprovalRefusal
    detail: str


@dataclass(frozen=True)
class RefuseSignal:
    """Refuse a signal that is not kept."""

    reason: Literal["too_many", "too_large"]
    detail: str


@dataclass(frozen=True)
class FinishRun:
    """Report how a run ended.

    `whole` is the key of an answer in the object store of which `answer` is not all. `not_undone`
    names what a workflow did and has not undone, a line each.
    """

    of: RequestCleared
    outcome: Outcome
    reason: str = ""
    detail: str = ""
    answer: str | None = None
    usage: RunUsage = NOTHING_USED
    prompt_version: int = 0
    not_undone: tuple[str, ...] = ()
    whole: str = ""


@dataclass(frozen=True)
class FinishBlocked:
    """Report a blocked request as a run that never began. It costs nothing."""

    of: RequestBlocked


@dataclass(frozen=True)
class ReportToParent:
    """Tell the run that asked for this one that it is over."""

    run: UUID
    parent: Parent


@dataclass(frozen=True)
class CancelSubAgent:
    """Cancel a sub-agent's run, because the run that asked for it is over."""

    run: UUID
    sub_agent: UUID


@dataclass(frozen=True)
class ReportWaiting:
    """Tell the run that asked for this one whether it waits for people."""

    of: RequestCleared
    parent: Parent
    waiting: bool


@dataclass(frozen=True)
class CountWaitingRuns:
    """Tell the tenant that so many runs of the session begin to wait, or go on."""

    runs: int
    waiting: bool


ToolDecision = CallTool | SearchKnowledge | AskSubAgent
"""A call that is made now."""
PeopleDecision = AskApproval | AskUser
"""A call that waits for people."""
CallDecision = ToolDecision | PeopleDecision
Decision = (
    AskModel
    | CallDecision
    | ResolveApproval
    | RefuseApproval
    | RefuseSignal
    | FinishRun
    | FinishBlocked
    | ReportToParent
    | CancelSubAgent
    | ReportWaiting
    | CountWaitingRuns
)
Decided = tuple[Session, tuple[Decision, ...]]
"""A session after an event, and the decisions, in the order of their events."""
