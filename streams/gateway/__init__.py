"""The gateway: the HTTP server of Weir, run as `python -m streams.worker gateway`.

It listens at `gateway_host:gateway_port`. What it needs is imported when it runs, so a part of it
can be imported alone, and a killed gateway is back within a second.
"""

import asyncio
import logging
import socket
from typing import Any

from streams.config import Settings

log = logging.getLogger(__name__)
BEAT_S = 1.0
DRAIN_S = 10
BACKLOG = 2_048


def run(settings: Settings, worker: Any) -> None:
    """The gateway worker: `streams/worker.py` calls this in its process."""
    import uvloop

    worker.current_definitions()
    uvloop.run(_serve(settings, worker))


async def _serve(settings: Settings, worker: Any) -> None:
    import uvicorn

    from streams.gateway.clickhouse import ClickHouseReader
    from streams.gateway.http_protocol import HttpProtocolGuard
    from streams.gateway.kafka_link import KafkaLink
    from streams.http_app import application

    link = KafkaLink(settings, worker.codec, worker.current_definitions, worker.metrics)
    app = application(settings, link, ClickHouseReader(settings), worker.metrics)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=HttpProtocolGuard,
            log_level="warning",
            access_log=False,
            lifespan="on",
            ws="none",
            timeout_keep_alive=75,
            backlog=BACKLOG,
            timeout_graceful_shutdown=DRAIN_S,
            server_header=False,
        )
    )
    with _bound(settings) as sock:
        serving = asyncio.ensure_future(
            server.serve([sock])
        )  # SIGTERM is its own: it finishes what runs, and returns
        while not serving.done():
            worker.beat()
            worker.ready(server.started and not server.should_exit)
            await asyncio.wait({serving}, timeout=BEAT_S if server.started else 0.01)
        serving.result()
    await asyncio.to_thread(link.close)


def _bound(settings: Settings) -> socket.socket:
    """A socket on the gateway's address. The protocol is named, because only then is TCP_NODELAY
    set.
    """
    family = socket.AF_INET6 if ":" in settings.gateway_host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.gateway_host, settings.gateway_port))
    except OSError as error:
        sock.close()
        raise SystemExit(
            f"the gateway cannot listen on {settings.gateway_host}:{settings.gateway_port} "
            f"({error.strerror}): end "
            "what listens there, or set WEIR_GATEWAY_PORT"
        ) from error
    log.info("gateway listens on http://%s:%d", settings.gateway_host, settings.gateway_port)
    return sock
