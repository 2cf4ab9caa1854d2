"""The view of `weir top`: a table from the live views' JSON, redrawn every second."""

import json
import time
from collections.abc import Callable
from typing import Any, Literal

import httpx
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.cli.output import out
from streams.config import Settings

By = Literal["all", "tenant", "agent", "model"]
GROUPS: dict[By, tuple[str, tuple[str, ...]]] = {
    "all": ("rows", ("tenant", "agent", "model")),
    "tenant": ("tenants", ("tenant",)),
    "agent": ("agents", ("agent",)),
    "model": ("models", ("model",)),
}
MOST_ROWS = 40
NAME_LEAST = 7
"""Narrower than that a name is no name: rather a number is cut."""
REFRESH_S = 1.0
BARS = "▁▂▃▄▅▆▇█"
COLUMNS: dict[str, str] = {
    "runs": "runs",
    "errors": "err",
    "blocked": "blkd",
    "refused": "refd",
    "verdicts": "verd",
    "dead_letters": "dead",
    "model_calls": "calls",
    "input_tokens": "in",
    "output_tokens": "out",
    "cost_usd": "cost $",
    "wait_p50_ms": "p50",
    "wait_p95_ms": "p95",
}
RARE = ("blocked", "refused", "verdicts", "dead_letters")
"""Shown only where there was one, so that the rest fits a narrow terminal."""


class LiveViewsUnavailableError(Exception):
    """The live views do not answer; the message says what to do."""


def fetch(settings: Settings, minutes: int) -> dict[str, Any]:
    """The live views' JSON. Raises LiveViewsUnavailableError."""
    url = f"http://127.0.0.1:{settings.live_port}/api/live"
    try:
        answer = httpx.get(url, params={"minutes": minutes}, timeout=5)
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as error:
        raise LiveViewsUnavailableError(
            f"the live views refused: {error.response.text[:200]}"
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise LiveViewsUnavailableError(
            f"the live views do not answer on port {settings.live_port}: start Weir with `weir "
            "up`, or see "
            f"`weir status` for why they are down ({type(error).__name__})"
        ) from error


def render(view: dict[str, Any], by: By = "all") -> RenderableType:
    """The picture of one answer: a headline, runs minute by minute, a table with the total at its
    foot.
    """
    rows_name, names = GROUPS[by]
    rows = view[rows_name]
    total = view["total"]
    shown = [name for name in COLUMNS if name not in RARE or total[name]]
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_footer=True,
        header_style="bold",
        footer_style="bold",
    )
    for place, name in enumerate(names):
        table.add_column(
            name, "" if place else "total", overflow="fold", min_width=NAME_LEAST, max_width=24
        )
    for name in shown:
        table.add_column(COLUMNS[name], cell(name, total), justify="right", no_wrap=True)
    for row in rows[:MOST_ROWS]:
        style = "red" if row["errors"] or row["dead_letters"] else None
        table.add_row(
            *[row[name] or "-" for name in names], *[cell(name, row) for name in shown], style=style
        )
    left = len(rows) - MOST_ROWS
    return Group(
        headline(view),
        Text(sparkline(view["by_minute"])),
        table,
        Text(f"and {left} more rows" if left > 0 else "" if rows else "nothing happened yet"),
    )


def headline(view: dict[str, Any]) -> Text:
    """How long, and how fresh."""
    behind_s = view["behind_s"]
    fresh = (
        "starting"
        if behind_s is None
        else "up to date"
        if behind_s < 2
        else f"{behind_s:,.0f} s behind"
    )
    broken = f" · {view['undecodable']} records that are no events" if view["undecodable"] else ""
    return Text(
        f"last {view['minutes']} minutes · {view['at'][11:19]} UTC · {fresh}{broken}",
        style="yellow" if behind_s is None or behind_s >= 2 else "green",
    )


def sparkline(by_minute: list[dict[str, Any]]) -> str:
    """Runs a minute as bars, oldest first; the minutes without any event are left out."""
    runs = [row["runs"] for row in by_minute]
    most = max(runs, default=0)
    if not most:
        return ""
    return (
        "runs a minute "
        + "".join(BARS[count * (len(BARS) - 1) // most] for count in runs)
        + f" (most {most:,})"
    )


def cell(name: str, row: dict[str, Any]) -> str:
    """A number as people read it: 12,345, 1.50M, 394ms, 2.1s. A cost with a star leaves out calls
    of unknown price.
    """
    value = row[name]
    if name == "cost_usd":
        return f"{float(value):,.4f}" + ("*" if row["unpriced_calls"] else "")
    if name.endswith("_ms"):
        return (
            "-" if value is None else f"{value / 1000:,.1f}s" if value >= 1000 else f"{value:.0f}ms"
        )
    return f"{value / 1e6:,.2f}M" if value >= 1e6 else f"{value:,}"


def show(
    settings: Settings,
    minutes: int = 60,
    by: By = "all",
    once: bool = False,
    as_json: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """`weir top`: until Ctrl-C, or one time. Raises LiveViewsUnavailableError, with a sentence."""
    if as_json:
        say(json.dumps(fetch(settings, minutes)))
    elif once:
        out.print(render(fetch(settings, minutes), by))
    else:
        _follow(settings, minutes, by)


def _follow(settings: Settings, minutes: int, by: By) -> None:
    with Live(render(fetch(settings, minutes), by), auto_refresh=False, screen=True) as live:
        try:
            while True:
                time.sleep(REFRESH_S)
                live.update(render(fetch(settings, minutes), by), refresh=True)
        except KeyboardInterrupt:
            return
