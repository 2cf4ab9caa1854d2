"""`weir traces`: lists traces of Weir and of OTLP applications, and shows one as a tree."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from sinks.clickhouse.queries.traces import TRACES
from streams.cli.output import AsJson, out, say_json, short, table
from streams.config import settings
from streams.engine.errors import UserError
from streams.operations.connections import rows_of
from streams.operations.figures import usd

QUERIES = {query.name: query for query in TRACES}
MODEL_CALLS = ("chat", "text_completion", "generate_content", "embeddings")
DEPTH_MAX = 40


def traces(
    trace: Annotated[
        str, typer.Argument(help="One of them: its id of 32 hex digits. Without it the newest.")
    ] = "",
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many traces, or steps of one.")] = 200,
    as_json: AsJson = False,
) -> None:
    """The newest traces, or the steps of one."""
    if trace:
        return show(trace.lower(), tenant, limit, as_json)
    found = asked("traces", tenant=tenant, limit=limit)
    if as_json:
        return say_json(found)
    columns = (
        "began",
        "trace",
        "tenant",
        "agent",
        "sources",
        "steps",
        "errors",
        "ms",
        "tokens",
        "cost",
    )
    out.print(
        table(
            "Traces",
            columns,
            [
                (
                    f"{r['began']:%m-%d %H:%M:%S}",
                    r["trace"],
                    r["tenant"],
                    r["by_agent"],
                    ", ".join(r["sources"]),
                    r["steps"],
                    r["errors"],
                    r["took_ms"],
                    f"{r['sent']}/{r['generated']}",
                    cost_of(r),
                )
                for r in found
            ],
            numbers=("steps", "errors", "ms", "cost"),
        )
    )


def show(trace: str, tenant: str, limit: int, as_json: bool) -> None:
    """One trace as a tree. Raises UserError where there is none, or two tenants have one of that
    id.
    """
    spans = asked("trace_spans", trace=trace, tenant=tenant, limit=limit + 1)
    if not spans:
        raise UserError(
            f"there is no trace {trace} in ClickHouse (rows arrive within seconds): `./weir "
            "traces` lists those "
            "that are there"
        )
    tenants = sorted({span["tenant"] for span in spans})
    if len(tenants) > 1:
        raise UserError(
            f"the tenants {', '.join(tenants)} each have a trace {trace}: say which with --tenant"
        )
    if as_json:
        return say_json(spans[:limit])
    began = min(span["started_at"] for span in spans)
    columns = ("at ms", "step", "source", "status", "ms", "tokens", "cost", "output")
    out.print(
        table(
            f"Trace {trace} of {tenants[0]}",
            columns,
            [
                (
                    int((span["started_at"] - began).total_seconds() * 1000),
                    "  " * depth + span["name"],
                    span["source"],
                    span["error_type"] or span["status"],
                    span["wait_ms"],
                    tokens_of(span),
                    cost_of(span),
                    short(span["output"], 60),
                )
                for depth, span in tree(spans[:limit])
            ],
            numbers=("at ms", "ms"),
        )
    )
    if len(spans) > limit:
        out.print(f"and more than these {limit}: say --limit")


def asked(name: str, **given: Any) -> list[dict[str, Any]]:
    query = QUERIES[name]
    return rows_of(settings(), query.sql, query.parameters | given)


def tokens_of(span: dict[str, Any]) -> str:
    return (
        f"{span['input_tokens']}/{span['output_tokens']}"
        if span["operation"] in MODEL_CALLS
        else ""
    )


def cost_of(row: dict[str, Any]) -> str:
    """Of a step: what it cost, where it is a model's call. Of a trace: the sum, and how many calls
    are not in it.
    """
    if "operation" in row:
        return usd(row["cost_usd"]) if row["operation"] in MODEL_CALLS else ""
    unpriced = f" + {row['without_price']} unpriced" if row["without_price"] else ""
    return (
        usd(row["spent_usd"]) if row["spent_usd"] is not None else "$0" if not unpriced else ""
    ) + unpriced


def tree(spans: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each span once, with its depth: a parent before what is inside it. One whose parent nobody
    told is a root, and so is the earliest of a circle.
    """
    known = {span["span"] for span in spans}
    inside = {}
    for span in spans:
        parent = (
            span["parent"] if span["parent"] in known and span["parent"] != span["span"] else ""
        )
        inside.setdefault(parent, []).append(span)
    done: set[int] = set()
    for root in (*inside.get("", ()), *spans):
        stack = [(0, root)]
        while stack:
            depth, span = stack.pop()
            if id(span) in done:
                continue
            done.add(id(span))
            yield depth, span
            stack += [
                (min(depth + 1, DEPTH_MAX), each) for each in reversed(inside.get(span["span"], ()))
            ]
