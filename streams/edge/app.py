"""What is the edge made of? One application out of one router a group of routes, and what all of them share.

`application(settings, link, tables)` is complete without Kafka or ClickHouse: both are given to it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request

from streams.config import Settings
from streams.edge import limits, problems
from streams.edge.described import PROBLEMS, described
from streams.edge.link import Away, Link
from streams.edge.problems import Problem
from streams.telemetry import Metrics

Rows = list[dict[str, Any]]
Tables = Callable[[str, dict[str, Any]], Rows]
"""ClickHouse, as the routes know it: rows of a query with parameters. It blocks, and is asked in a thread."""

ABOUT = """LLM agents in production, run as an exactly-once streaming pipeline on Kafka.

Accepted (202) means that all replicas of Kafka have the request. Every request has exactly one outcome. With an
`Idempotency-Key` a request may be sent again: it is the same run. A caller that goes away, from a stream too, does not
end its run: `GET /v1/runs/{id}` has the outcome, and `POST /v1/runs/{id}/cancel` ends it. What is wrong is a problem of
RFC 9457. Where one says 503, ask again after `Retry-After` seconds, with the same `Idempotency-Key`."""


@dataclass
class Edge:
    """What all routes use."""

    settings: Settings
    link: Link
    tables: Tables
    metrics: Metrics = field(default_factory=Metrics)
    bodies: limits.Room = field(default_factory=limits.Room)

    async def rows(self, sql: str, **parameters: Any) -> Rows:
        """Rows of ClickHouse. Raises Problem 503 where it is away."""
        try:
            return await asyncio.to_thread(self.tables, sql, parameters)
        except Exception as error:  # whatever its client raises; the class differs by what is away
            raise Problem(503, "clickhouse_away",
                          f"ClickHouse does not answer ({type(error).__name__}): ask again in a "
                          "moment; runs of the last minutes are known without it", retry_after_s=2) from error

    async def publish(self, *events: Any) -> None:
        """Returns when Kafka has them. Raises Problem 503."""
        try:
            await self.link.publish(*events)
        except Away as error:
            raise Problem(503, "kafka_away", str(error), retry_after_s=2) from error


def edge_of(request: Request) -> Edge:
    return request.app.state.edge


Shared = Annotated[Edge, Depends(edge_of)]


def application(settings: Settings, link: Link, tables: Tables, metrics: Metrics | None = None) -> FastAPI:
    """The whole edge, as an ASGI application."""
    from streams.console.acting import sign_in_page  # noqa: PLC0415 - these need `Shared` above
    from streams.console.page import error_page  # noqa: PLC0415
    from streams.console.reading import SignIn  # noqa: PLC0415
    from streams.edge import routes  # noqa: PLC0415

    app = FastAPI(title="Weir", version="1", description=ABOUT, docs_url=None, redoc_url=None,
                  responses=PROBLEMS)
    app.state.edge = Edge(settings, link, tables, metrics or Metrics())
    problems.handled(app, error_page)
    app.add_exception_handler(SignIn, lambda request, error: sign_in_page(str(error)))
    for router in routes.ROUTERS:
        app.include_router(router)
    described(app)
    app.add_middleware(limits.Limits, settings=settings, metrics=app.state.edge.metrics, room=app.state.edge.bodies)
    return app
