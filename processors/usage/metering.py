"""Meters model calls: usage call by call, totals by minute, and costs by contract."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import reduce

from processors.common.text import label
from processors.quality.languages import language, subject
from processors.quality.profiles import script
from processors.usage.prices import COST_MAX_USD, EXACT, by_list, exactly, price
from schemas.definitions.kinds import Definitions, Tenant
from schemas.events.agent.models import ModelFailed, ModelResponded
from schemas.events.agent.runs import RunFinished, RunSettled
from schemas.events.usage import TokensUsed, UsageTotalled
from schemas.events.values import Attempt, Charge, Tokens, Took

__all__ = [
    "add",
    "add_cost",
    "add_tokens",
    "add_took",
    "charge_of",
    "charged",
    "close",
    "meter",
    "price",
    "settle",
]
COUNT_MAX = 2**53


def charge_of(metadata: dict[str, str]) -> Charge:
    """Whom a request's calls are charged to, as its metadata say."""
    return Charge(feature=label(metadata.get("feature", "")), team=label(metadata.get("team", "")))


def meter(said: ModelResponded | ModelFailed, definitions: Definitions) -> list[TokensUsed]:
    """From the session's key to the tenant's, with what the tenant pays by its contract.

    One for the answer, and one for each attempt that took tokens and whose answer was not used.
    """
    used = (
        [
            said.then(
                TokensUsed,
                saved_input_tokens=said.saved.input_tokens,
                saved_output_tokens=said.saved.output_tokens,
            )
        ]
        if isinstance(said, ModelResponded)
        else []
    )
    used += [
        said.then(
            TokensUsed,
            f"attempt{nth}",
            model=one.model,
            provider=one.provider,
            response_model="",
            tokens=one.tokens,
            cost_usd=one.cost_usd,
            wasted=True,
            cache_hit=False,
            saved_usd=None,
            uncached_usd=one.cost_usd,
            unrouted_usd=None,
            estimated_usd=_estimated(one, said.started_at, definitions),
        )
        for nth, one in enumerate(said.attempts_made, 1)
        if one.wasted and one.tokens != Tokens()
    ]
    tenant = definitions.tenant(said.tenant)
    return [_at_contract(one, tenant, definitions) for one in used]


def _estimated(one: Attempt, at: datetime, definitions: Definitions) -> Decimal | None:
    """The least that an attempt cost of which only a part of its tokens was reported."""
    if one.cost_usd is not None:
        return None
    return price(definitions.model(one.model), one.provider, "", one.tokens, at)


def _at_contract(used: TokensUsed, tenant: Tenant | None, definitions: Definitions) -> TokensUsed:
    usd, amount, currency = charged(used, tenant, definitions)
    return used.model_copy(update={"charged_usd": usd, "charged": amount, "currency": currency})


def charged(
    call: ModelResponded | TokensUsed, tenant: Tenant | None, definitions: Definitions
) -> tuple[Decimal | None, Decimal | None, str]:
    """What a tenant pays for a call: US dollars, the same in its contract's currency, and that
    currency.

    A model that the contract names costs what the contract says; all others what they cost, less
    the discount.
    """
    contract = tenant.contract if tenant else None
    if contract is None:
        return call.cost_usd, call.cost_usd, "USD"
    own = contract.models.get(call.model) or contract.models.get(call.response_model)
    usd = (
        by_list(own, call.tokens, call.charge.service_tier)
        if own
        else (
            None
            if call.cost_usd is None
            else exactly(EXACT.multiply(call.cost_usd, 1 - contract.discount))
        )
    )
    rate = rate_at(definitions, contract.currency, call.at)
    return (
        usd,
        None if usd is None or rate is None else exactly(EXACT.divide(usd, rate)),
        contract.currency,
    )


def rate_at(definitions: Definitions, currency: str, at: datetime) -> Decimal | None:
    """US dollars for one unit of a currency on the day of `at`; None where nobody knows."""
    if currency == "USD":
        return Decimal(1)
    known = definitions.currency(currency)
    rates = known.rates if known else ()
    return max(
        ((rate.since, rate.usd) for rate in rates if rate.since <= at.date()), default=(None, None)
    )[1]


def settle(finished: RunFinished) -> list[RunSettled]:
    """A run's end told to its tenant, with how long its texts are and what they are like, never the
    texts.
    """
    written_in = script(finished.text)
    return [
        finished.then(
            RunSettled,
            question_chars=len(finished.text),
            answer_chars=len(finished.answer or ""),
            script=written_in,
            language=language(finished.text, written_in),
            subject=subject(finished.text),
        )
    ]


@dataclass(frozen=True)
class Total:
    """A tenant's usage in a window so far."""

    calls: int = 0
    unpriced_calls: int = 0
    tokens: Tokens = Tokens()
    cost_usd: Decimal = Decimal(0)


def add(total: Total, used: TokensUsed) -> Total:
    return Total(
        total.calls + 1,
        total.unpriced_calls + (used.cost_usd is None),
        add_tokens(total.tokens, used.tokens),
        add_cost(total.cost_usd, used.cost_usd),
    )


def close(tenant: str, start: datetime, end: datetime, total: Total) -> list[UsageTotalled]:
    """Called once, when event time has passed the window's end and its grace."""
    return [
        UsageTotalled.about(
            tenant,
            start.isoformat(),
            at=start,
            tenant=tenant,
            until=end,
            calls=total.calls,
            unpriced_calls=total.unpriced_calls,
            tokens=total.tokens,
            cost_usd=total.cost_usd,
        )
    ]


def add_cost(a: Decimal, b: Decimal | None) -> Decimal:
    """The exact sum, as far as money on the wire goes; nothing where nobody knows what `b` was."""
    return min(EXACT.add(a, b or Decimal(0)), COST_MAX_USD)


def add_took(a: Took, b: Took) -> Took:
    """The sum of what two runs took; of the cost what is known of it."""
    known = [one.total_cost_usd for one in (a, b) if one.total_cost_usd is not None]
    return Took(
        total_input_tokens=min(a.total_input_tokens + b.total_input_tokens, COUNT_MAX),
        total_output_tokens=min(a.total_output_tokens + b.total_output_tokens, COUNT_MAX),
        total_cost_usd=reduce(add_cost, known) if known else None,
        total_unpriced_calls=min(a.total_unpriced_calls + b.total_unpriced_calls, COUNT_MAX),
    )


def add_tokens(a: Tokens, b: Tokens) -> Tokens:
    """The sum, kind by kind, as far as a count goes."""
    return Tokens(
        **{
            kind: min(getattr(a, kind) + getattr(b, kind), COUNT_MAX)
            for kind in Tokens.model_fields
        }
    )
