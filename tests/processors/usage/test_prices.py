"""Is every invoice line right: forty calls of all kinds, models, tiers and days against list prices
written down here?
"""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.usage.metering import charged, rate_at
from processors.usage.prices import (
    BOOK,
    Parts,
    context_of,
    parts_of,
    price,
    price_with_and_without_cache,
)
from schemas.definitions.kinds import Currency, Definitions, Model, Tenant
from schemas.definitions.prices import Contract, Price, Rate
from schemas.events.values import Charge, Tokens
from tests.processors.usage.invoice_lines import (
    DAY_OF_IT,
    INVOICES,
    MORNING,
    NIGHT,
    NOVEMBER,
    PLAIN,
    RICH,
)
from tests.support.processors import NOON, responded


def tokens_by(counts: dict[str, int]) -> Tokens:
    return Tokens(**{f"{kind}_tokens": count for kind, count in counts.items()})


def due(lines: list[tuple[int, str]]) -> Decimal:
    return (
        sum((Decimal(per_million) * count for count, per_million in lines), Decimal(0)) / 1_000_000
    )


def test_there_are_forty_of_all_kinds():
    assert len(INVOICES) == 40
    used = {kind for *_, counts, _ in INVOICES for kind, count in counts.items() if count}
    assert {f"{kind}_tokens" for kind in used} == Tokens.model_fields.keys()


@pytest.mark.parametrize(
    ("of", "at", "tier", "counts", "lines"),
    INVOICES,
    ids=[
        f"{number}-{of.name if isinstance(of, Model) else of[1]}-{tier or 'usual'}"
        for number, (of, _, tier, _, _) in enumerate(INVOICES)
    ],
)
def test_an_invoice_line_is_exact(of, at, tier, counts, lines):
    definition, provider, name = (of, "house", "own-1") if isinstance(of, Model) else (None, *of)
    assert price(definition, provider, name, tokens_by(counts), at, tier) == due(lines)


@pytest.mark.parametrize(
    ("of", "at", "tier"),
    [
        (("openai", "gpt-4o"), NOVEMBER, "flex"),  # the book has no flex price of it
        (("anthropic", "claude-opus-4-1"), NOVEMBER, "batch"),
        (("openai", "gpt-4o"), datetime(2026, 10, 1, tzinfo=UTC), "batch"),  # before the book knew
        (("nobody", "gpt-4o"), NOVEMBER, ""),
        (PLAIN, NOVEMBER, "batch"),
    ],
)
def test_a_price_that_nobody_knows_is_none_and_never_zero_or_the_usual_one(of, at, tier):
    definition, provider, name = (of, "house", "own-1") if isinstance(of, Model) else (None, *of)
    assert (
        price(definition, provider, name, Tokens(input_tokens=5, output_tokens=5), at, tier) is None
    )


def test_more_of_a_part_than_of_the_whole_is_held_to_the_whole():
    absurd = Tokens(**{kind: 10 for kind in Tokens.model_fields})
    parts = parts_of(absurd)
    assert sum(vars(parts).values()) == 20
    assert min(vars(parts).values()) == 0
    assert price(RICH, "house", "own-1", absurd, NOVEMBER) is not None
    assert price(None, "openai", "gpt-realtime", absurd, NOVEMBER) is not None


EURO = Currency(
    name="EUR",
    rates=(Rate(since=date(2026, 1, 1), usd="1.25"), Rate(since=date(2026, 2, 1), usd="1.6")),
)


@pytest.mark.parametrize(
    ("contract", "cost", "usd", "amount", "currency"),
    [
        (None, "0.5", "0.5", "0.5", "USD"),
        (Contract(discount="0.1"), "0.5", "0.45", "0.45", "USD"),
        (Contract(discount="0.1", currency="EUR"), "0.5", "0.45", "0.36", "EUR"),
        (
            Contract(models={"small": Price(input=1, output=2)}, currency="EUR"),
            "0.5",
            "0.00002",
            "0.000016",
            "EUR",
        ),
        (
            Contract(models={"gpt-4o-mini": Price(input=1, output=2)}),
            None,
            "0.00002",
            "0.00002",
            "USD",
        ),
        (Contract(discount="0.1", currency="EUR"), None, None, None, "EUR"),
        (Contract(currency="CHF"), "0.5", "0.5", None, "CHF"),  # nobody knows the rate
    ],
)
def test_a_tenant_pays_what_its_contract_says_in_its_currency(
    contract, cost, usd, amount, currency
):
    call = responded(cost_usd=cost)
    given = Definitions.of(tenant := Tenant(name="acme", contract=contract), EURO)
    wanted = [None if one is None else Decimal(one) for one in (usd, amount)]
    assert charged(call, tenant, given) == (*wanted, currency)


def test_a_contracts_tier_without_a_price_is_unpriced():
    tenant = Tenant(name="acme", contract=Contract(models={"small": Price(input=1, output=2)}))
    call = responded(charge=Charge(service_tier="batch"))
    assert charged(call, tenant, Definitions.of(tenant))[:2] == (None, None)


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        (datetime(2025, 12, 31, 23, 59, tzinfo=UTC), None),
        (NOON, "1.25"),
        (datetime(2026, 2, 1, tzinfo=UTC), "1.6"),
    ],
)
def test_a_rate_holds_from_its_day_on(at, rate):
    assert rate_at(Definitions.of(EURO), "EUR", at) == (rate and Decimal(rate))


def test_what_a_cache_saved_is_the_difference_to_the_price_without_it():
    tokens = Tokens(
        input_tokens=1_000, cached_input_tokens=600, cache_write_tokens=200, output_tokens=10
    )
    cost, uncached = price_with_and_without_cache(RICH, "house", "own-1", tokens, NOVEMBER)
    assert (cost, uncached) == (
        due([(200, "1"), (600, "0.1"), (200, "1.25"), (10, "10")]),
        due([(1_000, "1"), (10, "10")]),
    )
    assert price_with_and_without_cache(None, "nobody", "x", tokens, NOVEMBER) == (None, None)


KNOWN_TO_US = {*BOOK.values(), "requests_kcount"}
NO_TOKENS = {
    "web_searches_kcount",
    "storage_searches_kcount",
    "audio_hours",
    "input_audio_hours",
    "input_document_kpages",
    "input_annotated_document_kpages",
    "input_mchars",
    "input_text_messages_kcount",
}
NO_KINDS_OF_OURS = {"input_video_mtok", "output_video_mtok", "output_citation_mtok"}
BOOKED = [
    (provider.id, model) for provider in get_snapshot().providers for model in provider.models
]


def usage_of(of: Parts) -> Usage:
    """In the book's words: each whole with its parts, all of them said, because it guesses at
    none.
    """
    cached, written = of.cached + of.cached_audio + of.cached_image, of.written_5m + of.written_1h
    return Usage(
        input_tokens=of.plain + of.audio + of.image + cached + written,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        cache_write_5m_tokens=of.written_5m,
        cache_write_1h_tokens=of.written_1h,
        input_audio_tokens=of.audio + of.cached_audio,
        cache_audio_read_tokens=of.cached_audio,
        input_image_tokens=of.image + of.cached_image,
        cache_image_read_tokens=of.cached_image,
        output_tokens=of.said + of.reasoned + of.spoken + of.drawn,
        output_reasoning_tokens=of.reasoned,
        output_audio_tokens=of.spoken,
        output_image_tokens=of.drawn,
    )


def test_the_book_has_no_prices_that_we_do_not_know_of():
    prices = [
        each.prices if hasattr(each, "prices") else each
        for _, model in BOOKED
        for each in (model.prices if isinstance(model.prices, list) else [model.prices])
    ]
    keys = {key for each in prices for key, value in each.__dict__.items() if value is not None}
    assert keys <= KNOWN_TO_US | NO_TOKENS | NO_KINDS_OF_OURS


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_sum_of_ours_is_the_books_own_for_every_model_that_it_knows(data):
    provider, model = data.draw(st.sampled_from(BOOKED))
    tokens = Tokens(
        **{
            kind: data.draw(st.sampled_from([0, 7, 1_000, 300_000]), kind)
            for kind in Tokens.model_fields
        }
    )
    tier = data.draw(st.sampled_from(["", "batch", "priority", "flex"]))
    at = data.draw(st.sampled_from([NOVEMBER, NIGHT, MORNING, DAY_OF_IT]))
    ours = price(None, provider, model.id, tokens, at, tier)
    try:
        book = calc_price(
            usage_of(parts_of(tokens)),
            model_ref=model.id,
            provider_id=provider,
            genai_request_timestamp=at,
            price_context=context_of(tier),
        )
    except LookupError:  # some are not found by their own name
        assert ours is None
        return
    if ours is not None:
        assert abs(ours - book.total_price) < Decimal("0.000000000001")
    elif not tier:  # only where tokens were used for which the book names no price
        assert not {"input_mtok", "output_mtok"} <= {
            key for key, value in book.model.get_prices(at).__dict__.items() if value is not None
        }


def test_a_day_has_one_rate():
    with pytest.raises(ValidationError, match="two rates hold since 2026-01-01: leave one"):
        Currency(
            name="EUR",
            rates=(Rate(since=date(2026, 1, 1), usd=1), Rate(since=date(2026, 1, 1), usd=2)),
        )


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("grok-4", ("x_ai", "xai", "x-ai", "X_AI")),
        ("gemini-2.5-flash", ("gcp.gemini", "gcp.vertex_ai", "gemini", "google", "vertex_ai")),
        ("gpt-4o", ("azure.ai.openai", "azure", "azure_openai")),
        ("mistral-large-latest", ("mistral_ai", "mistral")),
        ("kimi-k2-0905-preview", ("moonshot", "moonshotai")),
    ],
)
def test_a_provider_has_one_price_under_all_its_names(model, names):
    tokens = Tokens(input_tokens=1_000, output_tokens=10)
    prices = {price(None, name, model, tokens, NOVEMBER) for name in names}
    assert len(prices) == 1 and None not in prices
