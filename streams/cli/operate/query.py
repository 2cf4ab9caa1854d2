"""`weir query`, `weir topics` and `weir schema`."""

import re
from typing import Annotated

import typer
from confluent_kafka import TopicPartition
from rich.text import Text

from sinks.clickhouse.queries.catalogue import QUERIES
from streams.cli.output import ROOT, AsJson, err, out, say_json, table
from streams.config import settings
from streams.docs import readme as drawn
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.operations.connections import await_kafka, rows_of


def query(
    sql: Annotated[str | None, typer.Argument(help="SQL, or with --named a query's name.")] = None,
    named: Annotated[
        bool, typer.Option("--named", help="List the ready queries, or run the one named.")
    ] = False,
    param: Annotated[
        list[str], typer.Option("--param", "-p", help="name=value of a query's parameter.")
    ] = [],
    as_json: AsJson = False,
) -> None:
    """Asks ClickHouse: any SQL, or one of the ready queries."""
    if named and sql is None:
        return list_queries(as_json)
    if sql is None:
        raise UserError(
            "give SQL, e.g. `./weir query 'SELECT count() FROM runs'`, or `--named` for the "
            "ready queries"
        )
    parameters = dict(part.split("=", 1) for part in param if "=" in part)
    if named:
        chosen = next((q for q in QUERIES if q.name == sql), None)
        if chosen is None:
            raise UserError(f"there is no ready query {sql!r}: `./weir query --named` lists them")
        sql = chosen.sql
        parameters = {**chosen.parameters, **parameters}
    found = rows_of(settings(), sql, parameters)
    if as_json:
        return say_json(found)
    columns = list(found[0]) if found else []
    out.print(table("", columns, [[*row.values()] for row in found]) if found else "no rows")


def list_queries(as_json: bool) -> None:
    if as_json:
        return say_json(
            [
                {
                    "name": q.name,
                    "purpose": q.purpose,
                    "sql": q.sql,
                    "parameters": q.parameters,
                    "example": q.example,
                }
                for q in QUERIES
            ]
        )
    for ready in QUERIES:
        out.print(Text.assemble((ready.name, "bold"), f"  {ready.purpose}"))
        out.print(f"  {ready.example}", markup=False, soft_wrap=True)
        out.print(re.sub(r"^", "    ", ready.sql.strip(), flags=re.M), markup=False)


def topics(as_json: AsJson = False) -> None:
    """Lists the topics: what is on each, who owns it, who reads it."""
    await_kafka(settings())
    reader = kafka.consumer(settings(), "topics")
    existing = reader.list_topics(timeout=10).topics
    found = []
    for row in drawn.topics_rows(settings()):
        name = settings().prefix + row["topic"]
        ends = [
            reader.get_watermark_offsets(TopicPartition(name, number), timeout=10)
            for number in (existing[name].partitions if name in existing else ())
        ]
        found.append(row | {"offsets": sum(high - low for low, high in ends)})
    reader.close()
    if as_json:
        return say_json(found)
    columns = list(found[0])
    out.print(
        table(
            "Topics", columns, [[*row.values()] for row in found], numbers=("partitions", "offsets")
        )
    )


def schema(
    event: Annotated[str, typer.Argument(help="An event's name, e.g. AgentRequested.")],
) -> None:
    """Prints an event's Avro schema, for producers in other languages."""
    path = ROOT / "schemas" / "avro" / f"{event}.avsc"
    if not path.exists():
        raise UserError(
            f"there is no event {event!r}: "
            f"{', '.join(sorted(p.stem for p in path.parent.glob('*.avsc')))}"
        )
    out.print(path.read_text(), markup=False, soft_wrap=True)
    err.print(f"{path.name} in schemas/avro", style="dim")
