"""Limits on concurrent requests and on the memory of their bodies (backpressure).

Plain ASGI, because it runs around every request: it counts those under way, and bounds heads and
bodies before anything reads them. A body has `gateway_slow_s` to arrive, so that no slow sender
occupies another's slot.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.config import Settings
from streams.engine.monitoring.telemetry import Metrics
from streams.gateway import errors
from streams.gateway.errors import ProblemError

EXPORT_BYTES_MAX = 20 * 1024 * 1024
EXPORT_TOO_LARGE = (
    f"the export has more than {EXPORT_BYTES_MAX >> 20} MB: send fewer spans at once "
    "(OTEL_BSP_MAX_EXPORT_BATCH_SIZE)"
)
LARGER: Mapping[str, int] = {"/v1/traces": EXPORT_BYTES_MAX, "/v1/logs": EXPORT_BYTES_MAX}
"""Paths with larger bodies: exports of other applications."""
HEAD_BYTES_MAX = 64 * 1024
SMALL_BYTES = 64 * 1024
"""Bodies up to this size are not counted: as many as there may be requests fit into memory."""


class BodyMemory:
    """How many bytes of large bodies may be in memory at once, compressed and decompressed."""

    def __init__(self, most: int = 4 * EXPORT_BYTES_MAX):
        self.most = most
        self.taken = 0

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Raises ProblemError 503 where it is full; one body alone always fits."""
        if self.taken and self.taken + size > self.most:
            raise ProblemError(
                503,
                "busy",
                "too many large bodies come at once: send it again in a moment",
                retry_after_s=1,
            )
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


class RequestLimits:
    """503 above `gateway_in_flight` requests at once, 413 above `gateway_body_bytes`, 431 for a
    head that is too large, 408 for a body that does not arrive.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, room: BodyMemory):
        self._app = app
        self._metrics = metrics
        self._room = room
        self._most = settings.gateway_in_flight
        self._bytes = settings.gateway_body_bytes
        self._slow_s = settings.gateway_slow_s
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._now >= self._most:
            busy = ProblemError(
                503,
                "busy",
                f"{self._most} requests are under way already: ask again in a moment, or raise "
                "WEIR_GATEWAY_IN_FLIGHT",
                retry_after_s=1,
            )
            self._metrics.count(
                "weir_gateway_requests", path="other", status="503"
            )  # no route has been looked for
            return await errors.problem_response(busy, scope["path"])(scope, receive, send)
        self._now += 1
        # of a request that nobody could answer
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.observe(
                    "weir_gateway_seconds", time.perf_counter() - began, path=_path(scope)
                )
            await send(message)

        try:
            with ExitStack() as held:
                try:
                    bounded = await self._bounded(scope, self._timely(receive), held)
                except ProblemError as problem:
                    return await errors.problem_response(problem, scope["path"])(
                        scope, receive, watched
                    )
                await self._app(scope, bounded, watched)
        finally:
            self._now -= 1
            self._metrics.count("weir_gateway_requests", path=_path(scope), status=str(status))
            self._metrics.gauge("weir_gateway_in_flight", self._now)

    def _timely(self, receive: Receive) -> Receive:
        """The request as it arrives. Raises ProblemError 408 where its body is not there in time."""
        until = asyncio.get_running_loop().time() + self._slow_s
        whole = False

        async def timely() -> Message:
            nonlocal whole
            if whole:  # what is waited for now is that the caller goes away
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise ProblemError(
                    408,
                    "too_slow",
                    f"the body did not come within {self._slow_s:g} s: send it faster, or raise "
                    "WEIR_GATEWAY_SLOW_S",
                ) from error
            whole = not message.get("more_body", False)
            return message

        return timely

    async def _bounded(self, scope: Scope, receive: Receive, held: ExitStack) -> Receive:
        """What the application reads from; the memory of the body is `held`. A body of unknown
        length is read here first. Raises ProblemError for one that is too large, or has no memory
        left.
        """
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES_MAX:
            raise large_head()
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        path = scope["path"]
        most = LARGER.get(path, self._bytes)
        if length.isdigit():
            if int(length) > most:
                raise large_body(path, most)
            if (
                int(length) > SMALL_BYTES and path not in LARGER
            ):  # an export finds its room where it is read
                held.enter_context(self._room.reserve(int(length)))
            return receive
        if b"transfer-encoding" not in headers:
            return receive
        with self._room.reserve(most):
            parts, size = await _read(receive, most)
        if size > most:
            raise large_body(path, most)
        if size > SMALL_BYTES and path not in LARGER:
            held.enter_context(self._room.reserve(size))
        left = iter(parts)

        async def again() -> Message:
            found = next(left, None)
            return await receive() if found is None else found

        return again


async def _read(receive: Receive, most: int) -> tuple[list[Message], int]:
    """A body in the parts in which it arrived, up to the first that is too much."""
    parts = []
    size = 0
    more = True
    while more and size <= most:
        message = await receive()
        parts.append(message)
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    return parts, size


def large_head() -> ProblemError:
    return ProblemError(
        431,
        "large_head",
        f"the request's head has more than {HEAD_BYTES_MAX >> 10} KB: send fewer and "
        "shorter headers",
    )


def large_body(path: str, most: int) -> ProblemError:
    if path in LARGER:
        return ProblemError(413, "too_large", EXPORT_TOO_LARGE)
    return ProblemError(
        413,
        "too_large",
        f"the body has more than {most:,} bytes: send less, or raise WEIR_GATEWAY_BODY_BYTES",
    )


def _path(scope: Scope) -> str:
    """The route's pattern, so that ids make no series of their own."""
    route = scope.get("route")
    return getattr(route, "path", "other")
