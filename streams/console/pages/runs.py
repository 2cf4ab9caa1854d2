"""Runs, one run with its steps, and a run that has not ended."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi.responses import HTMLResponse
from markupsafe import Markup

from schemas.definitions.kinds import Definitions, Model
from streams.console.page import Page, TableBlock, Tile, link, render
from streams.console.queries import (
    LATELY,
    LIMIT,
    MINE,
    ROWS_SHOWN,
    SINCE,
    SPANS_SHOWN,
    TEXT_SHOWN,
    PageQuery,
)
from streams.console.request import PageRequest, PageRequestOf
from streams.console.trace_steps import graph, with_positions
from streams.gateway.errors import ProblemError

OUTCOMES = ("completed", "failed", "blocked", "stopped", "cancelled", "refused")
QUERIES: dict[str, PageQuery] = {
    "runs": PageQuery(
        "Runs",
        f"""
SELECT at, run, tenant, agent, user, substringUTF8(question, 1, 160) AS asked,
       substringUTF8(answer, 1, 160) AS answered, outcome,
       reason, wait_ms, cost_usd, model_calls, tool_calls, agent_version AS version, session
FROM runs WHERE {MINE} AND {SINCE} AND ({{agent:String}} = '' OR agent = {{agent:String}})
  AND ({{outcome:String}} = '' OR outcome = {{outcome:String}})
  AND ({{user:String}} = '' OR user = {{user:String}})
  AND (parseDateTime64BestEffortOrNull({{before:String}}, 3, 'UTC') IS NULL
       OR (at, run) < (parseDateTime64BestEffortOrNull({{before:String}}, 3, 'UTC'),
       toUUIDOrZero({{below:String}})))
  AND ({{words:String}} = '' OR hasAllTokens(question, lower({{words:String}}))
  OR hasAllTokens(answer, lower({{words:String}})))
ORDER BY at DESC, run DESC {LIMIT}""",
    ),
    "under_way": PageQuery(
        "Under way",
        f"""
SELECT min(started_at) AS began, run, tenant, any(agent) AS by_agent, any(session) AS session,
       count() AS steps,
       argMax(name, at) AS newest_step, max(at) AS newest_at,
       ifNull(sum(cost_usd), toDecimal128(0, 12)) AS so_far_usd
FROM spans WHERE {MINE} AND {LATELY} AND source = 'weir'
  AND run NOT IN (SELECT run FROM runs WHERE {MINE} AND {LATELY})
GROUP BY tenant, run ORDER BY began DESC {LIMIT}""",
    ),
    "run": PageQuery("Run", f"SELECT * FROM runs WHERE run = {{run:UUID}} AND {MINE} LIMIT 1"),
    "family": PageQuery(
        "Asked by, and asked in turn",
        f"""
SELECT run, parent_run, agent, agent_version AS version, outcome, reason, wait_ms, cost_usd
FROM runs
WHERE {MINE} AND (run = {{run:UUID}} OR parent_run = {{run:UUID}} OR run = {{parent:UUID}})
ORDER BY started_at""",
    ),
    "verdicts_of_run": PageQuery(
        "Guardrails",
        f"""
SELECT at, stage, policy, policy_version, rule, category, action, enforced, findings FROM verdicts
WHERE run = {{run:UUID}} AND {MINE} ORDER BY at""",
    ),
    "spans": PageQuery(
        "Steps",
        f"""
SELECT started_at, wait_ms, name, operation, status, error_type, span, parent, run, agent,
       request_model, tool, step, attempts,
       input_tokens, cached_input_tokens, output_tokens, cost_usd, input, output
FROM spans WHERE trace = {{trace:String}} AND {MINE} ORDER BY started_at, at LIMIT 20000""",
    ),
    "spans_shown": PageQuery(
        "Steps, their texts shortened",
        f"""
SELECT started_at, wait_ms, name, operation, status, error_type, span, parent, run, agent,
       input_tokens, output_tokens, cost_usd,
       substringUTF8(input, 1, {TEXT_SHOWN // 4}) AS input,
       substringUTF8(output, 1, {TEXT_SHOWN}) AS output
FROM spans WHERE trace = {{trace:String}} AND {MINE} ORDER BY started_at, at
LIMIT {SPANS_SHOWN + 1}""",
    ),
}

PAGE = Page("runs", "Runs", 10, QUERIES)


@PAGE.router.get("/runs")
async def runs(look: PageRequestOf) -> HTMLResponse:
    chosen = any(look.place.values()) or any(look.filters.values())
    rows, going = (await look.rows("runs"), []) if chosen else await look.all("runs", "under_way")
    carried = {name: value for name, value in look.filters.items() if value}
    tables = [
        TableBlock(
            "Runs",
            rows,
            "runs",
            extra="".join("&" + urlencode({name: value}) for name, value in carried.items()),
            empty="No run fits. Take fewer words or a longer time; words are found whole only.",
        )
    ]
    if going:
        tables.insert(
            0,
            TableBlock(
                "Under way",
                going,
                "under_way",
                note="rows of steps arrive within seconds; exact, from ClickHouse",
            ),
        )
    older = (
        link(look, "runs", **carried, before=rows[-1]["at"].isoformat(), below=rows[-1]["run"])
        if len(rows) == ROWS_SHOWN
        else ""
    )
    return render(
        look,
        "blocks.html",
        "Runs",
        filters=OUTCOMES,
        tables=tables,
        older=older,
        about=f"The newest {ROWS_SHOWN} that fit; an export has them all. Words are looked for in "
        "questions and answers, "
        "whole words only.",
    )


@PAGE.router.get("/runs/{run}")
async def run(run: UUID, look: PageRequestOf) -> HTMLResponse:
    found = await look.rows("run", run=str(run))
    if not found:
        return await under_way(look, run)
    [row] = found
    trace = await trace_of(look, run, row["tenant"])
    own = row["tenant"]
    spans = await look.rows("spans_shown", trace=trace, tenant=own)
    family = await look.rows("family", run=str(run), parent=str(row["parent_run"]), tenant=own)
    verdicts = await look.rows("verdicts_of_run", run=str(run), tenant=own)
    tables = [
        TableBlock("Guardrails", verdicts, empty="The guardrails found nothing in this run.")
    ] + ([TableBlock("Asked by, and asked in turn", family)] if len(family) > 1 else [])
    return render(
        look,
        "run.html",
        f"Run {str(run)[:8]}",
        run=row,
        spans=with_positions(spans[:SPANS_SHOWN]),
        graph=Markup(graph(spans)),
        trace=trace,
        tables=tables,
        more=len(spans) > SPANS_SHOWN,
        models=models(look.gateway.link.current_definitions()),
        figures=[
            Tile("Took", f"{row['wait_ms']:,} ms"),
            _cost(row),
            Tile("Model calls", str(row["model_calls"])),
            Tile("Tool calls", str(row["tool_calls"])),
            Tile("Tokens in / out", f"{row['input_tokens']:,} / {row['output_tokens']:,}"),
            Tile("Prompt version", str(row["prompt_version"] or "in the agent")),
        ],
    )


def _cost(row: dict[str, Any]) -> Tile:
    """What a run cost, and with the agents that it asked where it asked any."""
    own = row["cost_usd"]
    total = row["total_cost_usd"]
    return Tile(
        "Cost", _usd(own), "" if total == own else f"{_usd(total)} with the agents that it asked"
    )


async def under_way(look: PageRequest, run: UUID) -> HTMLResponse:
    """What a run that has not ended did so far. Raises ProblemError 404 where there is nothing of
    it.
    """
    spans = await look.rows("spans_shown", trace=await trace_of(look, run, look.tenant))
    if not any(span["run"] == run for span in spans):
        raise ProblemError(
            404,
            "unknown_run",
            f"there is no run {run} here: rows arrive within seconds of its first step, so load "
            "the page again; if it stays so, the id is wrong or the run another tenant's",
        )
    return render(
        look,
        "open-run.html",
        f"Run {str(run)[:8]}",
        run=run,
        spans=with_positions(spans[:SPANS_SHOWN]),
        graph=Markup(graph(spans)),
    )


async def trace_of(look: PageRequest, run: UUID, tenant: str) -> str:
    """The trace that a run's spans stand in; the run's own id where it has none yet. Of that
    tenant: others may name the run.
    """
    found = await look.gateway.rows(
        f"SELECT any(trace) AS trace FROM spans WHERE run = {{run:UUID}} AND {MINE}",
        run=str(run),
        tenant=tenant,
    )
    return found[0]["trace"] or run.hex if found else run.hex


def _usd(value: Any) -> str:
    return "unpriced" if value is None else f"${value:,.6f}"


def models(definitions: Definitions) -> list[str]:
    return [model.name for model in definitions.in_force(Model)]
