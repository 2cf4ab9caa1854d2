"""Server-sent events to readers of any speed.

Nothing is queued for a reader: it is a generator over what is in memory anyway, and continues when
the socket has taken the part before. A reader that takes nothing for `gateway_slow_s` is
disconnected; with Last-Event-ID it continues where it was.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schemas.money import money_text

log = logging.getLogger(__name__)
KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": still here\n\n"


def _plain(value: Any) -> str:
    return money_text(value) if isinstance(value, Decimal) else str(value)


def event(name: str, data: Any, id: str = "") -> bytes:
    """One server-sent event. Without a name, as OpenAI's clients want it, only the data."""
    body = (
        data.model_dump_json().encode()
        if isinstance(data, BaseModel)
        else orjson.dumps(data, default=_plain, option=orjson.OPT_UTC_Z)
    )
    head = (f"id: {id}\n" if id else "") + (f"event: {name}\n" if name else "")
    return head.encode() + b"data: " + body + b"\n\n"


class EventStream(Response):
    """A stream of server-sent events, ended when the reader disconnects or stops reading."""

    media_type = "text/event-stream"

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        slow_s: float,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"} | (headers or {})
        )
        del self.headers["content-length"]
        self._parts = parts
        self._slow_s = slow_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        done, _ = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for one in {sending, leaving} - done:
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await one
        if sending in done:
            sending.result()

    async def _send(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        try:
            async for part in self._parts:
                async with asyncio.timeout(self._slow_s):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.warning("a reader took nothing for %g s and was cut off", self._slow_s)
        finally:
            await self._parts.aclose()


async def _disconnected(receive: Receive) -> None:
    """Returns when the reader has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        continue
