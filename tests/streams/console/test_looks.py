"""Can everybody read the console: contrast in light and in dark, alarms in words, texts in which
nothing is hidden?
"""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from streams.console.alarms import alerts, completeness
from streams.console.page import FOLDER, seen

CSS = (FOLDER / "console.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FIGURES = {"runs": 100, "unpriced_calls": 0}
SIGNS = {
    "dead_letters": 0,
    "drifted": 0,
    "budget_share": None,
    "budget_of": "",
    "failed": 0,
    "not_undone": 0,
    "not_asked": [],
}


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground", "least"),
    [
        *(
            (ink, ground, 4.5)
            for ink in ("ink", "quiet", "accent", "bad", "good", "warn")
            for ground in ("paper", "panel")
        ),
        ("paper", "accent", 4.5),
        ("edge", "paper", 3),
        *((f"c{nth}", "paper", 3) for nth in range(8)),
    ],
)
def test_what_is_written_and_drawn_stands_out(colours, ink, ground, least):
    """WCAG 2.2: 1.4.3 for text, 1.4.11 for the borders of fields and what is drawn."""
    assert contrast(colours[ink], colours[ground]) >= least


def test_focus_is_seen():
    assert (
        ":focus-visible { outline: 2px solid" in CSS
        and "outline: none" not in CSS
        and "outline: 0" not in CSS
    )


def told(**signs):
    return [
        one.words
        for one in alerts(
            FIGURES | signs.pop("figures", {}), SIGNS | signs, [], [], signs.pop("waiting", 0)
        )
    ]


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ({}, []),
        ({"dead_letters": 1}, ["1 record could not be processed"]),
        ({"failed": 9}, []),
        (
            {"not_asked": ["small", "refund"]},
            ["the circuit breaker of refund, small is open: no calls are made for now"],
        ),
        ({"failed": 10}, ["10% of the runs failed or were stopped"]),
        (
            {"budget_share": Decimal("0.8"), "budget_of": "fernweh"},
            ["fernweh has spent 80% of a budget"],
        ),
        ({"figures": {"unpriced_calls": 2}}, ["2 model calls have no known price"]),
    ],
)
def test_an_alarm_is_a_sentence(signs, words):
    assert told(**signs) == words


def test_what_is_lost_or_late_is_the_first_alarm():
    row = {"topic": "weir.a.b", "produced": 10, "lost": 1, "doubled": 0}
    late = {"consumer": "calls", "oldest_now_ms": 61_000, "behind_now": 7}
    first, second, *_ = alerts(
        FIGURES, SIGNS | {"dead_letters": 1}, [row], [late, late | {"oldest_now_ms": 60_000}], 2
    )
    assert (
        first.words.startswith("1 record is lost or doubled, in weir.a.b")
        and second.words == "calls is 61 s behind, by 7 records"
    )
    counted = {"last_counted": datetime(2026, 5, 4, 12)}  # as ClickHouse's client gives it, in UTC
    assert (
        completeness([row | counted], NOON).bad
        and completeness([row | counted | {"lost": 0}], NOON).value == "balanced"
    )
    assert completeness([], NOON).value == "not counted yet", "what nobody counted is not balanced"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("שלום", "שלום"),
        ("👩‍🚀", "👩‍🚀"),
        ("\u202egnp.exe", "[U+202E]gnp.exe"),
        ("a\u200bb", "a[U+200B]b"),
        ("\U000e0041", "[U+E0041]"),
    ],
)
def test_nothing_is_hidden_in_a_text(text, shown):
    assert seen(text) == shown
