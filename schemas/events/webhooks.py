"""Events on webhooks: what is due, delivered, failed and given up.

A message is one event told to one webhook. Its id derives from both, and is the same at every
attempt and after a replay, so a receiver drops what comes twice.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from schemas.definitions.base import Definition
from schemas.events.base import Audience, Count, Instant, Personal, SessionEvent
from schemas.events.values import Label, Name

FAMILY = "webhooks"
Told = Literal["run.finished", "request.refused", "approval.asked", "budget.alerted", "drift.found"]


class Webhook(Definition):
    """Where to POST what happens, signed as Standard Webhooks says. `secret` names one (`env:NAME`,
    `whsec_…`).

    `tenants` empty: of all. `retries_s` are the pauses before each further attempt; after the last
    the message is given up, and kept.
    """

    kind: ClassVar[str] = "webhook"
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
    secret: Annotated[str, Field(pattern=r"^env:[A-Z][A-Z0-9_]*$")]
    events: tuple[Told, ...] = ("run.finished",)
    tenants: tuple[Name, ...] = ()
    timeout_ms: Annotated[int, Field(ge=100, le=60_000)] = 15_000
    retries_s: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(max_length=20)] = (
        5,
        300,
        1_800,
        7_200,
        18_000,
        36_000,
        50_400,
        72_000,
        86_400,
    )


class WebhookEvent(SessionEvent):
    """What all of them say: which message, of what, to whom, at which attempt (from 1)."""

    run: UUID
    webhook: Label
    webhook_version: Count = 0
    message: UUID
    type: Label
    attempt: Count


class WebhookDue(WebhookEvent):
    """A message is to be sent. `body` is the JSON that is signed and sent, the same at each
    attempt.
    """

    family: ClassVar[str] = FAMILY
    body: Personal


class WebhookDelivered(WebhookEvent):
    """The receiver has taken it."""

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "webhook_deliveries"
    status: Count
    started_at: Instant
    wait_ms: Count = 0


class WebhookFailed(WebhookEvent):
    """An attempt went wrong. `hopeless`: the receiver wants no more, or there is none."""

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "webhook_deliveries"
    body: Personal
    reason: Label
    detail: str = ""
    hopeless: bool = False
    started_at: Instant
    wait_ms: Count = 0


class WebhookRested(SessionEvent):
    """The pause before another attempt is over. Made by the runtime."""

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    step_name: Label


class WebhookDropped(WebhookEvent):
    """A message was given up: the dead letter of webhooks. `attempt` is the last one."""

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "webhook_deliveries"
    body: Personal
    reason: Label
    detail: str = ""


@dataclass(frozen=True)
class WebhookQuestion:
    """A POST to sign and send; `secret` is a reference (`env:NAME`)."""

    webhook: str
    url: str
    secret: str
    message: str
    body: str
    timeout_ms: int


@dataclass(frozen=True)
class WebhookAnswer:
    """The receiver's status, below 300."""

    status: int
    started_at: datetime
    at: datetime
