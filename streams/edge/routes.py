"""Which groups of routes has the edge? One file each; a new group is two lines here."""

from streams.console import acting, pages, quality, taking
from streams.edge import (
    approvals,
    catalogue,
    chat,
    cloudevents,
    messages,
    otlp,
    responses,
    runs,
    signals,
)

ROUTERS = (
    runs.router,
    approvals.router,
    signals.router,
    chat.router,
    responses.router,
    messages.router,
    catalogue.router,
    cloudevents.router,
    otlp.router,
    pages.router,
    quality.router,
    acting.router,
    taking.router,
)
