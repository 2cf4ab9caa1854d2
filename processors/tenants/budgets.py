"""Tracks what a tenant has spent of its budgets, when to alert, and when a budget is used up.

Calendar months and days in UTC, by the time of the calls. Both are added up for every tenant, so
that a budget that is applied in the middle of a month knows what went before. What other
applications told of the tenant's calls is added up beside it, and counts unless the budget says
otherwise. Calls whose usage nobody reported add their estimate, calls without any price nothing.

A hard stop is at admission: runs that were admitted before go on, and what they cost is known when
a call of theirs has ended. So a burst overspends by what its runs still take; what each may take is
its agent's `limits.cost_usd`. A budget that keeps `reserve_usd` for each run under way lets no more
in than it can pay for.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from processors.usage.prices import COST_MAX_USD, EXACT
from schemas.definitions.prices import Budget
from schemas.events.usage import BudgetAlerted, TokensUsed


@dataclass(frozen=True)
class Spent:
    """US dollars of one period (`2026-11` or `2026-11-26`), and which alerts of it were told
    (`budget/share`).

    `foreign_usd` is what other applications told of, which `usd` leaves out.
    """

    period: str = ""
    usd: Decimal = Decimal(0)
    told: tuple[str, ...] = ()
    foreign_usd: Decimal = Decimal(0)

    def counting(self, budget: Budget) -> Decimal:
        """What of it counts towards a budget."""
        return EXACT.add(self.usd, self.foreign_usd) if budget.foreign else self.usd


@dataclass(frozen=True)
class Account:
    """What a tenant has spent this month and this day."""

    month: Spent = Spent()
    day: Spent = Spent()


def month_of(at: datetime) -> str:
    return f"{at:%Y-%m}"


def day_of(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def spend(
    account: Account, used: TokensUsed, budget: Budget | None
) -> tuple[Account, list[BudgetAlerted]]:
    """Adds a call, and tells each share of the budget that is reached for the first time in the
    period.
    """
    month, day = (
        _add(account.month, month_of(used.at), used),
        _add(account.day, day_of(used.at), used),
    )
    if budget is None:
        return Account(month, day), []
    month, of_month = _tell(month, used, budget, budget.month)
    day, of_day = _tell(day, used, budget, budget.day)
    return Account(month, day), [*of_month, *of_day]


def _add(spent: Spent, period: str, used: TokensUsed) -> Spent:
    """A call that is late, of a period that is over, changes nothing."""
    if period < spent.period:
        return spent
    now = spent if period == spent.period else Spent(period)
    known = used.cost_usd if used.charged_usd is None else used.charged_usd
    usd = (used.estimated_usd if known is None else known) or Decimal(0)
    into = "usd" if used.source == "weir" else "foreign_usd"
    return replace(now, **{into: min(EXACT.add(getattr(now, into), usd), COST_MAX_USD)})


def _tell(
    spent: Spent, used: TokensUsed, budget: Budget, amount: Decimal | None
) -> tuple[Spent, list[BudgetAlerted]]:
    said, usd = [], spent.counting(budget)
    if not amount:
        return spent, []
    for share in sorted(budget.alerts):
        name = f"{amount.normalize():f}/{share.normalize():f}"
        if name not in spent.told and usd >= EXACT.multiply(amount, share):
            spent = replace(spent, told=(*spent.told, name))
            said.append(
                used.then(
                    BudgetAlerted,
                    f"{spent.period}/{name}",
                    period=spent.period,
                    budget_usd=amount,
                    share=share,
                    spent_usd=usd,
                    hard=budget.hard,
                )
            )
    return spent, said


@dataclass(frozen=True)
class Over:
    """A hard budget that lets nobody in: its period and amount, what is spent and kept back, and
    until when.

    `wait_ms` are milliseconds to the period's end; None where it is full only as long as runs are
    under way.
    """

    period: str
    budget_usd: Decimal
    spent_usd: Decimal
    kept_usd: Decimal
    wait_ms: int | None


def used_up(account: Account, budget: Budget | None, at: datetime, running: int = 0) -> Over | None:
    """The hard budget that leaves nothing for another run beside those that are `running`."""
    if budget is None or not budget.hard:
        return None
    start = at.replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow, next_month = (
        start + timedelta(days=1),
        (start.replace(day=28) + timedelta(days=4)).replace(day=1),
    )
    kept = EXACT.multiply(budget.reserve_usd, running)
    for amount, spent, period, end in (
        (budget.month, account.month, month_of(at), next_month),
        (budget.day, account.day, day_of(at), tomorrow),
    ):
        if amount is None:
            continue
        usd = spent.counting(budget) if spent.period == period else Decimal(0)
        if usd >= amount:
            return Over(period, amount, usd, kept, (end - at) // timedelta(milliseconds=1))
        if EXACT.add(usd, EXACT.add(kept, budget.reserve_usd)) > amount:
            return Over(period, amount, usd, kept, None)
    return None
