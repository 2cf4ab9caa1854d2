"""The gateway's ASGI application: one router a group of routes.

`application(settings, link, tables)` is complete without Kafka or ClickHouse: both are given to it.
"""

from fastapi import FastAPI

from streams.config import Settings
from streams.console import actions, export, rates
from streams.console.actions import sign_in_page
from streams.console.page import error_page
from streams.console.pages import pages
from streams.console.request import SignInNeededError
from streams.engine.monitoring.telemetry import Metrics
from streams.gateway import errors, limits
from streams.gateway.context import Gateway, ReadRows
from streams.gateway.kafka_link import Link
from streams.gateway.openapi import PROBLEMS, complete_document
from streams.gateway.otlp import routes
from streams.gateway.routes import (
    anthropic_messages,
    approvals,
    cloudevents,
    models,
    objects,
    openai_chat,
    openai_responses,
    runs,
    signals,
    traces,
)

ROUTERS = (
    runs.router,
    approvals.router,
    signals.router,
    objects.router,
    openai_chat.router,
    openai_responses.router,
    anthropic_messages.router,
    models.router,
    cloudevents.router,
    routes.router,
    traces.router,
    *(page.router for page in pages()),
    actions.router,
    export.router,
    rates.router,
)

ABOUT = """LLM agents in production, run as an exactly-once streaming pipeline on Kafka.

Accepted (202) means that all replicas of Kafka have the request. Every request has exactly one
outcome. A request may be sent again with the same `Idempotency-Key`: it is the same run. A caller
that disconnects, from a stream too, does not end its run: `GET /v1/runs/{id}` has the outcome, and
`POST /v1/runs/{id}/cancel` ends it. Errors are problems of RFC 9457. After a 503, send the request
again after `Retry-After` seconds, with the same `Idempotency-Key`."""


def application(
    settings: Settings, link: Link, tables: ReadRows, metrics: Metrics | None = None
) -> FastAPI:
    """The whole gateway, as an ASGI application."""
    app = FastAPI(
        title="Weir",
        version="1",
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.gateway = Gateway(settings, link, tables, metrics or Metrics())
    errors.install_handlers(app, error_page)
    app.add_exception_handler(SignInNeededError, lambda request, error: sign_in_page(str(error)))
    for router in ROUTERS:
        app.include_router(router)
    complete_document(app)
    app.add_middleware(
        limits.RequestLimits,
        settings=settings,
        metrics=app.state.gateway.metrics,
        room=app.state.gateway.bodies,
    )
    return app
