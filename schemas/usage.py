"""What did it take, in tokens and money, by call and by minute?"""

from typing import ClassVar
from uuid import UUID

from schemas.agent import Label, Tokens
from schemas.base import Count, Event, Instant, Money, Personal


class TokensUsed(Event):
    """The tokens of one model call. No `cost_usd` means that nobody knows the price, never that it was free."""

    family: ClassVar[str] = "usage"
    session: Label
    run: UUID
    agent: Label
    agent_version: Count
    user: Personal | None = None
    model: Label
    provider: Label
    tokens: Tokens
    cost_usd: Money | None = None


class UsageTotalled(Event):
    """A tenant's usage of one minute (`at` is its start), once the minute is over."""

    family: ClassVar[str] = "usage"
    until: Instant
    calls: Count
    unpriced_calls: Count
    tokens: Tokens
    cost_usd: Money
