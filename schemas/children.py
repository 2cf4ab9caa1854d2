"""What do a run and the agents that it asked tell each other, by way of their tenant?

Each has a session of its own, so what passes between them has the tenant's key: re-keying is a step that is seen.
"""

from typing import ClassVar
from uuid import UUID

from schemas.agent import Label, Outcome
from schemas.base import Event, Instant, Personal
from schemas.values import Parent

FAMILY = "agent"


class ChildFinished(Event):
    """An agent that another one asked has ended, told by way of its tenant: the parent has a session of its own."""

    family: ClassVar[str] = FAMILY
    run: UUID
    parent: Parent
    outcome: Outcome
    reason: Label = ""
    detail: str = ""
    answer: Personal | None = None
    started_at: Instant


class ChildCancelled(Event):
    """The run that asked for this child is over: nobody waits for it any more."""

    family: ClassVar[str] = FAMILY
    run: UUID
    child: UUID
