"""What do model calls cost, call by call, and a tenant minute by minute?"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from genai_prices import Usage, calc_price

from schemas.agent import ModelResponded, RunFinished, RunSettled, Tokens
from schemas.registry import Definition, Model, Price
from schemas.usage import TokensUsed, UsageTotalled

MILLION = Decimal(1_000_000)
PICO_DOLLAR = Decimal("0.000000000001")


def price(
    definition: Definition | None, provider: str, response_model: str, tokens: Tokens, at: datetime
) -> Decimal | None:
    """US dollars of one call, exact to 12 decimals: by the definition's own price, else by the price book at `at`.

    None where nobody knows the price. Input includes what was read from and written to a cache, and output includes
    reasoning, so neither is counted twice.
    """
    own = definition.price if isinstance(definition, Model) else None
    cost_usd = _by(own, tokens) if own else _by_the_book(provider, response_model, tokens, at)
    return None if cost_usd is None else cost_usd.quantize(PICO_DOLLAR, ROUND_HALF_EVEN)


def _by(own: Price, tokens: Tokens) -> Decimal:
    cached, written = _of_the_input(tokens)
    plain = tokens.input_tokens - cached - written
    cached_price = own.input if own.cached_input is None else own.cached_input
    written_price = own.input if own.cache_write is None else own.cache_write
    return (plain * own.input + cached * cached_price + written * written_price
            + tokens.output_tokens * own.output) / MILLION


def _by_the_book(provider: str, response_model: str, tokens: Tokens, at: datetime) -> Decimal | None:
    cached, written = _of_the_input(tokens)
    used = Usage(input_tokens=tokens.input_tokens, cache_read_tokens=cached, cache_write_tokens=written,
                 output_tokens=tokens.output_tokens)
    try:
        return calc_price(used, model_ref=response_model, provider_id=provider, genai_request_timestamp=at).total_price
    except (LookupError, ValueError):
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
        total.cost_usd + (used.cost_usd or 0),
    )


def close(tenant: str, start: datetime, end: datetime, total: Total) -> list[UsageTotalled]:
    """Called once, when event time has passed the window's end and its grace."""
    return [UsageTotalled.about(tenant, start.isoformat(), at=start, tenant=tenant, until=end, calls=total.calls,
                                unpriced_calls=total.unpriced_calls, tokens=total.tokens, cost_usd=total.cost_usd)]


def add_tokens(a: Tokens, b: Tokens) -> Tokens:
    """The sum, kind by kind."""
    return Tokens(
        input_tokens=a.input_tokens + b.input_tokens,
        cached_input_tokens=a.cached_input_tokens + b.cached_input_tokens,
        cache_write_tokens=a.cache_write_tokens + b.cache_write_tokens,
        output_tokens=a.output_tokens + b.output_tokens,
        reasoning_tokens=a.reasoning_tokens + b.reasoning_tokens,
    )
