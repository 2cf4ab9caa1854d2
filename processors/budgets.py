"""What has a tenant spent of its budget, who is to be told, and when is it used up?

Calendar months and days in UTC, by the time of the calls. Both are added up for every tenant, so that a budget that is
applied in the middle of a month knows what went before. What other applications told of the tenant's calls counts too.
Calls whose price nobody knows add nothing. Calls of runs that were admitted before a hard stop are still paid for: what
one run may cost is the agent's `limits.cost_usd`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from processors.prices import COST_MAX_USD, EXACT
from schemas.prices import Budget
from schemas.usage import BudgetAlerted, TokensUsed


@dataclass(frozen=True)
class Spent:
    """US dollars of one period (`2026-11` or `2026-11-26`), and which alerts of it were told (`budget/share`)."""

    period: str = ""
    usd: Decimal = Decimal(0)
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """What a tenant has spent this month and this day."""

    month: Spent = Spent()
    day: Spent = Spent()


def month_of(at: datetime) -> str:
    return f"{at:%Y-%m}"


def day_of(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def spend(account: Account, used: TokensUsed, budget: Budget | None) -> tuple[Account, list[BudgetAlerted]]:
    """Adds a call, and tells each share of the budget that is reached for the first time in the period."""
    usd = used.cost_usd if used.charged_usd is None else used.charged_usd
    month = _add(account.month, month_of(used.at), usd or Decimal(0))
    day = _add(account.day, day_of(used.at), usd or Decimal(0))
    if budget is None:
        return Account(month, day), []
    month, of_month = _tell(month, used, budget, budget.month)
    day, of_day = _tell(day, used, budget, budget.day)
    return Account(month, day), [*of_month, *of_day]


def _add(spent: Spent, period: str, usd: Decimal) -> Spent:
    """A call that is late, of a period that is over, changes nothing."""
    if period < spent.period:
        return spent
    now = spent if period == spent.period else Spent(period)
    return replace(now, usd=min(EXACT.add(now.usd, usd), COST_MAX_USD))


def _tell(
    spent: Spent, used: TokensUsed, budget: Budget, amount: Decimal | None
) -> tuple[Spent, list[BudgetAlerted]]:
    said = []
    for share in sorted(budget.alerts) if amount else ():
        name = f"{amount.normalize():f}/{share.normalize():f}"
        if name not in spent.told and spent.usd >= EXACT.multiply(amount, share):
            spent = replace(spent, told=(*spent.told, name))
            said.append(used.then(BudgetAlerted, f"{spent.period}/{name}", period=spent.period, budget_usd=amount,
                                  share=share, spent_usd=spent.usd, hard=budget.hard))
    return spent, said


def used_up(account: Account, budget: Budget | None, at: datetime) -> tuple[str, Decimal, Decimal, int] | None:
    """The period whose hard budget leaves nothing, its amount, what was spent, and milliseconds to its end."""
    if budget is None or not budget.hard:
        return None
    start = at.replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow, next_month = start + timedelta(days=1), (start.replace(day=28) + timedelta(days=4)).replace(day=1)
    for amount, spent, period, end in ((budget.month, account.month, month_of(at), next_month),
                                       (budget.day, account.day, day_of(at), tomorrow)):
        if amount is not None and spent.period == period and spent.usd >= amount:
            return period, amount, spent.usd, (end - at) // timedelta(milliseconds=1)
    return None
