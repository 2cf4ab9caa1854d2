"""Events on usage: tokens and money by call and by minute, and budget alerts."""

from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from schemas.events.base import THIRTEEN_MONTHS, Audience, Count, Event, Instant, Money, Personal
from schemas.events.values import Charge, Label, Tokens


class TokensUsed(Event):
    """The tokens of one model call. No `cost_usd` means that nobody knows the price, never that it
    was free.

    `cost_usd` is what its provider asks, `charged_usd` what the tenant pays by its contract, and
    `charged` the same in the contract's currency, at the rate of the day; none where nobody knows
    that rate. `source` says who made the call: Weir, or an application that told of it, in the
    conventions named there. `unrouted_usd` is what it would have cost at the dearest model of its
    `route`. `wasted` where its answer was not used; `cache_hit` where no model was asked, and so
    much was saved. `estimated_usd` is what the call may have cost whose usage nobody reported: it
    counts towards hard budgets, and is no cost.
    """

    family: ClassVar[str] = "usage"
    owner: ClassVar[str] = "finance"
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    log: ClassVar[str] = "tenant.usage"
    table: ClassVar[str] = "token_usage"
    session: Label
    run: UUID
    agent: Label
    agent_version: Count
    user: Personal | None = None
    model: Label
    provider: Label
    tokens: Tokens
    cost_usd: Money | None = None
    response_model: Label = ""
    charge: Charge = Charge()
    charged_usd: Money | None = None
    charged: Money | None = None
    currency: Label = "USD"
    uncached_usd: Money | None = None
    route: Label = ""
    unrouted_usd: Money | None = None
    source: Label = "weir"
    wasted: bool = False
    cache_hit: bool = False
    saved_input_tokens: Count = 0
    saved_output_tokens: Count = 0
    saved_usd: Money | None = None
    estimated_usd: Money | None = None


class UsageTotalled(Event):
    """A tenant's usage of one minute (`at` is its start), once the minute is over."""

    family: ClassVar[str] = "usage"
    owner: ClassVar[str] = "finance"
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    log: ClassVar[str] = "tenant.figures"
    table: ClassVar[str] = "usage_by_minute"
    until: Instant
    calls: Count
    unpriced_calls: Count
    tokens: Tokens
    cost_usd: Money


class BudgetAlerted(Event):
    """A tenant has spent a share of its budget of a month or a day (`period`, e.g. 2026-11); once
    for each share.

    Where the budget is `hard` and the share is 1, requests are refused until the period is over.
    """

    family: ClassVar[str] = "usage"
    owner: ClassVar[str] = "finance"
    retention: ClassVar[timedelta | None] = THIRTEEN_MONTHS
    audience: ClassVar[Audience] = "public"
    table: ClassVar[str] = "budget_alerts"
    period: Label
    budget_usd: Money
    share: Money
    spent_usd: Money
    hard: bool = False
