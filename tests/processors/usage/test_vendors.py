"""Every vendor's way of counting is the same tokens and the same money, to the last decimal."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.usage.prices import by_list
from schemas.definitions.prices import Price
from schemas.events.values import Tokens
from schemas.vendors.usage import UNKNOWN, larger, usage_of
from tests.support.corpus import cases

USAGES = [case.values[0]["input"] for case in cases("usage")]


def by_names(tokens: Tokens) -> dict[str, int]:
    return {name: count for name, count in tokens.model_dump().items() if count}


@pytest.mark.parametrize("case", cases("usage"))
def test_a_vendors_usage(case: dict[str, Any]) -> None:
    usage = usage_of(case["input"])
    assert usage.known == case["known"]
    assert by_names(usage.tokens) == {name: n for name, n in case["tokens"].items() if n}
    if case["usd"] is not None:
        assert by_list(Price(**case["price"]), usage.tokens) == Decimal(case["usd"])


@pytest.mark.parametrize("case", cases("usage"))
def test_a_report_and_zeros_are_the_report_in_either_order(case: dict[str, Any]) -> None:
    told = usage_of(case["input"])
    zeros = usage_of({"prompt_tokens": 0, "completion_tokens": 0})
    if told.known:
        assert larger(told, zeros) == larger(zeros, told) == told
    assert larger(told, UNKNOWN).tokens == larger(UNKNOWN, told).tokens == told.tokens


SCALARS = st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(usage=st.sampled_from([u for u in USAGES if isinstance(u, dict)]), data=st.data())
def test_no_usage_raises_and_parts_are_never_more_than_the_whole(
    usage: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([*usage, "total_tokens", "cache_creation"]))
    tokens = usage_of({**usage, name: data.draw(VALUES)}).tokens
    assert tokens.cached_input_tokens + tokens.cache_write_tokens <= tokens.input_tokens or (
        not tokens.input_tokens
    )
    assert tokens.reasoning_tokens <= tokens.output_tokens or not tokens.output_tokens
