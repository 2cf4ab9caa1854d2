"""The base of every event of one run."""

from uuid import UUID

from schemas.events.base import Count, SessionEvent
from schemas.events.values import Label

FAMILY = "agent"


class RunEvent(SessionEvent):
    """An event of one run of an agent, which keeps the definition's version it began with."""

    run: UUID
    agent: Label
    agent_version: Count = 0
