"""What model calls cost, split by one of several columns."""

from typing import Any

from fastapi.responses import HTMLResponse

from streams.console.page import Page, Picture, TableBlock, Tile, render, unpriced
from streams.console.queries import (
    BUCKET,
    LIMIT,
    MINE,
    SINCE,
    PageQuery,
    query,
    ready_query,
)
from streams.console.request import PageRequestOf
from streams.gateway.errors import ProblemError

SPLITS = ("model", "agent", "tenant", "feature", "team", "user", "provider")
READY = ("budget_state", "forecast", "savings", "waste")
"""Named queries below the cost."""


def name_of(split: str) -> str:
    return "cost_of_models" if split == "model" else f"cost_by_{split}"


QUERIES: dict[str, PageQuery] = {
    "spent": PageQuery(
        "Spent",
        f"""
SELECT count() AS calls, countIf(token_usage.cost_usd IS NULL) AS unpriced_calls,
       sum(token_usage.cost_usd) AS cost_usd,
       sum(token_usage.charged_usd) AS charged_usd, sum(input_tokens) AS input,
       sum(output_tokens) AS output,
       (SELECT count() FROM attempts WHERE {MINE} AND {SINCE} AND wasted) AS wasted,
       (SELECT sum(cost_usd) FROM attempts WHERE {MINE} AND {SINCE} AND wasted) AS wasted_usd
FROM token_usage WHERE {MINE} AND {SINCE}""",
    ),
}
for split in SPLITS:
    QUERIES[name_of(split)] = PageQuery(
        f"Cost by {split}",
        f"""
SELECT {split}, count() AS model_calls, sum(input_tokens) AS input,
       sum(cached_input_tokens) AS cached_input,
       sum(output_tokens) AS output, sum(reasoning_tokens) AS reasoning,
       sum(token_usage.cost_usd) AS cost_usd,
       sum(token_usage.charged_usd) AS charged_usd,
       countIf(token_usage.cost_usd IS NULL) AS unpriced_calls
FROM token_usage WHERE {MINE} AND {SINCE} GROUP BY {split}
ORDER BY cost_usd DESC NULLS LAST {LIMIT}""",
    )
    QUERIES[f"cost_over_time_{split}"] = PageQuery(
        f"Cost by {split}, USD",
        f"""
SELECT {BUCKET} AS time, {split} AS series, sum(ifNull(cost_usd, 0)) AS value FROM token_usage
WHERE {MINE} AND {SINCE} GROUP BY time, series ORDER BY time""",
    )
QUERIES |= {name: ready_query(name) for name in READY}

PAGE = Page("cost", "Cost", 40, QUERIES)


@PAGE.router.get("/cost")
async def cost(look: PageRequestOf, by: str = "model") -> HTMLResponse:
    if by not in SPLITS:
        raise ProblemError(422, "unknown_split", f"cost is split by one of {', '.join(SPLITS)}")
    [spent], over_time, table, *ready = await look.all(
        "spent", f"cost_over_time_{by}", name_of(by), *READY
    )
    return render(
        look,
        "cost.html",
        "Cost",
        figures=tiles_of_spent(spent),
        splits=SPLITS,
        by=by,
        pictures=[Picture(f"cost_over_time_{by}", over_time)],
        tables=[
            TableBlock(query(name_of(by)).title, table, name_of(by)),
            *(
                TableBlock(query(name).title, rows, name)
                for name, rows in zip(READY, ready, strict=True)
            ),
        ],
    )


def tiles_of_spent(row: dict[str, Any]) -> list[Tile]:
    """What the calls of models cost, all of them: also those of other applications, and those that
    came to nothing.
    """
    return [
        Tile(
            "Cost", f"${row['cost_usd'] or 0:,.4f}", unpriced(row), bad=bool(row["unpriced_calls"])
        ),
        Tile("Charged to tenants", f"${row['charged_usd'] or 0:,.4f}"),
        Tile("Model calls", f"{row['calls']:,}"),
        Tile("Tokens in / out", f"{row['input']:,} / {row['output']:,}"),
        Tile(
            "Attempts in vain", f"{row['wasted']:,}", f"${row['wasted_usd'] or 0:,.4f} of it known"
        ),
    ]
