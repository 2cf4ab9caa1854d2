"""Exports of the console's tables, as CSV or Parquet, of any size.

They are streamed as ClickHouse sends them: a large table fills no memory here. Text in CSV that a
spreadsheet would run as a formula begins with an apostrophe; Parquet has it as it is.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from sinks.clickhouse import connection
from streams.config import Settings
from streams.console.queries import OF_ALL, ROWS_TAKEN, queries, query
from streams.console.request import PageRequestOf
from streams.gateway.errors import ProblemError

router = APIRouter(prefix="/console", include_in_schema=False)
FORMATS = {
    "csv": ("CSVWithNames", "text/csv"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
}
PIECE_BYTES = 256 * 1024
SECONDS_MAX = 60
TEXTS = {"String", "Nullable(String)", "LowCardinality(String)", "LowCardinality(Nullable(String))"}
FORMULA = r"^[=+@\t\r\n-]"
"""The beginning of a cell that spreadsheets run, whoever wrote it: a customer's question is
untrusted text.
"""


@router.get("/export/{name}.{form}")
async def export(name: str, form: str, request: Request, look: PageRequestOf) -> StreamingResponse:
    """A whole table of the console."""
    if name not in queries() or form not in FORMATS:
        raise ProblemError(
            404,
            "unknown_export",
            f"there is no {name}.{form}: csv or parquet of {', '.join(queries())}",
        )
    if name in OF_ALL and not look.sees_all:
        raise ProblemError(
            403,
            "no_scope",
            f"{name} counts all tenants together: it needs a key with the scope admin",
        )
    kind, media = FORMATS[form]
    given = look.parameters(
        **{"limit": ROWS_TAKEN} | query(name).parameters | export_filters(request.query_params)
    )
    try:
        client, rows = await asyncio.to_thread(
            open_stream, look.gateway.settings, query(name).sql, given, kind
        )
    except Exception as error:  # whatever its client raises; the class differs by what is away
        raise ProblemError(
            503,
            "clickhouse_away",
            f"ClickHouse does not answer ({type(error).__name__}): ask again in a moment",
            retry_after_s=2,
        ) from error
    return StreamingResponse(
        pieces(client, rows),
        media_type=media,
        headers={
            "content-disposition": f'attachment; filename="{name}.{form}"',
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        },
    )


def export_filters(query: Mapping[str, str]) -> dict[str, str]:
    """The ids of single runs, traces and sessions in the address; an empty id where none is given.
    Raises ProblemError 422.
    """
    try:
        runs = {name: str(UUID(query.get(name) or "0" * 32)) for name in ("run", "parent")}
    except ValueError as error:
        raise ProblemError(
            422, "no_run", "a run is named by its id, 32 hex digits: copy it from the run's page"
        ) from error
    return runs | {name: query.get(name, "") for name in ("trace", "session")}


def open_stream(
    settings: Settings, sql: str, parameters: dict[str, Any], form: str
) -> tuple[Any, Any]:
    """A client of its own, and the answer that it begins to send."""
    client = connection.connect(settings.clickhouse(), settings.clickhouse_database)
    try:
        if form == "CSVWithNames":
            sql = without_formulas(client, sql, parameters)
        return client, client.raw_stream(
            sql, parameters=parameters, fmt=form, settings={"max_execution_time": SECONDS_MAX}
        )
    except Exception:
        client.close()
        raise


def without_formulas(client: Any, sql: str, parameters: dict[str, Any]) -> str:
    """The query, with an apostrophe before each text that is a formula."""
    columns = client.query(f"DESCRIBE ({sql})", parameters=parameters).result_rows
    texts = [
        f"if(match(ifNull(`{name}`, ''), '{FORMULA}'), concat('\\'', `{name}`), `{name}`) AS `{name}`"
        for name, kind, *_ in columns
        if kind in TEXTS
    ]
    return f"SELECT * REPLACE ({', '.join(texts)}) FROM ({sql})" if texts else sql


def pieces(client: Any, rows: Any) -> Iterator[bytes]:
    try:
        while piece := rows.read(PIECE_BYTES):
            yield piece
    finally:
        rows.close()
        client.close()
