"""Prices, budgets, contracts and exchange rates."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from schemas.events.base import Count, Value
from schemas.money import PlainDecimal

Amount = Annotated[PlainDecimal, Field(ge=0)]
Share = Annotated[PlainDecimal, Field(gt=0, le=10)]


class Prices(Value):
    """US dollars a million tokens, by kind. A kind without a price costs what the kind around it
    does.
    """

    input: Amount
    output: Amount
    cached_input: Amount | None = None
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    reasoning: Amount | None = None
    input_audio: Amount | None = None
    cached_audio: Amount | None = None
    output_audio: Amount | None = None
    input_image: Amount | None = None
    cached_image: Amount | None = None
    output_image: Amount | None = None


class LongInput(Prices):
    """Prices of all tokens of a call whose input is longer than `input_tokens`."""

    input_tokens: Count


class Price(Prices):
    """The price of a model: usual prices, those of long inputs, and those of tiers of service by
    name (`batch`).
    """

    above: tuple[LongInput, ...] = ()
    tiers: dict[str, Prices] = {}


class Contract(Value):
    """What a tenant pays: prices of its own by model, for all others the list's less a share, in a
    currency.
    """

    discount: Annotated[PlainDecimal, Field(ge=0, le=1)] = Decimal(0)
    models: dict[str, Price] = {}
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class Rate(Value):
    """What one unit of a currency was worth in US dollars from a day on (UTC)."""

    since: date
    usd: Annotated[PlainDecimal, Field(gt=0, max_digits=26)]


def _one_a_day(rates: tuple[Rate, ...]) -> tuple[Rate, ...]:
    days = [rate.since for rate in rates]
    if twice := sorted({day for day in days if days.count(day) > 1}):
        raise ValueError(f"two rates hold since {twice[0]}: leave one of them")
    return rates


Rates = Annotated[tuple[Rate, ...], Field(min_length=1), AfterValidator(_one_a_day)]


class Budget(Value):
    """US dollars a tenant may spend a calendar month or day (UTC), at which shares to say so, and
    whether to stop.

    `hard`: requests are refused when it is spent. Runs under way go on, so that it can be overspent
    by what they still take, at most each one's `limits.cost_usd` and a call; `reserve_usd` is kept
    back for each of them, and with as much as a run may cost only what is on its way in the moment
    in which one ends is. `foreign`: calls that other applications told of count too.
    """

    month: Annotated[PlainDecimal, Field(gt=0, max_digits=26)] | None = None
    day: Annotated[PlainDecimal, Field(gt=0, max_digits=26)] | None = None
    alerts: tuple[Share, ...] = (Decimal("0.5"), Decimal("0.8"), Decimal(1))
    hard: bool = False
    reserve_usd: Annotated[PlainDecimal, Field(ge=0, max_digits=26)] = Decimal(0)
    foreign: bool = True

    @model_validator(mode="after")
    def _says_how_much(self) -> "Budget":
        if self.month is None and self.day is None:
            raise ValueError("say how much: give `month` or `day`, or both")
        if self.reserve_usd and not self.hard:
            raise ValueError(
                "`reserve_usd` keeps requests out, which only a hard budget does: add `hard: true`"
            )
        if any(
            amount is not None and self.reserve_usd > amount for amount in (self.month, self.day)
        ):
            raise ValueError(
                "`reserve_usd` is more than the whole budget, so that nobody would get in: lower it"
            )
        return self
