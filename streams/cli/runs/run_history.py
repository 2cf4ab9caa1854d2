"""Finds a run's session and reads its events, for commands about runs."""

from datetime import datetime
from uuid import UUID

from schemas.events.base import Event
from streams.config import settings
from streams.engine.errors import UserError
from streams.lab.replay import run_history
from streams.operations.connections import codec_of, rows_of

PLACES = tuple(
    f"""SELECT tenant, session, min(started_at) AS since FROM {table} WHERE run = {{run:UUID}}
GROUP BY tenant, session LIMIT 1"""
    for table in ("spans", "runs")
)


def history(run: UUID) -> list[Event]:
    """The run's events, out of Kafka. A UserError where nobody has heard of it."""
    tenant, session, since = place_of(run)
    return run_history.of_run(
        run_history.of_session(settings(), codec_of(settings()), tenant, session, since), run
    )


def place_of(run: UUID) -> tuple[str, str, datetime]:
    """The run's tenant, session, and since when there is something of it. A UserError where nobody
    has heard of it.
    """
    for place in PLACES:
        rows = rows_of(settings(), place, {"run": str(run)})
        if rows:
            return rows[0]["tenant"], rows[0]["session"], rows[0]["since"]
    raise UserError(
        f"nobody has heard of run {run}: rows arrive within seconds of its first step; `./weir "
        "runs` lists those "
        "that are over"
    )
