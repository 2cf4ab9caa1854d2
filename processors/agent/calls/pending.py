"""Pending calls: what a run asked for in this turn, and waits for or has the result of."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from schemas.events.base import BY_KIND

NOT_EMITTED = UUID(int=0)
"""The id of an event that is decided and not made yet: `emit.py` writes the true one."""


@dataclass(frozen=True)
class AwaitingTool:
    """A call of a tool that was made. `remark` will stand before its result."""

    call: str
    tool: str
    remark: str = ""
    kind: Literal["tool"] = "tool"


@dataclass(frozen=True)
class AwaitingSubAgent:
    """A call that another agent works on, in the run `id`. `waiting`: that run waits for people.

    `reports_known` are the last reports on that, so that one which comes again, late, is not
    believed again.
    """

    call: str
    tool: str
    remark: str = ""
    id: UUID = NOT_EMITTED
    waiting: bool = False
    reports_known: tuple[UUID, ...] = ()
    kind: Literal["sub_agent"] = "sub_agent"


@dataclass(frozen=True)
class AwaitingModel:
    """A model that a node of a workflow asked in this step."""

    call: str
    step: int
    tool: str = ""
    kind: Literal["model"] = "model"


@dataclass(frozen=True)
class AwaitingApproval:
    """A call that is made when somebody agrees to it. `id` is that of its ApprovalAsked."""

    call: str
    tool: str
    arguments: str
    asked_at: datetime
    expires_at: datetime
    id: UUID = NOT_EMITTED
    kind: Literal["approval"] = "approval"


@dataclass(frozen=True)
class AwaitingUser:
    """A question to the user, whose answer is the call's result. `id` is that of its UserAsked."""

    call: str
    tool: str
    expires_at: datetime
    id: UUID = NOT_EMITTED
    kind: Literal["user"] = "user"


@dataclass(frozen=True)
class AnsweredCall:
    """A call with its result, which waits for those of the other calls of its turn.

    `ends`: the result is the run's answer. `whole` is the key of the result in the object store
    where `content` is not all of it.
    """

    call: str
    tool: str
    content: str
    remark: str = ""
    ends: bool = False
    whole: str = ""
    kind: Literal["answered"] = "answered"


AwaitingPeople = AwaitingApproval | AwaitingUser
Awaiting = AwaitingTool | AwaitingSubAgent | AwaitingModel | AwaitingPeople
PendingCall = Annotated[
    AwaitingTool
    | AwaitingSubAgent
    | AwaitingModel
    | AwaitingApproval
    | AwaitingUser
    | AnsweredCall,
    BY_KIND,
]
