"""Events on approvals, and on questions to the user.

An approval is the id of its ApprovalAsked. That id derives from the call, so a replay asks for the
same one again.
"""

from datetime import timedelta
from typing import ClassVar, Literal
from uuid import UUID

from schemas.events.agent.base import RunEvent
from schemas.events.base import THIRTEEN_MONTHS, Audience, Count, Instant, Personal, SessionEvent
from schemas.events.values import Label

FAMILY = "approvals"


class ApprovalAsked(RunEvent):
    """A call waits until one of `approvers`, names or roles, agrees. No word until `expires_at` is
    a no.
    """

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "approvals"
    step: Count
    call: Label
    tool: Label
    tool_version: Count = 0
    arguments: Personal
    approvers: tuple[str, ...]
    override: bool = False
    expires_at: Instant
    user: Personal | None = None


class ApprovalDecided(SessionEvent):
    """Somebody's word on an approval, from outside. `roles` are those that the door they came in by
    vouches for.

    `arguments`, JSON text, take the place of the model's where the tool lets an approver change
    them.
    """

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "approve"
    approval: UUID
    by: Personal
    roles: tuple[str, ...] = ()
    decision: Literal["approve", "deny"]
    arguments: Personal | None = None
    note: Personal = ""


class ApprovalResolved(RunEvent):
    """An approval's one end. `arguments` are the changed ones; `wait_ms` is how long people took."""

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    log: ClassVar[str] = "session.decisions"
    table: ClassVar[str] = "approvals"
    approval: UUID
    step: Count
    call: Label
    tool: Label
    status: Literal["approved", "denied", "expired", "cancelled"]
    by: Personal = ""
    note: Personal = ""
    arguments: Personal | None = None
    wait_ms: Count = 0


class ApprovalRefused(SessionEvent):
    """A word that changed nothing, and why."""

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    log: ClassVar[str] = "session.decisions"
    table: ClassVar[str] = "approvals"
    approval: UUID
    by: Personal
    decision: Literal["approve", "deny"]
    note: Personal = ""
    reason: Literal[
        "unknown",
        "not_an_approver",
        "already_decided",
        "expired",
        "run_over",
        "no_override",
        "bad_arguments",
    ]
    detail: str = ""


class UserAsked(RunEvent):
    """An agent asks its user something and waits: the next request of the session is the answer.

    `request` is the run whose sender waits for this: the newest request of the conversation.
    """

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "user_questions"
    step: Count
    call: Label
    question: Personal
    options: tuple[str, ...] = ()
    request: UUID
    expires_at: Instant
    user: Personal | None = None
