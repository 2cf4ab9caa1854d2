"""Which groups of routes has the edge? One file each; a new group is one line here."""

from streams.edge import catalogue, chat, runs

ROUTERS = (runs.router, chat.router, catalogue.router)
