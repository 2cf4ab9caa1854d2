"""Which groups of routes has the edge? One file each; a new group is one line here."""

from streams.edge import catalogue, chat, messages, otlp, responses, runs

ROUTERS = (runs.router, chat.router, responses.router, messages.router, catalogue.router, otlp.router)
