"""Prices one model call by the tokens of each kind that it took.

By the definition's own price, or by the price book of genai-prices as it was on the day. A price
that nobody knows is None and never zero; that goes for a tier of service too (`batch`, `priority`,
...) for which the book has no price.
"""

from collections import namedtuple
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider, TieredPrices

from schemas.definitions.kinds import Model
from schemas.definitions.prices import Price, Prices
from schemas.events.values import Tokens

MILLION = Decimal(1_000_000)
PICO_DOLLAR = Decimal("0.000000000001")
COST_MAX_USD = Decimal(10) ** 26 - 1
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""Python's default of 28 digits would round, or fail, where money on the wire has 38."""

USUAL = ("", "default", "standard", "auto", "on_demand")
"""What providers call the tier that has no name of its own."""

OF_CACHES = (
    "cached_input_tokens",
    "cached_audio_tokens",
    "cached_image_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
)

BOOK = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "input_audio": "input_audio_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "output_audio": "output_audio_mtok",
    "input_image": "input_image_mtok",
    "cached_image": "cache_image_read_mtok",
    "output_image": "output_image_mtok",
}
"""Our names of prices, and the book's."""

PRICED_AS = (
    ("plain", ("input",)),
    ("cached", ("cached_input", "input")),
    ("written_5m", ("cache_write", "input")),
    ("written_1h", ("cache_write_1h", "cache_write", "input")),
    ("audio", ("input_audio", "input")),
    ("cached_audio", ("cached_audio", "input_audio", "cached_input", "input")),
    ("said", ("output",)),
    ("image", ("input_image", "input")),
    ("reasoned", ("reasoning", "output")),
    ("cached_image", ("cached_image", "input_image", "cached_input", "input")),
    ("spoken", ("output_audio", "output")),
    ("drawn", ("output_image", "output")),
)
"""Which price holds for which part of a call: its own, or that of the kind around it."""

_of_caches = attrgetter(*OF_CACHES)
_Listed = namedtuple("_Listed", BOOK)


@dataclass(frozen=True)
class Parts:
    """A call's tokens, each in one part alone. A provider that reports more of a part than of the
    whole is held to the whole.
    """

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
    return Parts(
        room - audio - image,
        cached - cached_audio - cached_image,
        cached_audio,
        cached_image,
        written - written_1h,
        written_1h,
        audio,
        image,
        tokens.output_tokens - spoken - drawn - reasoned,
        reasoned,
        spoken,
        drawn,
    )


def price(
    definition: Model | None,
    provider: str,
    response_model: str,
    tokens: Tokens,
    at: datetime,
    service_tier: str = "",
) -> Decimal | None:
    """US dollars of one call, exact to 12 decimals; None where nobody knows the price.

    Input includes what was read from and written to a cache, audio and images, and output includes
    reasoning, so none is counted twice.
    """
    own = definition.price if definition else None
    if own:
        return by_list(own, tokens, service_tier)
    upstream = definition.upstream if definition else ""
    return by_book(provider, (response_model, upstream), tokens, at, service_tier)


def price_with_and_without_cache(
    definition: Model | None,
    provider: str,
    response_model: str,
    tokens: Tokens,
    at: datetime,
    service_tier: str = "",
) -> tuple[Decimal | None, Decimal | None]:
    """The price of a call, and what it would have been had the provider no cache."""
    cost_usd = price(definition, provider, response_model, tokens, at, service_tier)
    if cost_usd is None or not any(_of_caches(tokens)):
        return cost_usd, cost_usd
    bare = tokens.model_copy(update=dict.fromkeys(OF_CACHES, 0))
    return cost_usd, price(definition, provider, response_model, bare, at, service_tier)


def by_list(listed: Price, tokens: Tokens, service_tier: str = "") -> Decimal | None:
    """By a price of our own; the tokens of the whole input decide which step of it holds for all of
    them.
    """
    prices: Prices | None = listed
    if service_tier.lower() not in USUAL:
        prices = listed.tiers.get(service_tier.lower())
    else:
        above = [step for step in listed.above if tokens.input_tokens > step.input_tokens]
        prices = max(above, key=lambda step: step.input_tokens, default=listed)
    usd = None if prices is None else _sum(prices, parts_of(tokens))
    return None if usd is None else exactly(usd)


def _sum(prices: Any, of: Parts) -> Decimal | None:
    """A kind that has no price of its own costs what the kind around it does; None where that has
    none either.
    """
    total = Decimal(0)
    for part, one_of in PRICED_AS:
        if count := getattr(of, part):
            known = next(
                (price for name in one_of if (price := getattr(prices, name)) is not None), None
            )
            if known is None:
                return None
            total = EXACT.add(total, EXACT.multiply(known, count))
    return EXACT.divide(total, MILLION)


def by_book(
    provider: str, names: tuple[str, ...], tokens: Tokens, at: datetime, service_tier: str = ""
) -> Decimal | None:
    """By the price book: of the first name that it knows, what the provider calls the model or what
    it was asked for.

    The book's prices of the moment and the tier, added up here: its own way from them to a sum took
    350 microseconds, this one 25, and 10 where others of that second were priced before. A test
    holds the two together for every model that it knows.
    """
    second = at.replace(microsecond=0)
    for name in filter(None, names):
        if _in_book(provider, name) is None:
            continue
        if (listed := _listed(provider, name, second, service_tier)) is None:
            return None
        prices = _Listed(
            *(_at_length(listed.get(key), tokens.input_tokens) for key in BOOK.values())
        )
        usd = _sum(prices, parts_of(tokens))
        each_request = listed.get("requests_kcount") or Decimal(0)
        return (
            None
            if usd is None
            else exactly(EXACT.add(usd, EXACT.divide(each_request, Decimal(1000))))
        )
    return None


@lru_cache(maxsize=10_000)
def _in_book(provider: str, name: str) -> tuple[Provider, ModelInfo] | None:
    """The book's entry of a model. The book knows most names of providers, and writes with a hyphen
    what OpenTelemetry writes with an underscore (`x_ai`).
    """
    for known in dict.fromkeys((provider, provider.strip().lower().replace("_", "-"))):
        try:
            return get_snapshot().find_provider_model(name, None, known, None)
        except (LookupError, ValueError):
            continue
    return None


@lru_cache(maxsize=1_000)
def _listed(provider: str, name: str, second: datetime, service_tier: str) -> dict[str, Any] | None:
    """The book's prices of a model that it knows; None where it has none for that tier. They change
    with the day, and with the time of day.
    """
    found, context = _in_book(provider, name), context_of(service_tier)
    if found is None or (context and not _knows(*found, context, second)):
        return None
    return found[1].get_prices(second, context or None).__dict__


def _at_length(price_: Any, input_tokens: int) -> Decimal | None:
    """A price that depends on how long the whole input is, at this length; any other as it is."""
    if not isinstance(price_, TieredPrices):
        return price_
    return next(
        (tier.price for tier in reversed(price_.tiers) if input_tokens > tier.start), price_.base
    )


def context_of(service_tier: str) -> dict[str, str]:
    """A tier in the book's words."""
    tier = service_tier.lower()
    return (
        {}
        if tier in USUAL
        else {"processing": "batch"}
        if tier == "batch"
        else {"service_tier": tier}
    )


def _knows(provider: Provider, model: ModelInfo, context: dict[str, str], at: datetime) -> bool:
    """Whether the book has a price for this tier on that day; without one it would give the usual
    price.
    """
    return any(own is model for own in provider.models) and any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


def exactly(usd: Decimal) -> Decimal:
    """To the twelve decimals that money on the wire has, and no more than fits there."""
    return min(usd.quantize(PICO_DOLLAR, context=EXACT), COST_MAX_USD)
