"""What is left of a result that is too long for a model: enough of it, no more than it may have,
and what is missing?
"""

import json

import pytest
from hypothesis import given, strategies

from processors.tools.truncate import shortened

ROWS = json.dumps([{"order": f"A-{nth}", "note": "late " * 50} for nth in range(20_000)])


def test_beginning_and_end_stay_and_what_is_missing_is_said():
    short = shortened("HEAD" + "x" * 1_000_000 + "TAIL", "ends", 1_000)
    assert short.startswith("HEAD") and short.endswith("TAIL") and len(short) <= 1_000
    assert "1,000,008 characters in all" in short and "is kept outside" in short
    assert "not kept" in shortened("x" * 2_000, "ends", 1_000, kept=False)


def test_the_outline_of_json_is_json_that_says_what_is_missing():
    short = shortened(ROWS, "outline", 5_000)
    rows = json.loads(short)
    assert rows[0]["order"] == "A-0" and "more entries" in rows[-1] and len(short) <= 5_000


@pytest.mark.parametrize(
    "text",
    [
        "no JSON " * 1_000,
        '"' + "x" * 5_000,
        json.dumps({str(n): n for n in range(9_000)})[:-1],
        "[" * 100_000,
        json.dumps({"k" * 3_000: 1}),
    ],
)
def test_what_has_no_outline_has_its_ends(text):
    assert shortened(text, "outline", 1_000) == shortened(text, "ends", 1_000)


@given(
    strategies.integers(201, 600),
    strategies.sampled_from(["x", "🏔", '"', "[1, ", "\ud800"]),
    strategies.sampled_from(["ends", "outline"]),
    strategies.integers(1, 200),
)
def test_it_is_never_longer_than_it_may_be(times, part, way, most):
    assert len(shortened(part * times, way, most)) <= most
