"""How much may a caller ask of the edge at once, before it is told to wait instead of filling memory?

Plain ASGI, because it runs around every request: counts those under way, and bounds their bodies before anything
reads them.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.config import Settings
from streams.edge import problems
from streams.edge.otlp_wire import BODY_BYTES_MAX
from streams.edge.problems import Problem
from streams.telemetry import Metrics

LARGER: Mapping[str, int] = {"/v1/traces": BODY_BYTES_MAX, "/v1/logs": BODY_BYTES_MAX}
"""Exports of other applications come in large bodies."""


class Room:
    """How many bytes of large bodies may be in memory at once, packed and unpacked."""

    def __init__(self, most: int = 4 * BODY_BYTES_MAX):
        self.most, self.taken = most, 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Raises Problem 503 where it is full; one body alone always fits."""
        if self.taken and self.taken + size > self.most:
            raise Problem(503, "busy", "too many exports come at once: send it again in a moment", retry_after_s=1)
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


class Limits:
    """503 above `edge_in_flight` requests at once, 413 above `edge_body_bytes`."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics):
        self._app, self._metrics = app, metrics
        self._most, self._bytes = settings.edge_in_flight, settings.edge_body_bytes
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._now >= self._most:
            busy = Problem(503, "busy", f"{self._most} requests are under way already: ask again in a moment, or raise "
                           "WEIR_EDGE_IN_FLIGHT", retry_after_s=1)
            return await problems.answer(busy, scope["path"])(scope, receive, send)
        self._now += 1
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.observe("weir_edge_seconds", time.perf_counter() - began, path=_path(scope))
            await send(message)

        try:
            bounded = await self._bounded(scope, receive)
            if bounded is None:
                large = Problem(413, "too_large", f"the body has more than {self._limit(scope):,} bytes: send less, or "
                                "raise WEIR_EDGE_BODY_BYTES")
                await problems.answer(large, scope["path"])(scope, receive, watched)
            else:
                await self._app(scope, bounded, watched)
        finally:
            self._now -= 1
            self._metrics.count("weir_edge_requests", path=_path(scope), status=str(status))
            self._metrics.gauge("weir_edge_in_flight", self._now)

    def _limit(self, scope: Scope) -> int:
        return LARGER.get(scope["path"], self._bytes)

    async def _bounded(self, scope: Scope, receive: Receive) -> Receive | None:
        """What the application shall read from; None for a body that is too large. One whose length nobody says is read
        here first."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if length.isdigit():
            return receive if int(length) <= self._limit(scope) else None
        if b"transfer-encoding" not in headers:
            return receive
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            parts.append(message)
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
            if size > self._limit(scope):
                return None
        left = iter(parts)

        async def again() -> Message:
            found = next(left, None)
            return await receive() if found is None else found

        return again


def _path(scope: Scope) -> str:
    """The route's pattern, so that ids make no series of their own."""
    route = scope.get("route")
    return getattr(route, "path", "other")
