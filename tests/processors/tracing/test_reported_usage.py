"""Usage of other applications' spans is what their provider counted, whatever the SDK kept."""

import json
from decimal import Decimal
from typing import Any

import pytest

from processors.tracing.attributes import Finder, usage_of
from processors.usage.prices import by_list
from schemas.definitions.prices import Price
from tests.support.corpus import cases

HAIKU = Price(input=1, cache_write="1.25", cached_input="0.10", output=5)


@pytest.mark.parametrize("case", cases("span_usage"))
def test_a_spans_usage(case: dict[str, Any]) -> None:
    attributes = {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in case["input"].items()
    }
    usage = usage_of(Finder(attributes))
    assert usage.known and not usage.wrong
    assert {name: n for name, n in usage.tokens.model_dump().items() if n} == case["tokens"]
    if "usd" in case:
        assert by_list(HAIKU, usage.tokens) == Decimal(case["usd"])
