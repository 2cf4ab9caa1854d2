"""Decides which webhooks are told of an event, and when a failed delivery is repeated.

What is told is decided when it happens, by the webhooks in force; how it is sent, at each attempt.
A message is tried again after growing pauses, and given up for good after the last, or when its
receiver says that it wants no more.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from processors.common.text import clean, compact, label, ms_between
from schemas.definitions.kinds import Definitions
from schemas.events.agent.approvals import ApprovalAsked
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event, derived_id
from schemas.events.quality import DriftFound
from schemas.events.usage import BudgetAlerted
from schemas.events.webhooks import (
    Webhook,
    WebhookAnswer,
    WebhookDelivered,
    WebhookDropped,
    WebhookDue,
    WebhookFailed,
    WebhookQuestion,
    WebhookRested,
)
from schemas.ports import Failure, Impossible, Uncertain

TYPES = {
    RunFinished: "run.finished",
    RequestRefused: "request.refused",
    ApprovalAsked: "approval.asked",
    BudgetAlerted: "budget.alerted",
    DriftFound: "drift.found",
}
ALERTS = "alerts"
"""The session of what is told of a tenant and not of a run: these messages are in order among
themselves.
"""
NO_RUN = UUID(int=0)
HOPELESS = {"http_410", "bad_url", "webhook_gone"}
RESTING_MAX = 100


def announce(
    event: RunFinished | RequestRefused | ApprovalAsked, definitions: Definitions
) -> list[WebhookDue]:
    """A message for each webhook that wants to know of a run."""
    return _messages(event, definitions, session=event.session, run=event.run)


def announce_alert(event: BudgetAlerted | DriftFound, definitions: Definitions) -> list[WebhookDue]:
    """A message for each webhook that wants to know what concerns a tenant, from its key to that of
    the messages.
    """
    return _messages(event, definitions, session=ALERTS, run=NO_RUN)


def _messages(event: Event, definitions: Definitions, **of: Any) -> list[WebhookDue]:
    """A body is made once: it is what all attempts sign."""
    said = []
    for webhook in definitions.in_force(Webhook):
        if wants(webhook, event):
            body = {
                "type": TYPES[type(event)],
                "timestamp": event.at.isoformat(),
                "data": event.model_dump(mode="json"),
            }
            said.append(
                event.then(
                    WebhookDue,
                    webhook.name,
                    webhook=webhook.name,
                    webhook_version=definitions.version("webhook", webhook.name),
                    attempt=1,
                    message=derived_id(event.id, f"webhook/{webhook.name}"),
                    type=TYPES[type(event)],
                    body=compact(body),
                    **of,
                )
            )
    return said


def wants(webhook: Webhook, event: Event) -> bool:
    return TYPES[type(event)] in webhook.events and (
        not webhook.tenants or event.tenant in webhook.tenants
    )


def ask(due: WebhookDue, definitions: Definitions) -> WebhookQuestion | Impossible:
    """The newest definition counts: a URL that was corrected is used by what waits for another
    attempt.
    """
    webhook = definitions.webhook(due.webhook)
    if webhook is None:
        return Impossible("webhook_gone", f"the webhook {due.webhook!r} was removed")
    return WebhookQuestion(
        due.webhook, webhook.url, webhook.secret, str(due.message), due.body, webhook.timeout_ms
    )


def tell(
    due: WebhookDue, answer: WebhookAnswer | Failure | Uncertain, definitions: Definitions
) -> list[WebhookDelivered | WebhookFailed]:
    times = {
        "at": answer.at,
        "started_at": answer.started_at,
        "wait_ms": ms_between(answer.started_at, answer.at),
    }
    if isinstance(answer, WebhookAnswer):
        return [due.then(WebhookDelivered, status=answer.status, **times)]
    reason = answer.reason if isinstance(answer, Failure) else "uncertain"
    return [
        due.then(
            WebhookFailed,
            reason=label(reason),
            detail=clean(answer.detail),
            hopeless=reason in HOPELESS,
            **times,
        )
    ]


@dataclass(frozen=True)
class Resting:
    """The messages of a session that wait for another attempt, by message (hex): the last failure,
    and until when.
    """

    messages: dict[str, tuple[WebhookFailed, datetime]] = field(default_factory=dict)

    @property
    def wake_at(self) -> datetime | None:
        return min((until for _, until in self.messages.values()), default=None)


def rest(
    resting: Resting, event: WebhookFailed | WebhookRested, definitions: Definitions
) -> tuple[Resting | None, list[WebhookDue | WebhookDropped]]:
    """A failed message waits, or is given up; one that has waited is due."""
    if isinstance(event, WebhookRested):
        due = {
            name: failed for name, (failed, until) in resting.messages.items() if until <= event.at
        }
        left = {name: one for name, one in resting.messages.items() if name not in due}
        return _or_none(left), [
            failed.then(WebhookDue, failed.attempt + 1, at=event.at, attempt=failed.attempt + 1)
            for failed in due.values()
        ]
    known = resting.messages.get(event.message.hex)
    if known and known[0].attempt >= event.attempt:
        return resting, []
    webhook = definitions.webhook(event.webhook)
    pauses = webhook.retries_s if webhook else ()
    full = known is None and len(resting.messages) >= RESTING_MAX
    if event.hopeless or full or event.attempt > len(pauses) or not event.attempt:
        left = {name: one for name, one in resting.messages.items() if name != event.message.hex}
        detail = (
            f"{RESTING_MAX} messages of this session wait already: {event.detail}"
            if full
            else event.detail
        )
        return _or_none(left), [event.then(WebhookDropped, detail=detail)]
    until = event.at + timedelta(seconds=pauses[event.attempt - 1])
    return Resting({**resting.messages, event.message.hex: (event, until)}), []


def _or_none(messages: dict[str, tuple[WebhookFailed, datetime]]) -> Resting | None:
    """No state where nothing waits."""
    return Resting(messages) if messages else None
