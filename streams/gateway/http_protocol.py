"""Bounds on the head of an HTTP request, before it is a request.

uvicorn buffers a head however long it is, and waits for the rest of it for ever: a few senders that
never finish would take the memory, or all connections. Errors are problems here too.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streams.gateway import errors
from streams.gateway.errors import ProblemError
from streams.gateway.limits import HEAD_BYTES_MAX, large_head

HEAD_S = 60
"""How long a new connection, or a head that has begun, may take: longer than a busy client needs
between connecting and sending (a thousand at once, from one process, on a busy machine: 15 s were
too short for seven of them).
"""
LINGER_S = 1
"""How long further input is discarded before the connection is closed: closed at once, the answer
would be lost to a reset.
"""


class HttpProtocolGuard(HttpToolsProtocol):
    """uvicorn's protocol, with bounds on the head of a request."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self._size = 0
        self._begun = False
        self._over = False
        self._waiting = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        goes_on = self._begun
        super().data_received(data)
        if not self._begun:
            return
        self._size += len(data) if goes_on else 0  # the first part may be a body's end too
        if self._size > HEAD_BYTES_MAX:
            self._turn_away(large_head())
        elif self._waiting is None:
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size = 0
        self._begun = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._size += len(url)

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._turn_away(
            ProblemError(
                400,
                "not_http",
                "this is no HTTP/1.1 request: check the address, and that it is not HTTPS",
            )
        )

    def _await_head(self) -> None:
        self._waiting = self.loop.call_later(HEAD_S, self._late)

    def _head_is_there(self) -> None:
        self._begun = False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _late(self) -> None:
        self._waiting = None
        self._turn_away(
            ProblemError(
                408, "too_slow", f"the request's head did not come within {HEAD_S} s: send it whole"
            )
        )

    def _turn_away(self, problem: ProblemError) -> None:
        """Answers and closes the connection. Where another answer is under way the connection is
        closed without one: the two could not be told apart.
        """
        self._head_is_there()
        if self._over or self.transport.is_closing():
            return
        self._over = True
        if self.cycle is not None and not self.cycle.response_complete:
            return self.transport.close()
        said = errors.problem_response(problem)
        said.headers["connection"] = "close"
        lines = [
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode(),
            *(name + b": " + value for name, value in said.raw_headers),
        ]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(said.body))
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)
