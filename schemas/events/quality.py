"""Events on quality: hourly profiles and drift."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from schemas.events.base import THIRTEEN_MONTHS, Audience, Count, Event, Instant
from schemas.events.values import Label

FAMILY = "quality"
Counts = dict[str, Count]
Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HourProfiled(Event):
    """How the runs of a tenant's agent were spread over an hour (`at` is its start), once the hour
    is over.

    Each map counts runs. Numbers stand in buckets of powers of two, by their lower bound: `64` is
    from 64 to 127. `script` is the writing that most letters of the question are of, `language` its
    language, and `subject` a group of questions whose most telling words are hashed alike: no word
    is kept.
    """

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "product"
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    log: ClassVar[str] = "tenant.figures"
    table: ClassVar[str] = "profiles"
    agent: Label
    until: Instant
    runs: Count
    question_chars: Counts = {}
    answer_chars: Counts = {}
    wait_ms: Counts = {}
    outcome: Counts = {}
    model: Counts = {}
    script: Counts = {}
    language: Counts = {}
    subject: Counts = {}


class DriftFound(Event):
    """In an hour (`at` is its start) a feature of an agent's runs was spread otherwise than in the
    days before.

    `psi` is the population stability index. `ks` is the greatest distance of the two cumulative
    shares; none where the feature has no order. What each must reach stands beside it; `reference`
    and `current` count runs by bucket.
    """

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "product"
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "drift"
    agent: Label
    feature: Label
    until: Instant
    psi: Distance
    psi_critical: Distance
    ks: Distance | None = None
    ks_critical: Distance | None = None
    reference_runs: Count
    runs: Count
    reference: Counts
    current: Counts
