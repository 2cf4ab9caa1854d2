"""Amounts and times in the commands' output."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from streams.cli.output import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0E-12"), "0"),
        (Decimal("0.010425200000"), "0.0104252"),
        (Decimal("1200"), "1200"),
        (Decimal("-5.10"), "-5.1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "NaN"),
        (None, ""),
        (0, "0"),
        (1.5, "1.5"),
        ("", ""),
        (datetime(2026, 11, 26, 6, 26, 43, 405_000), "2026-11-26 06:26:43.405"),
        (date(2026, 11, 26), "2026-11-26"),
        (datetime(2026, 11, 26, 6, 26, tzinfo=UTC), "2026-11-26 06:26:00"),
    ],
)
def test_a_value_is_shown_as_people_write_it(value, text):
    assert shown(value) == text
