"""What do model calls cost, call by call, and a tenant minute by minute?"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from genai_prices import Usage, calc_price

from schemas.agent import ModelResponded, RunFinished, RunSettled, Tokens
from schemas.registry import Definition, Model, Price
from schemas.usage import TokensUsed, UsageTotalled

MILLION = Decimal(1_000_000)
PICO_DOLLAR = Decimal("0.000000000001")
COST_MAX_USD = Decimal(10) ** 26 - 1
COUNT_MAX = 2**53
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""Python's default of 28 digits would round, or fail, where money on the wire has 38."""


def price(
    definition: Definition | None, provider: str, response_model: str, tokens: Tokens, at: datetime
) -> Decimal | None:
    """US dollars of one call, exact to 12 decimals: by the definition's own price, else by the price book at `at`.

    None where nobody knows the price. Input includes what was read from and written to a cache, and output includes
    reasoning, so neither is counted twice.
    """
    own = definition.price if isinstance(definition, Model) else None
    with localcontext(_EXACT):
        upstream = definition.upstream if isinstance(definition, Model) else ""
        cost_usd = _by(own, tokens) if own else _by_the_book(provider, (response_model, upstream), tokens, at)
        return None if cost_usd is None else min(cost_usd.quantize(PICO_DOLLAR), COST_MAX_USD)


def _by(own: Price, tokens: Tokens) -> Decimal:
    cached, written = _of_the_input(tokens)
    plain = tokens.input_tokens - cached - written
    cached_price = own.input if own.cached_input is None else own.cached_input
    written_price = own.input if own.cache_write is None else own.cache_write
    return (plain * own.input + cached * cached_price + written * written_price
            + tokens.output_tokens * own.output) / MILLION


def _by_the_book(provider: str, names: tuple[str, ...], tokens: Tokens, at: datetime) -> Decimal | None:
    """The price of the first name that the book knows: what the provider calls the model, else what it was asked for."""
    cached, written = _of_the_input(tokens)
    used = Usage(input_tokens=tokens.input_tokens, cache_read_tokens=cached, cache_write_tokens=written,
                 output_tokens=tokens.output_tokens)
    for name in filter(None, names):
        try:
            return calc_price(used, model_ref=name, provider_id=provider, genai_request_timestamp=at).total_price
        except (LookupError, ValueError):
            continue
    return None


def _of_the_input(tokens: Tokens) -> tuple[int, int]:
    """Tokens read from and written to the cache; a provider that reports more than the input is held to it."""
    cached = min(tokens.cached_input_tokens, tokens.input_tokens)
    return cached, min(tokens.cache_write_tokens, tokens.input_tokens - cached)


def meter(said: ModelResponded) -> list[TokensUsed]:
    """From the session's key to the tenant's: re-keying is a step, so that the table shows it."""
    return [said.then(TokensUsed)]


def settle(finished: RunFinished) -> list[RunSettled]:
    """A run's end told to its tenant."""
    return [finished.then(RunSettled)]


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
    return [UsageTotalled.about(tenant, start.isoformat(), at=start, tenant=tenant, until=end, calls=total.calls,
                                unpriced_calls=total.unpriced_calls, tokens=total.tokens, cost_usd=total.cost_usd)]


def add_cost(a: Decimal, b: Decimal | None) -> Decimal:
    """The exact sum, as far as money on the wire goes; nothing where nobody knows what `b` was."""
    return min(_EXACT.add(a, b or Decimal(0)), COST_MAX_USD)


def add_tokens(a: Tokens, b: Tokens) -> Tokens:
    """The sum, kind by kind, as far as a count goes."""
    return Tokens(
        input_tokens=min(a.input_tokens + b.input_tokens, COUNT_MAX),
        cached_input_tokens=min(a.cached_input_tokens + b.cached_input_tokens, COUNT_MAX),
        cache_write_tokens=min(a.cache_write_tokens + b.cache_write_tokens, COUNT_MAX),
        output_tokens=min(a.output_tokens + b.output_tokens, COUNT_MAX),
        reasoning_tokens=min(a.reasoning_tokens + b.reasoning_tokens, COUNT_MAX),
    )
