"""The quality of answers: drift, failures that are alike, waste and latency, as named queries."""

from fastapi.responses import HTMLResponse

from streams.console.page import EXACT, Page, TableBlock, render
from streams.console.queries import (
    PageQuery,
    query,
    ready_query,
)
from streams.console.request import PageRequestOf

QUALITY = (
    "failed_clusters",
    "drift",
    "abandoned_runs",
    "loops",
    "tool_errors",
    "verdict_rates",
    "latency_budget",
    "first_token",
    "models_health",
    "retries_and_fallbacks",
    "breakers",
)
"""Named queries, the most severe first."""
QUERIES: dict[str, PageQuery] = {}
QUERIES |= {name: ready_query(name) for name in QUALITY}

PAGE = Page("quality", "Quality", 60, QUERIES)


@PAGE.router.get("/quality")
async def quality(look: PageRequestOf) -> HTMLResponse:
    found = await look.all(*QUALITY)
    return render(
        look,
        "blocks.html",
        "Quality",
        about="Every table is a ready query: ./weir query --named NAME.",
        tables=[
            TableBlock(query(name).title, rows, name, note=f"{EXACT}: {name}")
            for name, rows in zip(QUALITY, found, strict=True)
        ],
    )
