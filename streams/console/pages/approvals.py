"""Calls that wait for a decision, and the latest decisions."""

from fastapi.responses import HTMLResponse

from streams.console.page import Page, TableBlock, render
from streams.console.queries import (
    LIMIT,
    MINE,
    SINCE,
    PageQuery,
)
from streams.console.request import PageRequestOf
from streams.gateway.routes.approvals import OPEN_APPROVALS

QUERIES: dict[str, PageQuery] = {
    "approvals": PageQuery("Waiting for a word", OPEN_APPROVALS),
    "decided": PageQuery(
        "Decided lately",
        f"""
SELECT at, tenant, run, agent, tool, status, by, note FROM approvals WHERE {MINE} AND {SINCE}
       AND status != 'asked'
ORDER BY at DESC {LIMIT}""",
    ),
}

PAGE = Page("approvals", "Approvals", 70, QUERIES)


@PAGE.router.get("/approvals")
async def approvals(look: PageRequestOf) -> HTMLResponse:
    waiting, decided = await look.all("approvals", "decided")
    return render(
        look,
        "approvals.html",
        "Approvals",
        waiting=waiting,
        tables=[
            TableBlock(
                "Decided lately", decided, "decided", empty="Nothing was decided in this time."
            )
        ],
    )
