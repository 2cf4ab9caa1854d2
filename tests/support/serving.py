"""The gateway on a socket, in the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from streams.gateway import BACKLOG
from streams.gateway.http_protocol import HttpProtocolGuard


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """The app as the gateway runs it; its port."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=HttpProtocolGuard,
            port=0,
            log_level="error",
            lifespan="off",
            ws="none",
            backlog=BACKLOG,
        )
    )
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task
