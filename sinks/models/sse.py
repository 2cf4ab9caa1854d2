"""Server-sent events of a streamed answer, with a timeout for each token.

The first token has its own timeout, and so has each next one; what keeps a connection alive
(comments, pings) does not count. An answer without its end is a failed call, however much of it has
come.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from sinks.http import (
    BODY_BYTES_MAX,
    CallError,
    HttpReply,
    OutgoingRequest,
    content_type,
    open_reply,
    preview,
    read_reply,
)
from sinks.models.protocol import ModelProtocol, StreamAccumulator

LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.S)
LINGER_S = 0.02
"""How long the end of the HTTP reply is waited for after the answer's, so that the connection can
be reused.
"""
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)
OnText = Callable[[str, bool], None]
"""`on_text(text, last)`: more text of this attempt; `last` where the attempt has ended well."""


@dataclass(frozen=True)
class StreamTimeouts:
    """Timeouts in seconds: for the first token, between two tokens, for the whole answer."""

    first_s: float
    idle_s: float
    all_s: float


async def read_stream(
    http: httpx.AsyncClient,
    outgoing: OutgoingRequest,
    timeouts: StreamTimeouts,
    protocol: ModelProtocol,
    on_text: OnText,
) -> tuple[dict[str, Any], int | None]:
    """The answer that a streamed reply adds up to, and the milliseconds to its first token. Raises
    CallError, with `partial` where text was published; calls of tools and thoughts never are.

    A server that knows no streams answers in one piece: there is no first token then.
    """
    reading = _Reading(timeouts, protocol.stream(), on_text)
    try:
        async with asyncio.timeout_at(reading.first_until) as alarm:
            async with open_reply(http, outgoing) as reply:
                if content_type(reply.headers) not in ("text/event-stream", ""):
                    alarm.reschedule(reading.ends_at)
                    return protocol.answer_of(read_json(await read_reply(reply))), None
                coming = events(reply.aiter_bytes())
                async for event, data in coming:
                    until = reading.take(event, data)
                    if reading.stream.over:
                        alarm.reschedule(None)
                        await _drain(coming)
                        return protocol.answer_of(reading.stream.body()), reading.first_ms
                    if until is not None:
                        alarm.reschedule(until)
        raise CallError(
            "truncated", "the stream ended before the answer did", retryable=True, uncertain=True
        )
    except TimeoutError as error:
        raise reading.timeout_error() from error
    except CallError as error:
        error.partial = reading.published
        raise


class _Reading:
    """A stream while it is read: its deadlines, and what of it was published."""

    def __init__(self, timeouts: StreamTimeouts, stream: StreamAccumulator, on_text: OnText):
        self.stream = stream
        self._timeouts = timeouts
        self._on_text = on_text
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self.ends_at = self._began + timeouts.all_s
        self.first_until = min(self.ends_at, self._began + timeouts.first_s)
        self.first_ms: int | None = None
        self.published = False

    def take(self, event: str, data: str) -> float | None:
        """Publishes the text of an event. Returns until when the next token has to come; None where
        the event was no token.
        """
        text = accumulate(self.stream, event, data)
        if text is None or self.stream.over:
            return None
        if self.first_ms is None:
            self.first_ms = int((self._clock() - self._began) * 1000)
        if text:
            self.published = True
            self._on_text(text, False)
        return min(self.ends_at, self._clock() + self._timeouts.idle_s)

    def timeout_error(self) -> CallError:
        """Which of the three timeouts is over."""
        timeouts = self._timeouts
        if self._clock() >= self.ends_at:
            detail = f"no whole answer within {timeouts.all_s:.1f} s"
            return CallError("timeout", detail, uncertain=True, partial=self.published)
        if self.first_ms is None:
            detail = f"no first token within {timeouts.first_s:.1f} s"
            return CallError("first_token_timeout", detail, uncertain=True)
        return CallError(
            "stream_idle",
            f"the stream stopped: no token for {timeouts.idle_s:.1f} s",
            retryable=True,
            uncertain=True,
            partial=self.published,
        )


def accumulate(parts: StreamAccumulator, event: str, data: str) -> str | None:
    """The text that an event adds. Raises CallError where it is not in the protocol, or makes the
    answer too large.
    """
    try:
        text = parts.take(event, data)
    except MALFORMED as error:
        words = f"a chunk that makes no sense ({type(error).__name__}: {error}): {preview(data)}"
        raise CallError("bad_chunk", words[:500], retryable=True, uncertain=True) from error
    if parts.size > BODY_BYTES_MAX:
        raise CallError("too_large", f"the answer has more than {BODY_BYTES_MAX} characters")
    return text


async def _drain(coming: AsyncIterator[Any]) -> None:
    """Reads a reply to its end: a connection that is left before its last byte cannot be reused."""
    with contextlib.suppress(TimeoutError, CallError):
        async with asyncio.timeout(LINGER_S):
            async for _ in coming:
                pass


async def events(
    received: AsyncIterator[bytes], bytes_max: int = BODY_BYTES_MAX
) -> AsyncIterator[tuple[str, str]]:
    """Name and data of each server-sent event; comments and other fields are left out. Raises
    CallError where one is larger than `bytes_max`.
    """
    rest = bytearray()
    name = ""
    data = []
    async for part in received:
        start = max(0, len(rest) - 1)
        begin = 0
        rest += part
        while found := LINE_END.search(rest, start):
            line = _text(rest[begin : found.start()])
            start = begin = found.end()
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
            elif not line:
                if data:
                    yield name, "\n".join(data)
                name = ""
                data = []
        del rest[:begin]
        if len(rest) + sum(map(len, data)) > bytes_max:
            raise CallError("too_large", f"one event of the stream has more than {bytes_max} bytes")
    if data:  # the last line end is often left out
        yield name, "\n".join(data)


def _text(line: bytearray) -> str:
    try:
        return line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        words = f"a line that is not UTF-8: {preview(bytes(line))}"
        raise CallError("bad_chunk", words, retryable=True, uncertain=True) from error


def read_json(reply: HttpReply) -> Any:
    """The JSON value of a reply's body. Raises CallError."""
    if reply.content_type and "json" not in reply.content_type:
        raise CallError(
            "bad_content_type",
            f"{reply.content_type} instead of JSON: see that base_url is that of the API, "
            f"it usually ends in /v1. It begins {preview(reply.body[:100])}",
        )
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise CallError(
            "bad_json", f"{error}, it begins {preview(reply.body[:100])}", retryable=True
        ) from error
