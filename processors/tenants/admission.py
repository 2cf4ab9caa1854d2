"""Admission control: whether a request may enter, by its tenant's quota, concurrency and budget.

A token bucket on event time, so that a replay admits exactly what the first run admitted, and a
count of runs at work: one that waits for people or for a time has no place until it goes on, and
then takes one though all may be taken. A refusal is the one outcome of its request: asked again
under the same id, nothing new is said.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from processors.agent.calls import subagents
from processors.tenants import budgets
from schemas.definitions.kinds import Definitions, Tenant
from schemas.events.agent.runs import (
    AgentRequested,
    RequestAdmitted,
    RequestRefused,
    RunSettled,
    RunsHeld,
    ToolFailed,
)
from schemas.events.usage import BudgetAlerted, TokensUsed
from schemas.money import money_text

REMEMBERED_REQUESTS = 200
REFUSED_TEXT_CHARS = 1_000
NOTHING_TO_REFILL = 1e-9
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Bucket:
    """A tenant's state. `tokens` None: never used, so full. Of `running` runs, `held` only wait.
    `recent` are the last requests' ids, oldest first.
    """

    tokens: float | None = None
    at: datetime | None = None
    running: int = 0
    held: int = 0
    recent: tuple[str, ...] = ()
    account: budgets.Account = field(default_factory=budgets.Account)


def admit(
    bucket: Bucket,
    event: AgentRequested | RunSettled | RunsHeld | TokensUsed,
    definitions: Definitions,
) -> tuple[Bucket | None, Sequence[RequestAdmitted | RequestRefused | ToolFailed | BudgetAlerted]]:
    """Admit or refuse a request; a settled run gives its place back, and what a call cost is taken
    from the budget.
    """
    if isinstance(event, RunSettled):
        return replace(bucket, running=max(0, bucket.running - 1)), []
    if isinstance(event, RunsHeld):
        return replace(
            bucket, held=max(0, bucket.held + (event.runs if event.held else -event.runs))
        ), []
    if isinstance(event, TokensUsed):
        known = definitions.tenant(event.tenant)
        account, alerts = budgets.spend(bucket.account, event, known.budget_usd if known else None)
        return replace(bucket, account=account), alerts
    if event.id.hex in bucket.recent:
        return bucket, []
    tenant = definitions.tenant(event.tenant)
    if tenant is None:
        # Names that nobody defined must not grow the state.
        return None, _told(
            event,
            _refuse(event, "unknown_tenant", f"no tenant {event.tenant!r} is defined: apply one"),
        )
    bucket = replace(
        _refill(bucket, tenant, event.at),
        recent=(*bucket.recent, event.id.hex)[-REMEMBERED_REQUESTS:],
    )
    refusal = _refusal(event, tenant, definitions) or _no_room(bucket, event, tenant)
    if refusal:
        return bucket, _told(event, refusal)
    admitted = _of_run(
        event, RequestAdmitted, agent_version=definitions.version("agent", event.agent)
    )
    return replace(bucket, tokens=_tokens(bucket, tenant) - 1, running=bucket.running + 1), [
        admitted
    ]


def _told(event: AgentRequested, refusal: RequestRefused) -> list[RequestRefused | ToolFailed]:
    """A refusal, told to the agent that asked as well, where one did."""
    return [refusal, *subagents.refused(event, refusal.reason, refusal.detail)]


def _refill(bucket: Bucket, tenant: Tenant, at: datetime) -> Bucket:
    now = max(at, bucket.at or at)  # a late request never refills twice
    passed_s = (now - (bucket.at or now)).total_seconds()
    refilled = _tokens(bucket, tenant) + passed_s * tenant.requests_per_minute / 60
    return replace(bucket, tokens=min(tenant.burst, refilled), at=now)


def _tokens(bucket: Bucket, tenant: Tenant) -> float:
    """What is in the bucket; one that was never used is full."""
    return tenant.burst if bucket.tokens is None else bucket.tokens


def _refusal(
    event: AgentRequested, tenant: Tenant, definitions: Definitions
) -> RequestRefused | None:
    agent = definitions.agent(event.agent)
    if agent is None or (agent.tenants and event.tenant not in agent.tenants):
        return _refuse(
            event,
            "unknown_agent",
            f"no agent {event.agent!r} is defined for tenant {event.tenant!r}: "
            "check the name, or apply it",
        )
    if not event.text.strip():
        return _refuse(event, "empty", "the request has no text: say what the agent is to do")
    chars = len(event.text) + sum(len(message.content or "") for message in event.history)
    if chars > tenant.request_chars:
        return _refuse(
            event,
            "too_large",
            f"{chars:,} characters, at most {tenant.request_chars:,} are "
            "allowed: shorten the text, or raise the tenant's request_chars",
        )
    return None


def _no_room(bucket: Bucket, event: AgentRequested, tenant: Tenant) -> RequestRefused | None:
    if over := budgets.used_up(bucket.account, tenant.budget_usd, event.at, bucket.running):
        return _refuse(event, "budget", _spent(over, bucket.running), over.wait_ms)
    at_work = bucket.running - bucket.held
    if at_work >= tenant.concurrent_runs:
        return _refuse(
            event,
            "concurrency",
            f"{at_work} runs are under way, at most {tenant.concurrent_runs} "
            "may be: ask again when one has finished, or raise the tenant's concurrent_runs",
        )
    tokens = _tokens(bucket, tenant)
    if tokens < 1 - NOTHING_TO_REFILL:
        wait_ms = math.ceil((1 - tokens) * 60_000 / tenant.requests_per_minute)
        return _refuse(
            event,
            "quota",
            f"over {tenant.requests_per_minute:g} requests a minute: ask again, under a "
            f"new id, in {wait_ms} ms, or raise the tenant's requests_per_minute",
            wait_ms,
        )
    return None


def _spent(over: budgets.Over, running: int) -> str:
    said = (
        f"{_usd(over.spent_usd)} of the budget of {_usd(over.budget_usd)} for {over.period} "
        "are "
        "spent"
    )
    if over.wait_ms is not None:
        return f"{said}: ask again when the period is over, or raise the tenant's budget_usd"
    if not running:
        return (
            f"{said}, and less is left than a run's reserve_usd: ask again when the period is "
            "over, or lower that"
        )
    return (
        f"{said} and {_usd(over.kept_usd)} kept for {running} runs under way: ask again when one "
        "has finished, or raise "
        "the tenant's budget_usd"
    )


def _usd(amount: Decimal) -> str:
    """In cents; a part of one as it is, where there is no more."""
    return f"${amount:.2f}" if amount >= CENT or not amount else f"${money_text(amount)}"


def _refuse(
    event: AgentRequested, reason: str, detail: str, retry_after_ms: int | None = None
) -> RequestRefused:
    return _of_run(
        event,
        RequestRefused,
        text=event.text[:REFUSED_TEXT_CHARS],
        reason=reason,
        detail=detail,
        retry_after_ms=retry_after_ms,
    )


def _of_run(event: AgentRequested, kind, **fields):
    """A request without a session is a session of its own."""
    return event.then(kind, run=event.id, session=event.session or str(event.id), **fields)
