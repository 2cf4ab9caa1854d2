"""Which pages does the console have, and what stands on each?"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import yaml
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from schemas.prompts import PromptUse
from schemas.registry import Agent, Definition, Definitions
from streams.console.page import Picture, Table, Tile, render
from streams.console.queries import MINE, ROWS, SPANS_SHOWN, SPLITS
from streams.console.reading import Look, Reading
from streams.edge.problems import Problem
from streams.shapes import Call, Step, kinds
from streams.topology import PIPELINE, calls, stages

router = APIRouter(prefix="/console", include_in_schema=False)
UNCOUNTED = timedelta(minutes=5)
OUTCOMES = ("completed", "failed", "blocked", "stopped", "cancelled", "refused")


@router.get("")
async def overview(look: Reading) -> HTMLResponse:
    names = ("figures", "completeness", "runs_by_outcome", "waits", "cost_by_model", "agents", "delays")
    [figures], balance, outcomes, waits, cost, agents, delays = await look.all(*names)
    whole = [Table(ROWS["completeness"].title, balance, "completeness"), Table("How far behind", delays, "delays")]
    tiles = [*tiles_of(figures), completeness(balance, datetime.now(UTC))] if look.sees_all else tiles_of(figures)
    if any(row["lost"] or row["doubled"] for row in balance):
        whole.insert(0, Table("Minutes that do not balance first", await look.rows("completeness_minutes"), "completeness_minutes"))
    return render(look, "blocks.html", "Overview", live=look.sees_all, figures=tiles, pictures=[
        Picture("runs_by_outcome", outcomes), Picture("cost_by_model", cost), Picture("waits", waits, stacked=False)], tables=[
        Table("Agents", agents, "agents"), *(whole if look.sees_all else ())])


def tiles_of(row: dict[str, Any]) -> list[Tile]:
    """The large figures of a page. What has no price is said beside what has."""
    all_runs, ended = row["runs"], max(row["runs"], 1)
    unpriced = f"{row['unpriced_calls']:,} calls unpriced" if row["unpriced_calls"] else "all calls priced"
    return [Tile("Runs", f"{all_runs:,}", f"{row['refused']:,} refused"), Tile("Completed", f"{row['completed'] / ended:.1%}"),
            Tile("Cost", f"${row['cost_usd'] or 0:,.4f}", unpriced, bad=bool(row["unpriced_calls"])),
            Tile("Tokens", f"{row['tokens']:,}"), Tile("Half of the runs within", f"{_whole(row['p50_ms'])} ms",
                                                       f"95 % within {_whole(row['p95_ms'])} ms")]


def _whole(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:,.0f}"


def completeness(rows: list[dict[str, Any]], now: datetime) -> Tile:
    """Does produced = landed + dead-lettered hold, for everything that was counted? And is it counted at all?"""
    wrong, produced = sum(row["lost"] + row["doubled"] for row in rows), sum(row["produced"] for row in rows)
    if not rows:
        return Tile("Completeness", "not counted yet", "counted once a minute")
    last = max(row["last_counted"] for row in rows).replace(tzinfo=UTC)
    old = f", last at {last:%H:%M} UTC" if now - last > UNCOUNTED else ""
    return Tile("Completeness", f"{wrong:,} wrong" if wrong else "balanced", f"of {produced:,} records counted{old}", bad=bool(wrong))


@router.get("/runs")
async def runs(look: Reading) -> HTMLResponse:
    rows = await look.rows("runs")
    carried = "".join("&" + urlencode({name: value}) for name, value in look.filters.items() if value)
    return render(look, "blocks.html", "Runs", filters=OUTCOMES, tables=[Table("Runs", rows, "runs", extra=carried)],
                  about="The newest 200 that fit, newest first. Words are looked for in questions and answers, whole words only.")


@router.get("/runs/{run}")
async def run(run: UUID, look: Reading) -> HTMLResponse:
    found = await look.rows("run", run=str(run))
    if not found:
        return await under_way(look, run)
    [row] = found
    trace, own = await trace_of(look, run, row["tenant"]), row["tenant"]
    spans, family, verdicts = (await look.rows("spans_shown", trace=trace, tenant=own), await look.rows(
        "family", run=str(run), parent=str(row["parent_run"]), tenant=own), await look.rows(
        "verdicts_of_run", run=str(run), tenant=own))
    tables = [Table("Guardrails", verdicts)] + ([Table("Asked by, and asked in turn", family)] if len(family) > 1 else [])
    return render(look, "run.html", f"Run {str(run)[:8]}", run=row, spans=placed(spans[:SPANS_SHOWN]), trace=trace, tables=tables,
                  more=len(spans) > SPANS_SHOWN, models=models(look.edge.link.given()), figures=[
                      Tile("Took", f"{row['wait_ms']:,} ms"), Tile("Cost", _usd(row["cost_usd"])),
                      Tile("Model calls", str(row["model_calls"])), Tile("Tool calls", str(row["tool_calls"])),
                      Tile("Tokens in / out", f"{row['input_tokens']:,} / {row['output_tokens']:,}"),
                      Tile("Prompt version", str(row["prompt_version"] or "in the agent"))])


async def under_way(look: Look, run: UUID) -> HTMLResponse:
    """What a run that has not ended did so far. Raises Problem 404 where there is nothing of it."""
    spans = await look.rows("spans_shown", trace=await trace_of(look, run, look.tenant))
    if not any(span["run"] == run for span in spans):
        raise Problem(404, "unknown_run", f"there is no run {run} here: rows arrive within seconds of its first step, so load "
                      "the page again; if it stays so, the id is wrong or the run another tenant's")
    return render(look, "open-run.html", f"Run {str(run)[:8]}", spans=placed(spans[:SPANS_SHOWN]))


async def trace_of(look: Look, run: UUID, tenant: str) -> str:
    """The trace that a run's spans stand in; the run's own id where it has none yet. Of that tenant: others may name the run."""
    found = await look.edge.rows(f"SELECT any(trace) AS trace FROM spans WHERE run = {{run:UUID}} AND {MINE}", run=str(run), tenant=tenant)
    return found[0]["trace"] or run.hex if found else run.hex


def _usd(value: Any) -> str:
    return "unpriced" if value is None else f"${value:,.6f}"


def placed(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spans with where their bars begin and how wide they are, in thousandths of the whole trace."""
    if not spans:
        return []
    began = min(span["started_at"] for span in spans)
    whole = max((span["started_at"] - began).total_seconds() * 1000 + span["wait_ms"] for span in spans) or 1
    return [span | {"x": round((span["started_at"] - began).total_seconds() * 1_000_000 / whole, 1),
                    "w": max(2, round(span["wait_ms"] * 1000 / whole, 1))} for span in spans]


def models(given: Definitions) -> list[str]:
    return sorted(name for kind, name in given.newest if kind == "model" and (kind, name) not in given.gone)


@router.get("/sessions")
async def sessions(look: Reading) -> HTMLResponse:
    return render(look, "blocks.html", "Sessions", tables=[Table("Sessions", await look.rows("sessions"), "sessions")])


@router.get("/session")
async def session(session: str, look: Reading) -> HTMLResponse:
    rows = await look.rows("session", session=session)
    return render(look, "blocks.html", f"Session {session[:40]}", tables=[Table("Conversation", rows)])


@router.get("/cost")
async def cost(look: Reading, by: str = "model") -> HTMLResponse:
    if by not in SPLITS:
        raise Problem(422, "unknown_split", f"cost is split by one of {', '.join(SPLITS)}")
    [figures], over_time, table = await look.all("figures", f"cost_over_time_{by}", name_of(by))
    about = "Split by: " + ", ".join(split for split in SPLITS)
    return render(look, "cost.html", "Cost", figures=tiles_of(figures)[2:4], splits=SPLITS, by=by, about=about,
                  pictures=[Picture(f"cost_over_time_{by}", over_time)], tables=[Table(ROWS[name_of(by)].title, table, name_of(by))])


def name_of(split: str) -> str:
    return "cost_of_models" if split == "model" else f"cost_by_{split}"


@router.get("/guardrails")
async def guardrails(look: Reading) -> HTMLResponse:
    over_time, rules, others = await look.all("verdicts_over_time", "verdicts", "not_completed")
    return render(look, "blocks.html", "Guardrails", pictures=[Picture("verdicts_over_time", over_time)], tables=[
        Table("What the guardrails found", rules, "verdicts"), Table("Refused, blocked, stopped, failed", others, "not_completed")])


@router.get("/approvals")
async def approvals(look: Reading) -> HTMLResponse:
    waiting, decided = await look.all("approvals", "decided")
    return render(look, "approvals.html", "Approvals", waiting=waiting, tables=[Table("Decided lately", decided, "decided")])


@router.get("/letters")
async def letters(look: Reading, said: str = "") -> HTMLResponse:
    rows = await look.rows("dead_letters")
    return render(look, "letters.html", "Dead letters", letters=rows, said=said[:300],
                  tables=[Table("Dead letters", rows, "dead_letters")])


@router.get("/definitions")
async def definitions(look: Reading) -> HTMLResponse:
    given = look.edge.link.given()
    return render(look, "definitions.html", "Definitions", kinds=histories(given, look.caller.tenant), gone=given.gone)


def histories(given: Definitions, tenant: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every version of every definition, newest first, with what changed. Secrets are references; keys are left out."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    before: dict[tuple[str, str], str] = {}
    own = _prompts_of(given, tenant)
    for (kind, name, version), body in sorted(given.bodies.items(), key=lambda item: item[0]):
        if kind == "key" or tenant and not (own.get((kind, name), True) and _for(tenant, kind, name, body)):
            continue
        text = yaml.safe_dump(body.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
        old = before.get((kind, name))
        changed = "" if old is None else "\n".join(unified_diff(old.splitlines(), text.splitlines(), lineterm="", n=1))
        found[kind].setdefault(name, []).insert(0, {"version": version, "text": text, "changed": changed})
        before[kind, name] = text
    return dict(found)


def _for(tenant: str, kind: str, name: str, body: Definition) -> bool:
    """Is this version of a definition the tenant's to see: its own contract, and agents and webhooks that are for it?"""
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
    by_event = {kind.__name__: row["a_minute"] for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))
                for row in rates if row["topic"] == kind.topic()}
    drawn = {f"stage: {key}": [_step(step) for step in steps] for key, steps in stages().items()}
    return render(look, "topology.html", "Topology", rates=by_event, stages=drawn | {"asked outside": [_step(s) for s in calls()]},
                  tables=[Table("Records a minute, by topic", rates, "rates"), Table("How far behind", delays, "delays")]
                  if look.sees_all else [])


def _step(step: Step) -> dict[str, Any]:
    return {"name": step.name.replace("_", " "), "shape": f"asks the port {step.by.port}" if isinstance(step.by, Call)
            else type(step.by).__name__, "reads": [k.__name__ for k in kinds(step.reads)],
            "writes": [k.__name__ for k in kinds(step.writes)]}
