"""Events that the live views show, and what the views read of them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from processors.usage.live_figures import figures_of_session, figures_of_usage
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event
from schemas.events.guardrails import VerdictReached
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens

NOON = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
RUN = {"session": "s", "agent": "support"}


def finished(
    at: datetime = NOON,
    tenant: str = "acme",
    outcome: str = "completed",
    wait_ms: int = 100,
    **more: Any,
) -> RunFinished:
    return RunFinished(
        id=uuid4(),
        at=at,
        tenant=tenant,
        run=uuid4(),
        outcome=outcome,
        model="small",
        started_at=at,
        wait_ms=wait_ms,
        **(RUN | more),
    )


def used(
    at: datetime = NOON, cost_usd: Decimal | None = Decimal("0.0125"), tenant: str = "acme"
) -> TokensUsed:
    return TokensUsed(
        id=uuid4(),
        at=at,
        tenant=tenant,
        run=uuid4(),
        agent_version=1,
        model="small",
        provider="p",
        tokens=Tokens(input_tokens=100, output_tokens=20),
        cost_usd=cost_usd,
        **RUN,
    )


def refused(at: datetime = NOON) -> RequestRefused:
    return RequestRefused(
        id=uuid4(), at=at, tenant="acme", run=uuid4(), text="hello", reason="quota", **RUN
    )


def verdict(at: datetime = NOON) -> VerdictReached:
    return VerdictReached(
        id=uuid4(),
        at=at,
        tenant="acme",
        run=uuid4(),
        stage="request",
        policy="p",
        policy_version=1,
        rule="card",
        action="flag",
        enforced=True,
        findings=1,
        **RUN,
    )


def dead(at: datetime = NOON) -> DeadLettered:
    return DeadLettered(
        id=uuid4(),
        at=at,
        tenant="acme",
        source="t/0/1",
        topic_name="t",
        partition=0,
        offset=1,
        consumer="stage",
        reason="invalid",
    )


def shown_of(event: Event) -> list[Event]:
    """What the views read of an event."""
    match event:
        case RunFinished() | RequestRefused() | VerdictReached():
            return list(figures_of_session(event))
        case TokensUsed():
            return list(figures_of_usage(event))
    return [event]
