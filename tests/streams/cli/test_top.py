"""`weir top` shows the live views at any width, and one sentence when they are down."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from infra.embedded.testing import free_ports
from streams.cli.operate import top
from streams.config import Settings
from streams.live.table import Cell, LiveTable, bucket

NOON = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
MINUTE = int(NOON.timestamp() // 60)


def view(
    cells: dict[tuple[str, str, str], Cell], behind_s: float | None = 0.0, undecodable: int = 0
) -> dict:
    table = LiveTable()
    table._minutes[MINUTE] = cells
    return {"at": NOON.isoformat(), "behind_s": behind_s, "undecodable": undecodable} | table.view(
        NOON
    )


def cell(**counts: object) -> Cell:
    made = Cell(**{name: value for name, value in counts.items() if name != "wait_ms"})
    made.waits.update({bucket(counts.get("wait_ms", 100)): made.runs})
    return made


def text(shown: dict, by: top.By = "all", width: int = 120) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(top.render(shown, by))
    return console.export_text()


BUSY = view(
    {
        ("acme", "support", "small"): cell(
            runs=12_345,
            errors=3,
            model_calls=20_000,
            input_tokens=2_500_000,
            output_tokens=99,
            cost_usd=Decimal("1.23456"),
            wait_ms=2_100,
        ),
        ("globex", "support", ""): cell(runs=7, unpriced_calls=1, wait_ms=394),
    }
)


def test_rows_and_total():
    lines = text(BUSY).splitlines()
    acme = next(line for line in lines if line.startswith("acme"))
    assert acme.split()[:5] == ["acme", "support", "small", "12,345", "3"]
    assert "2.50M" in acme and "1.2346" in acme and "2.1s" in acme
    globex = next(line for line in lines if line.startswith("globex")).split()
    assert globex[2] == "-" and "0.0000*" in globex, "no model, and a call whose price nobody knows"
    assert next(line for line in lines if line.startswith("total")).split()[1] == "12,352"


@pytest.mark.parametrize(
    "by, first", [("tenant", "acme"), ("agent", "support"), ("model", "small")]
)
def test_grouping(by: top.By, first: str):
    names = [line.split()[0] for line in text(BUSY, by).splitlines() if line]
    assert first in names and "total" in names


def test_no_number_is_cut_in_a_narrow_terminal():
    assert "…" not in text(BUSY, width=80)


def test_rare_columns_come_when_there_is_something_in_them():
    assert "dead" not in text(BUSY)
    assert "dead" in text(view({("a", "b", "c"): cell(dead_letters=1)}))


@pytest.mark.parametrize(
    "behind_s, words", [(None, "starting"), (0.4, "up to date"), (1_800.0, "1,800 s behind")]
)
def test_freshness_is_said(behind_s: float | None, words: str):
    assert words in text(view({}, behind_s))


def test_emptiness_and_broken_records_are_said():
    shown = text(view({}, undecodable=2))
    assert "nothing happened yet" in shown and "2 records that are no events" in shown


def test_more_rows_than_fit_are_counted():
    many = view({(f"t{n:03}", "a", "m"): cell(runs=1) for n in range(top.MOST_ROWS + 5)})
    assert "and 5 more rows" in text(many)


def test_bars_follow_the_runs():
    minutes = [{"runs": 0}, {"runs": 4}, {"runs": 8}]
    assert top.sparkline(minutes) == "runs a minute ▁▄█ (most 8)"
    assert top.sparkline([]) == ""


def test_live_views_that_are_down_are_one_sentence():
    settings = Settings(live_port=free_ports(1)[0])
    with pytest.raises(top.LiveViewsUnavailableError, match=r"do not answer on port .*weir up"):
        top.show(settings, once=True)


def test_json_is_what_the_live_views_said(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(top, "fetch", lambda settings, minutes: BUSY)
    top.show(Settings(), as_json=True, say=said.append)
    assert json.loads(said[0]) == json.loads(json.dumps(BUSY))
