"""What does one model call cost, by the tokens of each kind that it took?

By the definition's own price, or by the price book of genai-prices as it was on the day. A price that nobody knows is
None and never zero; that goes for a tier of service too (`batch`, `priority`, ...) for which the book has no price.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from genai_prices import Usage, calc_price
from genai_prices.types import PriceCalculation

from schemas.prices import Price, Prices
from schemas.registry import Definition, Model
from schemas.values import Tokens

MILLION = Decimal(1_000_000)
PICO_DOLLAR = Decimal("0.000000000001")
COST_MAX_USD = Decimal(10) ** 26 - 1
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""Python's default of 28 digits would round, or fail, where money on the wire has 38."""

USUAL = ("", "default", "standard", "auto", "on_demand")
"""What providers call the tier that has no name of its own."""

OF_CACHES = ("cached_input_tokens", "cached_audio_tokens", "cached_image_tokens", "cache_write_tokens",
             "cache_write_1h_tokens")


@dataclass(frozen=True)
class Parts:
    """A call's tokens, each in one part alone. A provider that reports more of a part than of the whole is held to
    the whole."""

    plain: int
    cached: int
    cached_audio: int
    cached_image: int
    written_5m: int
    written_1h: int
    audio: int
    image: int
    said: int
    reasoned: int
    spoken: int
    drawn: int


def parts_of(tokens: Tokens) -> Parts:
    cached = min(tokens.cached_input_tokens, tokens.input_tokens)
    written = min(tokens.cache_write_tokens, tokens.input_tokens - cached)
    written_1h = min(tokens.cache_write_1h_tokens, written)
    cached_audio = min(tokens.cached_audio_tokens, tokens.input_audio_tokens, cached)
    cached_image = min(tokens.cached_image_tokens, tokens.input_image_tokens, cached - cached_audio)
    room = tokens.input_tokens - cached - written
    audio = min(tokens.input_audio_tokens - cached_audio, room)
    image = min(tokens.input_image_tokens - cached_image, room - audio)
    spoken = min(tokens.output_audio_tokens, tokens.output_tokens)
    drawn = min(tokens.output_image_tokens, tokens.output_tokens - spoken)
    reasoned = min(tokens.reasoning_tokens, tokens.output_tokens - spoken - drawn)
    return Parts(room - audio - image, cached - cached_audio - cached_image, cached_audio, cached_image,
                 written - written_1h, written_1h, audio, image, tokens.output_tokens - spoken - drawn - reasoned,
                 reasoned, spoken, drawn)


def price(
    definition: Definition | None, provider: str, response_model: str, tokens: Tokens, at: datetime,
    service_tier: str = "",
) -> Decimal | None:
    """US dollars of one call, exact to 12 decimals; None where nobody knows the price.

    Input includes what was read from and written to a cache, audio and images, and output includes reasoning, so none
    is counted twice.
    """
    own = definition.price if isinstance(definition, Model) else None
    if own:
        return by_list(own, tokens, service_tier)
    upstream = definition.upstream if isinstance(definition, Model) else ""
    return by_book(provider, (response_model, upstream), tokens, at, service_tier)


def price_with_and_without_cache(
    definition: Definition | None, provider: str, response_model: str, tokens: Tokens, at: datetime,
    service_tier: str = "",
) -> tuple[Decimal | None, Decimal | None]:
    """The price of a call, and what it would have been had the provider no cache."""
    cost_usd = price(definition, provider, response_model, tokens, at, service_tier)
    bare = tokens.model_copy(update=dict.fromkeys(OF_CACHES, 0))
    if bare == tokens or cost_usd is None:
        return cost_usd, cost_usd
    return cost_usd, price(definition, provider, response_model, bare, at, service_tier)


def by_list(listed: Price, tokens: Tokens, service_tier: str = "") -> Decimal | None:
    """By a price of our own; the tokens of the whole input decide which step of it holds for all of them."""
    prices: Prices | None = listed
    if service_tier.lower() not in USUAL:
        prices = listed.tiers.get(service_tier.lower())
    else:
        above = [step for step in listed.above if tokens.input_tokens > step.input_tokens]
        prices = max(above, key=lambda step: step.input_tokens, default=listed)
    return None if prices is None else exactly(_sum(prices, parts_of(tokens)))


def _sum(prices: Prices, of: Parts) -> Decimal:
    """A kind that has no price of its own costs what the kind around it does."""
    def known(*one_of: Decimal | None) -> Decimal:
        return next(each for each in one_of if each is not None)

    written = known(prices.cache_write, prices.input)
    cached = known(prices.cached_input, prices.input)
    with localcontext(EXACT):
        return (of.plain * prices.input + of.cached * cached
                + of.cached_audio * known(prices.cached_audio, prices.input_audio, cached)
                + of.cached_image * known(prices.cached_image, prices.input_image, cached)
                + of.written_5m * written + of.written_1h * known(prices.cache_write_1h, written)
                + of.audio * known(prices.input_audio, prices.input)
                + of.image * known(prices.input_image, prices.input)
                + of.said * prices.output + of.reasoned * known(prices.reasoning, prices.output)
                + of.spoken * known(prices.output_audio, prices.output)
                + of.drawn * known(prices.output_image, prices.output)) / MILLION


def by_book(
    provider: str, names: tuple[str, ...], tokens: Tokens, at: datetime, service_tier: str = ""
) -> Decimal | None:
    """By the price book: of the first name that it knows, what the provider calls the model or what it was asked for."""
    used, context = usage_of(parts_of(tokens)), context_of(service_tier)
    with localcontext(EXACT):
        for name in filter(None, names):
            try:
                found = calc_price(used, model_ref=name, provider_id=provider, genai_request_timestamp=at,
                                   price_context=context)
            except (LookupError, ValueError):
                continue
            return exactly(found.total_price) if _knows(found, context, at) else None
    return None


def usage_of(of: Parts) -> Usage:
    """In the book's words: each whole with its parts, all of them said, because it guesses at none."""
    cached = of.cached + of.cached_audio + of.cached_image
    written = of.written_5m + of.written_1h
    return Usage(
        input_tokens=of.plain + of.audio + of.image + cached + written, cache_read_tokens=cached,
        cache_write_tokens=written, cache_write_5m_tokens=of.written_5m, cache_write_1h_tokens=of.written_1h,
        input_audio_tokens=of.audio + of.cached_audio, cache_audio_read_tokens=of.cached_audio,
        input_image_tokens=of.image + of.cached_image, cache_image_read_tokens=of.cached_image,
        output_tokens=of.said + of.reasoned + of.spoken + of.drawn, output_reasoning_tokens=of.reasoned,
        output_audio_tokens=of.spoken, output_image_tokens=of.drawn)


def context_of(service_tier: str) -> dict[str, str]:
    """A tier in the book's words."""
    tier = service_tier.lower()
    return {} if tier in USUAL else {"processing": "batch"} if tier == "batch" else {"service_tier": tier}


def _knows(found: PriceCalculation, context: dict[str, str], at: datetime) -> bool:
    """Whether the book has a price for this tier on that day; without one it would give the usual price."""
    if not context:
        return True
    return any(own is found.model for own in found.provider.models) and any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(at))
        for variant in found.model.price_variants or ())


def exactly(usd: Decimal) -> Decimal:
    """To the twelve decimals that money on the wire has, and no more than fits there."""
    return min(usd.quantize(PICO_DOLLAR, context=EXACT), COST_MAX_USD)
