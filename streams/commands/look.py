"""What is in the tables, on the topics and among the dead letters?"""

import re
import sys
from typing import Annotated

import typer
from confluent_kafka import TopicPartition

from sinks.queries import QUERIES
from streams import asyncapi
from streams import describe as drawn
from streams import kafka
from streams import top as live
from streams.commands.common import ROOT, AsJson, Problem, err, out, say_json, table
from streams.commands.reach import rows_of
from streams.config import settings


def query(
    sql: Annotated[str | None, typer.Argument(help="SQL, or with --named a query's name.")] = None,
    named: Annotated[bool, typer.Option("--named", help="List the ready queries, or run the one named.")] = False,
    param: Annotated[list[str], typer.Option("--param", "-p", help="name=value of a query's parameter.")] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Asks ClickHouse: any SQL, or one of the ready queries."""
    if named and sql is None:
        return list_queries(as_json)
    if sql is None:
        raise Problem("give SQL, e.g. `./weir query 'SELECT count() FROM runs'`, or `--named` for the ready queries")
    parameters = dict(part.split("=", 1) for part in param if "=" in part)
    if named:
        chosen = next((q for q in QUERIES if q.name == sql), None)
        if chosen is None:
            raise Problem(f"there is no ready query {sql!r}: `./weir query --named` lists them")
        sql, parameters = chosen.sql, {**chosen.parameters, **parameters}
    found = rows_of(settings(), sql, parameters)
    if as_json:
        return say_json(found)
    columns = list(found[0]) if found else []
    out.print(table("", columns, [row.values() for row in found]) if found else "no rows")


def list_queries(as_json: bool) -> None:
    if as_json:
        return say_json([{"name": q.name, "purpose": q.purpose, "sql": q.sql, "parameters": q.parameters}
                         for q in QUERIES])
    for ready in QUERIES:
        out.print(f"[bold]{ready.name}[/bold]  {ready.purpose}")
        out.print(re.sub(r"^", "    ", ready.sql.strip(), flags=re.M), markup=False)


def topics(as_json: AsJson = False) -> None:
    """Lists the topics: what is on each, who owns it, who reads it."""
    reader = kafka.consumer(settings(), "topics")
    existing = reader.list_topics(timeout=10).topics
    found = []
    for row in drawn.topics_rows(settings()):
        name = settings().prefix + row["topic"]
        ends = [reader.get_watermark_offsets(TopicPartition(name, number), timeout=10)
                for number in (existing[name].partitions if name in existing else ())]
        found.append(row | {"offsets": sum(high - low for low, high in ends)})
    reader.close()
    if as_json:
        return say_json(found)
    columns = list(found[0])
    out.print(table("Topics", columns, [row.values() for row in found], numbers=("partitions", "offsets")))


def schema(event: Annotated[str, typer.Argument(help="An event's name, e.g. AgentRequested.")]) -> None:
    """Prints an event's Avro schema, for producers in other languages."""
    path = ROOT / "schemas" / "avro" / f"{event}.avsc"
    if not path.exists():
        raise Problem(f"there is no event {event!r}: {', '.join(sorted(p.stem for p in path.parent.glob('*.avsc')))}")
    out.print(path.read_text(), markup=False, soft_wrap=True)
    err.print(f"[dim]{path.name} in schemas/avro[/dim]")


def top(
    minutes: Annotated[int, typer.Option(min=1, max=60, help="How far back.")] = 60,
    by: Annotated[str, typer.Option(help="tenant, agent, model, or all.")] = "all",
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows the last hour, live: runs, tokens, cost, errors, delays. Approximate for a moment; exact in ClickHouse."""
    try:
        live.show(settings(), minutes, by, once, as_json)
    except live.Away as away:
        raise Problem(str(away)) from away


def describe(
    diagram: Annotated[bool, typer.Option("--diagram", help="The picture, as Mermaid.")] = False,
    topics: Annotated[bool, typer.Option("--topics", help="Every topic, as a table.")] = False,
    asyncapi_: Annotated[bool, typer.Option("--asyncapi", help="The contract, as AsyncAPI 3.0.")] = False,
    settings_: Annotated[bool, typer.Option("--settings", help="Every setting and its default.")] = False,
    readme: Annotated[bool, typer.Option("--readme", help="Write the README's generated blocks anew.")] = False,
) -> None:
    """Prints what the code says of itself."""
    if readme:
        drawn.rewrite_readme(ROOT / "README.md")
    for wanted, made in ((diagram, drawn.mermaid), (topics, lambda: drawn.topics_table(settings())),
                         (asyncapi_, lambda: asyncapi.as_yaml(settings())), (settings_, drawn.settings_table)):
        if wanted:
            sys.stdout.write(made() + "\n")
    if not any((diagram, topics, asyncapi_, settings_, readme)):
        raise Problem("say what: --diagram, --topics, --asyncapi, --settings or --readme")
