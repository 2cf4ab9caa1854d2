"""Pages of the console as HTML: tiles, charts and tables in one frame, escaped.

No script is needed to read a page; a small one refreshes the live figures. Colours follow the
reader's system.
"""

import importlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from streams.console import charts
from streams.console.queries import PageQuery, query
from streams.console.request import HOURS, PageRequest
from streams.gateway.errors import ProblemError

FOLDER = Path(__file__).parent / "templates"
NUMBERS = (int, float, Decimal)
EXACT = "exact, from ClickHouse"
WORD_CHARS = 32
TEXT_CHARS = 220
"""Longer values are text: broken into lines, and cut."""
UNSEEN = re.compile("[\u200b\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
"""Invisible characters that make a text look like another: they reverse its direction, or hide in
it.
"""
ENVIRONMENT = Environment(
    loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Page:
    """A page of the navigation: its path below `/console`, its title, its place, its queries by
    name, and the routes of its handlers.
    """

    path: str
    title: str
    order: int
    queries: Mapping[str, PageQuery] = field(default_factory=dict)
    router: APIRouter = field(
        default_factory=lambda: APIRouter(prefix="/console", include_in_schema=False)
    )


def all_pages() -> tuple[Page, ...]:
    """Every page. They are imported here, because they import this module."""
    return importlib.import_module("streams.console.pages").pages()


@dataclass(frozen=True)
class TableBlock:
    """Rows to show. `name` is their query, by which they can be exported; empty where they are not
    from ClickHouse. `folded` is shown on demand, `empty` is the text where there is no row.
    """

    title: str
    rows: list[dict[str, Any]]
    name: str = ""
    note: str = EXACT
    extra: str = ""
    folded: bool = False
    empty: str = "Nothing in this time."


@dataclass(frozen=True)
class Picture:
    """A chart of rows with time, series, value."""

    name: str
    rows: list[dict[str, Any]]
    stacked: bool = True
    note: str = EXACT

    @property
    def title(self) -> str:
        return query(self.name).title

    def drawn(self, look: PageRequest) -> Markup:
        """The chart, over the whole time that is shown."""
        until = datetime.now(UTC)
        rows = [(row["time"], seen(str(row["series"])), float(row["value"])) for row in self.rows]
        return Markup(
            charts.svg(
                charts.Chart(
                    self.title,
                    rows,
                    stacked=self.stacked,
                    since=until - timedelta(hours=look.hours),
                    until=until,
                    step=timedelta(seconds=look.step_s),
                )
            )
        )


@dataclass(frozen=True)
class Tile:
    """One large figure."""

    title: str
    value: str
    note: str = ""
    bad: bool = False


def render(
    look: PageRequest, template: str, title: str, status: int = 200, **more: Any
) -> HTMLResponse:
    """A page in the console's frame."""
    text = ENVIRONMENT.get_template(template).render(
        look=look,
        title=seen(title),
        pages=[(page.path, page.title) for page in all_pages()],
        hours=HOURS,
        link=lambda path, **query: link(look, path, **query),
        cell=lambda name, value, row: cell(look, name, value, row),
        numeric=numeric,
        **more,
    )
    return HTMLResponse(text, status, headers=HEADERS)


def error_page(problem: ProblemError) -> HTMLResponse:
    """A problem as a page."""
    text = ENVIRONMENT.get_template("error.html").render(
        title=HTTPStatus(problem.status).phrase, detail=problem.detail
    )
    wait = (
        {}
        if problem.retry_after_s is None
        else {"retry-after": str(max(1, round(problem.retry_after_s)))}
    )
    return HTMLResponse(text, problem.status, headers=HEADERS | wait)


HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def link(look: PageRequest, path: str, **query: Any) -> str:
    """An address within the console that keeps time and tenant."""
    held = {name: value for name, value in look.query(**query).items() if value not in ("", None)}
    return f"/console{'/' + path if path else ''}?{urlencode(held)}"


def whose(look: PageRequest, row: Mapping[str, Any]) -> dict[str, str]:
    """The tenant of a row, for a link out of it: two tenants may have sessions of one name."""
    return {"tenant": row["tenant"]} if not look.caller.tenant and row.get("tenant") else {}


def cell(look: PageRequest, name: str, value: Any, row: Mapping[str, Any]) -> Markup | str:
    """A value as people read it; runs, sessions and traces link to their pages."""
    if value is None:
        return Markup('<span class="none">unpriced</span>') if name.endswith("usd") else ""
    if name in ("run", "parent_run") and isinstance(value, UUID):
        return _run_link(look, value)
    if name == "examples" and isinstance(value, list | tuple):
        return Markup(" ").join(cell(look, "run", one, row) for one in value)
    if name == "session":
        return Markup('<a href="{}">{}</a>').format(
            link(look, "session", session=value, **whose(look, row)), shorter(str(value), 18)
        )
    if name == "trace":
        return Markup('<a href="{}"><code>{}</code></a>').format(
            link(look, f"traces/{quote(value, safe='')}", **whose(look, row)), seen(value[:12])
        )
    if isinstance(value, NUMBERS) and not isinstance(value, bool):
        return _number(name, value)
    return _text(name, value)


def _run_link(look: PageRequest, run: UUID) -> Markup | str:
    """A link to a run; nothing for the empty id."""
    if not run.int:
        return ""
    return Markup('<a href="{}"><code>{}</code></a>').format(
        link(look, f"runs/{run}"), str(run)[:8]
    )


def _number(name: str, value: int | float | Decimal) -> str:
    """Money, a share, or a plain number."""
    if not math.isfinite(value):
        return "–"
    if isinstance(value, Decimal) or name.endswith("usd"):
        return f"${Decimal(value):,.6f}"
    if name.endswith("share"):
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}"


def _text(name: str, value: Any) -> Markup | str:
    """A time, a yes or no, a list, a state, or text."""
    if isinstance(value, datetime):
        return Markup('<time datetime="{}">{}</time>').format(
            value.isoformat(), f"{value:%m-%d %H:%M:%S}"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return shorter(", ".join(map(str, value)), WORD_CHARS)
    if name in ("outcome", "status", "action"):
        return Markup('<span class="is {}">{}</span>').format(value, value)
    text = shorter(str(value), TEXT_CHARS)
    if len(str(value)) <= WORD_CHARS:
        return text
    return Markup('<div class="text">{}</div>').format(text)


def numeric(rows: Iterable[Mapping[str, Any]], name: str) -> bool:
    """Whether this is a column of numbers, which is aligned to the right."""
    return any(isinstance(row[name], NUMBERS) and not isinstance(row[name], bool) for row in rows)


def shorter(text: str, chars: int) -> Markup | str:
    """The beginning of a text, with the whole of it as a tooltip."""
    if len(text) <= chars:
        return seen(text)
    return Markup('<span title="{}">{}…</span>').format(seen(text[:2_000]), seen(text[:chars]))


def seen(text: str) -> str:
    """A text without invisible characters: their code points stand in their place."""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


ENVIRONMENT.filters["seen"] = seen


def unpriced(row: dict[str, Any]) -> str:
    """How many calls have no known price, for the note of a tile."""
    return (
        f"{row['unpriced_calls']:,} without a price"
        if row["unpriced_calls"]
        else "all calls priced"
    )
