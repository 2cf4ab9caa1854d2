"""Events on feedback: what a person thinks of a run, and the run joined to it."""

from datetime import timedelta
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from schemas.events.agent.base import RunEvent
from schemas.events.base import THIRTEEN_MONTHS, Audience, Count, Money, Personal, SessionEvent
from schemas.events.values import Label, Outcome

FAMILY = "feedback"
Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]


class FeedbackGiven(SessionEvent):
    """A person's word on a run, from -1 (bad) to 1 (good). It may come weeks after the run, or
    before its end.
    """

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "product"
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "feedback"
    table: ClassVar[str] = "feedback_given"
    run: UUID
    score: Score
    label: Label = ""
    comment: Personal = ""
    user: Personal | None = None
    source: Label = ""


class FeedbackJoined(RunEvent):
    """Feedback beside the run that it is about."""

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "product"
    log: ClassVar[str] = "session.records"
    table: ClassVar[str] = "feedback"
    score: Score
    label: Label = ""
    comment: Personal = ""
    user: Personal | None = None
    source: Label = ""
    outcome: Outcome
    model: Label = ""
    run_cost_usd: Money | None = None
    delay_ms: Count
