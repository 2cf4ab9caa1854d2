"""Which pages does the console have, and what stands on each?"""

from collections import defaultdict
from datetime import UTC, datetime
from difflib import unified_diff
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import yaml
from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Definitions, Model
from schemas.definitions.prompts import PromptUse
from streams.console.alarms import alarms, completeness, wrong
from streams.console.page import Picture, Table, Tile, link, render
from streams.console.queries import MINE, MONEY, ROWS, ROWS_SHOWN, SPANS_SHOWN, SPLITS
from streams.console.request import Look, Reading
from streams.console.trace_steps import graph, placed
from streams.engine.shapes import Call, Step, calls, kinds, stages
from streams.gateway.errors import ProblemError
from streams.topology import PIPELINE

router = APIRouter(prefix="/console", include_in_schema=False)
OUTCOMES = ("completed", "failed", "blocked", "stopped", "cancelled", "refused")


@router.get("")
async def overview(look: Reading) -> HTMLResponse:
    names = (
        "figures",
        "completeness",
        "runs_by_outcome",
        "waits",
        "cost_by_model",
        "agents",
        "delays",
        "alarms",
        "approvals",
    )
    [figures], balance, outcomes, waits, cost, agents, delays, [signs], waiting = await look.all(
        *names
    )
    whole = [
        Table(
            "How far behind",
            delays,
            "delays",
            empty="Nobody has looked yet: it is done once a minute.",
        ),
        Table(ROWS["completeness"].title, balance, "completeness", folded=True),
    ]
    tiles = (
        [*tiles_of(figures), completeness(balance, datetime.now(UTC))]
        if look.sees_all
        else tiles_of(figures)
    )
    if wrong(balance):
        whole.insert(
            0,
            Table(
                "Minutes that do not balance first",
                await look.rows("completeness_minutes"),
                "completeness_minutes",
            ),
        )
    return render(
        look,
        "blocks.html",
        "Overview",
        live=look.sees_all,
        figures=tiles,
        alarms=[
            (one.words, link(look, one.path, **one.query))
            for one in alarms(figures, signs, balance, delays, len(waiting))
        ],
        pictures=[
            Picture("runs_by_outcome", outcomes),
            Picture("cost_by_model", cost),
            Picture("waits", waits, stacked=False),
        ],
        tables=[Table("Agents", agents, "agents"), *(whole if look.sees_all else ())],
    )


def tiles_of(row: dict[str, Any]) -> list[Tile]:
    """The large figures of a page. What has no price is said beside what has."""
    return [
        Tile("Runs", f"{row['runs']:,}", f"{row['refused']:,} refused"),
        Tile("Completed", f"{row['completed'] / row['runs']:.1%}" if row["runs"] else "–"),
        Tile(
            "Cost", f"${row['cost_usd'] or 0:,.4f}", unpriced(row), bad=bool(row["unpriced_calls"])
        ),
        Tile("Tokens", f"{row['tokens']:,}"),
        Tile(
            "Half of the runs within",
            f"{_whole(row['p50_ms'])} ms",
            f"95 % within {_whole(row['p95_ms'])} ms",
        ),
    ]


def unpriced(row: dict[str, Any]) -> str:
    return (
        f"{row['unpriced_calls']:,} without a price"
        if row["unpriced_calls"]
        else "all calls priced"
    )


def _whole(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:,.0f}"


@router.get("/runs")
async def runs(look: Reading) -> HTMLResponse:
    chosen = any(look.place.values()) or any(look.filters.values())
    rows, going = (await look.rows("runs"), []) if chosen else await look.all("runs", "under_way")
    carried = {name: value for name, value in look.filters.items() if value}
    tables = [
        Table(
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
            Table(
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
        about=f"The newest {ROWS_SHOWN} that fit; an export has them all. Words are looked for in questions and answers, "
        "whole words only.",
    )


@router.get("/runs/{run}")
async def run(run: UUID, look: Reading) -> HTMLResponse:
    found = await look.rows("run", run=str(run))
    if not found:
        return await under_way(look, run)
    [row] = found
    trace = await trace_of(look, run, row["tenant"])
    own = row["tenant"]
    spans = await look.rows("spans_shown", trace=trace, tenant=own)
    family = await look.rows("family", run=str(run), parent=str(row["parent_run"]), tenant=own)
    verdicts = await look.rows("verdicts_of_run", run=str(run), tenant=own)
    tables = [Table("Guardrails", verdicts, empty="The guardrails found nothing in this run.")] + (
        [Table("Asked by, and asked in turn", family)] if len(family) > 1 else []
    )
    return render(
        look,
        "run.html",
        f"Run {str(run)[:8]}",
        run=row,
        spans=placed(spans[:SPANS_SHOWN]),
        graph=Markup(graph(spans)),
        trace=trace,
        tables=tables,
        more=len(spans) > SPANS_SHOWN,
        models=models(look.gateway.link.given()),
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


async def under_way(look: Look, run: UUID) -> HTMLResponse:
    """What a run that has not ended did so far. Raises Problem 404 where there is nothing of it."""
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
        spans=placed(spans[:SPANS_SHOWN]),
        graph=Markup(graph(spans)),
    )


async def trace_of(look: Look, run: UUID, tenant: str) -> str:
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


def models(given: Definitions) -> list[str]:
    return [model.name for model in given.in_force(Model)]


@router.get("/traces")
async def traces(look: Reading) -> HTMLResponse:
    rows = await look.rows("traces")
    return render(
        look,
        "blocks.html",
        "Traces",
        about="What every source told, Weir's own runs and other applications.",
        tables=[Table("Traces", rows, "traces")],
    )


@router.get("/traces/{trace}")
async def trace(trace: str, look: Reading) -> HTMLResponse:
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
        spans=placed(spans[:SPANS_SHOWN]),
        graph=Markup(graph(spans)),
        trace=trace,
        runs=sorted({span["run"] for span in spans if span["run"].int}, key=str)[:20],
    )


@router.get("/sessions")
async def sessions(look: Reading) -> HTMLResponse:
    return render(
        look,
        "blocks.html",
        "Sessions",
        tables=[Table("Sessions", await look.rows("sessions"), "sessions")],
    )


@router.get("/session")
async def session(session: str, look: Reading) -> HTMLResponse:
    rows = await look.rows("session", session=session)
    return render(
        look,
        "session.html",
        f"Session {session[:40]}",
        session=session,
        runs=rows[::-1],
        more=len(rows) == ROWS_SHOWN,
    )


@router.get("/cost")
async def cost(look: Reading, by: str = "model") -> HTMLResponse:
    if by not in SPLITS:
        raise ProblemError(422, "unknown_split", f"cost is split by one of {', '.join(SPLITS)}")
    [spent], over_time, table, *ready = await look.all(
        "spent", f"cost_over_time_{by}", name_of(by), *MONEY
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
            Table(ROWS[name_of(by)].title, table, name_of(by)),
            *(Table(ROWS[name].title, rows, name) for name, rows in zip(MONEY, ready, strict=True)),
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


def name_of(split: str) -> str:
    return "cost_of_models" if split == "model" else f"cost_by_{split}"


@router.get("/guardrails")
async def guardrails(look: Reading) -> HTMLResponse:
    over_time, rules, others = await look.all("verdicts_over_time", "verdicts", "not_completed")
    return render(
        look,
        "blocks.html",
        "Guardrails",
        pictures=[Picture("verdicts_over_time", over_time)],
        tables=[
            Table("What the guardrails found", rules, "verdicts"),
            Table("Refused, blocked, stopped, failed", others, "not_completed"),
        ],
    )


@router.get("/approvals")
async def approvals(look: Reading) -> HTMLResponse:
    waiting, decided = await look.all("approvals", "decided")
    return render(
        look,
        "approvals.html",
        "Approvals",
        waiting=waiting,
        tables=[
            Table("Decided lately", decided, "decided", empty="Nothing was decided in this time.")
        ],
    )


@router.get("/letters")
async def letters(look: Reading, said: str = "") -> HTMLResponse:
    rows = await look.rows("dead_letters")
    return render(
        look,
        "letters.html",
        "Dead letters",
        letters=rows,
        said=said[:300],
        tables=[
            Table(
                "Dead letters",
                rows,
                "dead_letters",
                empty="Everything could be processed in this time.",
            )
        ],
    )


@router.get("/definitions")
async def definitions(look: Reading) -> HTMLResponse:
    given = look.gateway.link.given()
    return render(
        look,
        "definitions.html",
        "Definitions",
        kinds=histories(given, look.caller.tenant),
        gone=given.gone,
    )


def histories(given: Definitions, tenant: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every version of every definition, newest first, with what changed. Secrets are references;
    keys are left out.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    before: dict[tuple[str, str], str] = {}
    own = _prompts_of(given, tenant)
    for (kind, name, version), body in sorted(given.bodies.items(), key=lambda item: item[0]):
        if kind == "key" or (
            tenant and not (own.get((kind, name), True) and _for(tenant, kind, name, body))
        ):
            continue
        text = yaml.safe_dump(
            body.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
        )
        old = before.get((kind, name))
        changed = (
            ""
            if old is None
            else "\n".join(unified_diff(old.splitlines(), text.splitlines(), lineterm="", n=1))
        )
        found[kind].setdefault(name, []).insert(
            0,
            {
                "version": version,
                "text": text,
                "changed": changed,
                "since": given.since.get((kind, name, version)),
            },
        )
        before[kind, name] = text
    return dict(found)


def _for(tenant: str, kind: str, name: str, body: Definition) -> bool:
    """Is this version of a definition the tenant's to see: its own contract, and agents and
    webhooks that are for it?
    """
    tenants = getattr(body, "tenants", ())
    return name == tenant if kind == "tenant" else not tenants or tenant in tenants


def _prompts_of(given: Definitions, tenant: str) -> dict[tuple[str, str], bool]:
    """Of each prompt and alias that agents use: does one of them answer the tenant?"""
    found: dict[tuple[str, str], bool] = defaultdict(bool)
    for (kind, name, _), body in given.bodies.items():
        if isinstance(body, Agent) and isinstance(body.prompt, PromptUse):
            for at in ("prompt", "alias"):
                found[at, body.prompt.use] |= _for(tenant, kind, name, body)
    return dict(found)


@router.get("/topology")
async def topology(look: Reading) -> HTMLResponse:
    rates, delays = await look.all("rates", "delays")
    late = {row["consumer"]: row for row in delays}
    by_event = {
        kind.__name__: row["a_minute"]
        for step in PIPELINE
        for kind in (*kinds(step.reads), *kinds(step.writes))
        for row in rates
        if row["topic"] == kind.topic()
    }
    drawn = [
        (f"stage: {key}", f"stage-{key}", late.get(f"stage-{key}"), [_step(step) for step in steps])
        for key, steps in stages(PIPELINE).items()
    ]
    return render(
        look,
        "topology.html",
        "Topology",
        rates=by_event,
        stages=[
            *drawn,
            (
                "asked outside",
                "calls",
                late.get("calls"),
                [_step(step) for step in calls(PIPELINE)],
            ),
        ],
        tables=[
            Table("Records a minute, by topic", rates, "rates"),
            Table("How far behind", delays, "delays"),
        ]
        if look.sees_all
        else [],
    )


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name.replace("_", " "),
        "shape": f"asks the port {step.by.port}"
        if isinstance(step.by, Call)
        else type(step.by).__name__,
        "reads": [k.__name__ for k in kinds(step.reads)],
        "writes": [k.__name__ for k in kinds(step.writes)],
    }
