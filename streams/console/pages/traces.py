"""Traces of every source, and the steps of one."""

from fastapi.responses import HTMLResponse
from markupsafe import Markup

from sinks.clickhouse.queries.catalogue import by_name
from streams.console.page import Page, TableBlock, render
from streams.console.queries import (
    SPANS_SHOWN,
    PageQuery,
)
from streams.console.request import PageRequestOf
from streams.console.trace_steps import graph, with_positions
from streams.gateway.errors import ProblemError

QUERIES: dict[str, PageQuery] = {
    "traces": PageQuery("Traces", by_name("traces").sql),
}

PAGE = Page("traces", "Traces", 30, QUERIES)


@PAGE.router.get("/traces")
async def traces(look: PageRequestOf) -> HTMLResponse:
    rows = await look.rows("traces")
    return render(
        look,
        "blocks.html",
        "Traces",
        about="What every source told, Weir's own runs and other applications.",
        tables=[TableBlock("Traces", rows, "traces")],
    )


@PAGE.router.get("/traces/{trace}")
async def trace(trace: str, look: PageRequestOf) -> HTMLResponse:
    spans = await look.rows("spans_shown", trace=trace)
    if not spans:
        raise ProblemError(
            404,
            "unknown_trace",
            "there is no such trace here: its id is 32 hex digits, and its rows arrive within "
            "seconds; if it stays so, the id is wrong or the trace another tenant's",
        )
    return render(
        look,
        "open-run.html",
        f"Trace {trace[:12]}",
        spans=with_positions(spans[:SPANS_SHOWN]),
        graph=Markup(graph(spans)),
        trace=trace,
        runs=sorted({span["run"] for span in spans if span["run"].int}, key=str)[:20],
    )
