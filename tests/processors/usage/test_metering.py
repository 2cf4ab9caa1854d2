"""Is what a call cost right to the last decimal, and is a minute the sum of its calls?"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.usage.metering import COUNT_MAX, Total, add, add_tokens, close, meter, settle
from processors.usage.prices import price
from schemas.definitions.kinds import Model
from schemas.definitions.prices import Price
from schemas.events.agent.runs import RunFinished
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from tests.support.processors import MODEL, NOON, company, ident, of_run, responded

FREE_OF_PRICE = Model(name="m", provider="openai", base_url="b", upstream="gpt-4o")


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        (Tokens(input_tokens=1_000_000), "2"),
        (Tokens(output_tokens=1_000_000), "8"),
        (
            Tokens(output_tokens=1_000_000, reasoning_tokens=900_000),
            "8",
        ),  # output includes reasoning
        (
            Tokens(input_tokens=1_000_000, cached_input_tokens=1_000_000),
            "0.5",
        ),  # input includes cached
        (
            Tokens(input_tokens=1_000_000, cached_input_tokens=400_000, cache_write_tokens=100_000),
            "1.5",
        ),
        (
            Tokens(input_tokens=1, cached_input_tokens=9, cache_write_tokens=9),
            "0.0000005",
        ),  # held to the input
        (Tokens(input_tokens=1), "0.000002"),
        (Tokens(), "0"),
    ],
)
def test_a_definitions_own_price(tokens, cost):
    assert price(MODEL, "openai", "gpt-4o", tokens, NOON) == Decimal(cost)


def test_without_prices_for_the_cache_its_tokens_cost_what_others_do():
    plain = MODEL.model_copy(update={"price": Price(input="2", output="8")})
    tokens = Tokens(input_tokens=1_000_000, cached_input_tokens=600_000, cache_write_tokens=400_000)
    assert price(plain, "x", "y", tokens, NOON) == 2


def test_the_price_book_knows_models_by_provider_and_counts_cached_tokens_once():
    tokens = Tokens(input_tokens=1_000, cached_input_tokens=400, output_tokens=100)
    when = datetime(2025, 1, 1, tzinfo=UTC)
    assert price(FREE_OF_PRICE, "openai", "gpt-4o-2024-08-06", tokens, when) == Decimal("0.003")
    assert price(None, "openai", "gpt-4o", tokens, when) == Decimal("0.003")
    assert price(FREE_OF_PRICE, "openai", "our-alias", tokens, when) == Decimal(
        "0.003"
    )  # by what was asked for


@pytest.mark.parametrize(
    ("provider", "name"), [("openai", "no-such-model"), ("nobody", "gpt-4o"), ("", "")]
)
def test_what_nobody_knows_has_no_price(provider, name):
    assert price(None, provider, name, Tokens(input_tokens=5), NOON) is None


def test_the_largest_numbers_have_a_price_too():
    most = Tokens(input_tokens=COUNT_MAX, output_tokens=COUNT_MAX)
    dear = MODEL.model_copy(update={"price": Price(input=10**30, output=10**30)})
    responded(cost_usd=price(dear, "x", "y", most, NOON))  # fits the wire
    assert price(MODEL, "x", "y", most, NOON) == Decimal(COUNT_MAX) * 10 / 1_000_000
    assert add_tokens(most, most) == most


def test_metering_and_settling_keep_what_is_asked_about():
    [used] = meter(responded(user="ada"), company())
    assert (
        used.session,
        used.model,
        used.provider,
        used.tokens,
        used.cost_usd,
        used.user,
        used.key,
    ) == (
        "s",
        "small",
        "openai",
        Tokens(input_tokens=10, output_tokens=5),
        Decimal("0.001"),
        "ada",
        "tenant",
    )
    finished = of_run(
        RunFinished, "1", outcome="failed", started_at=NOON, wait_ms=1, cost_usd="0.5"
    )
    [settled] = settle(finished)
    assert (settled.run, settled.outcome, settled.cost_usd) == (
        finished.run,
        "failed",
        Decimal("0.5"),
    )


costs = st.none() | st.decimals(0, 10**6, places=12)
used_calls = st.lists(st.tuples(costs, st.integers(0, 10**9), st.integers(0, 10**9)), max_size=30)


@given(used_calls)
def test_a_total_is_the_sum_in_any_order(calls):
    events = [
        TokensUsed(
            id=ident(str(n)),
            at=NOON,
            tenant="acme",
            session="s",
            run=ident("r"),
            agent="a",
            agent_version=1,
            model="m",
            provider="p",
            cost_usd=cost,
            tokens=Tokens(input_tokens=into, output_tokens=out),
        )
        for n, (cost, into, out) in enumerate(calls)
    ]
    forth, back = Total(), Total()
    for event in events:
        forth = add(forth, event)
    for event in reversed(events):
        back = add(back, event)
    [told] = close("acme", NOON, NOON + timedelta(minutes=1), forth)
    assert forth == back
    assert told.cost_usd == sum((cost for cost, _, _ in calls if cost is not None), Decimal(0))
    assert (told.calls, told.unpriced_calls) == (
        len(calls),
        sum(cost is None for cost, _, _ in calls),
    )
    assert (told.tokens.input_tokens, told.at, told.until) == (
        sum(into for _, into, _ in calls),
        NOON,
        NOON + timedelta(minutes=1),
    )


def test_a_totals_id_is_of_its_tenant_and_minute():
    ids = {
        close(tenant, start, start + timedelta(minutes=1), Total())[0].id
        for tenant in ("acme", "other")
        for start in (NOON, NOON + timedelta(minutes=1))
    }
    assert len(ids) == 4
    assert close("acme", NOON, NOON, Total())[0].id in ids
