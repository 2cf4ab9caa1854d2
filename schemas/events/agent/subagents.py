"""Events between an agent and its sub-agents.

Each has a session of its own, so what passes between them has the tenant's key: re-keying is a step
that is seen.
"""

from typing import ClassVar
from uuid import UUID

from schemas.events.base import Event, Instant, Personal, SessionEvent
from schemas.events.values import Label, Outcome, Parent, Took

FAMILY = "agent"


class ChildFinished(Event):
    """An agent that another one asked has ended, told by way of its tenant: the parent has a
    session of its own.
    """

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "tenant.agents"
    run: UUID
    parent: Parent
    outcome: Outcome
    reason: Label = ""
    detail: str = ""
    answer: Personal | None = None
    started_at: Instant
    bodies: str = ""
    total: Took = Took()


class ChildCancelled(Event):
    """The run that asked for this child is over: nobody waits for it any more."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "tenant.agents"
    run: UUID
    child: UUID


class ChildHeld(Event):
    """An agent that another one asked waits for people only (`held`), or goes on."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "tenant.agents"
    run: UUID
    parent: Parent
    held: bool


class CallHeld(SessionEvent):
    """The same, as the run learns it whose call the agent answers: its own time is not counted
    meanwhile.
    """

    family: ClassVar[str] = FAMILY
    run: UUID
    call: Label
    child: UUID
    held: bool
