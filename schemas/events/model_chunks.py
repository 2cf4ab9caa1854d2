"""The event that carries a part of a model's answer while it is still being written."""

from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from schemas.events.base import DAY, Audience, Count, Instant, Personal, SessionEvent

FAMILY = "stream"


class ModelChunk(SessionEvent):
    """A part of what a model is saying: a hint for whoever follows a run, at most once, and never
    the answer itself.

    `offset` is the number of characters of this attempt before it. An attempt is told apart by
    `step`, `started_at` and `attempt`, in this order the newest is the one to show: the text of
    another one is never joined to it. `last` is set where the attempt came to its good end.
    """

    family: ClassVar[str] = FAMILY
    retention: ClassVar[timedelta | None] = DAY
    archived: ClassVar[timedelta | None] = None
    audience: ClassVar[Audience] = "public"
    run: UUID
    step: Count
    attempt: Count
    started_at: Instant
    offset: Count
    text: Personal
    last: bool = False
