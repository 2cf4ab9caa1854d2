"""Server-sent events of a streamed answer, with a timeout for each token.

The first token has its own timeout, and so has each next one; what keeps a connection alive
(comments, pings) does not count. An answer without its end is a failed call, however much of it has
come.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
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
from sinks.models.provider_errors import attach_usage

DONE = "[DONE]"
LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.S)
LINGER_S = 0.02
"""How long the end of the HTTP reply is waited for after the answer's, so that the connection can
be reused.
"""
SETTLE_S = 2.0
"""How long the usage and the mark of the end are waited for after the reason of the end."""
BROKEN_OFF = {"truncated", "reset"}
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)
EVENTS = re.compile(rb"\s*(\xef\xbb\xbf)?(data|event|id|retry)?:")
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
        whole = await _receive(http, outgoing, reading)
        if whole is not None:
            return answer_in(whole, protocol), None
        return protocol.answer_of(reading.stream.body()), reading.first_ms
    except CallError as error:
        error.partial = reading.published
        attach_usage(error, reading.stream.usage())
        raise
    except asyncio.CancelledError as error:
        attach_usage(error, reading.stream.usage())
        raise


async def _receive(
    http: httpx.AsyncClient, outgoing: OutgoingRequest, reading: "_Reading"
) -> HttpReply | None:
    """Reads a stream until its answer is whole; returns the reply where it is no stream.

    Once the provider has said why the answer ended, only its usage and the mark of the end are
    still to come: many servers never send them, and some leave the connection open or reset it.
    """
    try:
        async with asyncio.timeout_at(reading.first_until) as alarm:
            async with open_reply(http, outgoing) as reply:
                if content_type(reply.headers) not in ("text/event-stream", ""):
                    alarm.reschedule(reading.ends_at)
                    return await read_reply(reply)
                coming = events(reply.aiter_bytes())
                async for event, data in coming:
                    until = reading.take(event, data)
                    if reading.stream.over:
                        alarm.reschedule(None)
                        await _drain(coming)
                        return None
                    if until is not None:
                        alarm.reschedule(until)
    except TimeoutError as error:
        if not reading.stream.finished:
            raise reading.timeout_error() from error
    except CallError as error:
        if not reading.stream.finished or error.reason not in BROKEN_OFF:
            raise
    if not reading.stream.finished:
        detail = "the stream ended before the answer did"
        raise CallError("truncated", detail, retryable=True, uncertain=True)
    return None


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
        if self.stream.over:
            return None
        if text is None:
            return self._settled_at() if self.stream.finished else None
        if self.first_ms is None:
            self.first_ms = int((self._clock() - self._began) * 1000)
        if text:
            self.published = True
            self._on_text(text, False)
        if self.stream.finished:
            return self._settled_at()
        return min(self.ends_at, self._clock() + self._timeouts.idle_s)

    def _settled_at(self) -> float:
        """Until when what comes after the end of an answer is waited for."""
        return min(self.ends_at, self._clock() + min(self._timeouts.idle_s, SETTLE_S))

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
    splitter = EventSplitter(bytes_max)
    async for part in received:
        for event in splitter.add(part):
            yield event
    for event in splitter.end():
        yield event


class EventSplitter:
    """Splits the bytes of a stream into events, however they are cut."""

    def __init__(self, bytes_max: int = BODY_BYTES_MAX):
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._name = ""
        self._data: list[str] = []

    def add(self, part: bytes) -> Iterator[tuple[str, str]]:
        """The events that are whole with these bytes."""
        rest = self._rest
        start = max(0, len(rest) - 1)
        begin = 0
        rest += part
        while found := LINE_END.search(rest, start):
            line = _text(rest[begin : found.start()])
            start = begin = found.end()
            if line:
                self._take(line)
            else:
                yield from self._event()
        del rest[:begin]
        if len(rest) + sum(map(len, self._data)) > self._bytes_max:
            detail = f"one event of the stream has more than {self._bytes_max} bytes"
            raise CallError("too_large", detail)

    def end(self) -> Iterator[tuple[str, str]]:
        """The last event: its line ends are often left out."""
        if is_whole(self._rest):
            self._take(_text(self._rest).strip())
        yield from self._event()

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        elif field == "event":
            self._name = value.removeprefix(" ")

    def _event(self) -> Iterator[tuple[str, str]]:
        if self._data:
            yield self._name, "\n".join(self._data)
        self._name = ""
        self._data = []


def is_whole(line: bytearray) -> bool:
    """Whether a line without its end is all there: the mark of an end, or an object."""
    field, _, rest = bytes(line).partition(b":")
    value = rest.strip()
    if field != b"data":
        return False
    if value == DONE.encode():
        return True
    if not (value.startswith(b"{") and value.endswith(b"}")):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _text(line: bytearray) -> str:
    try:
        return line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        words = f"a line that is not UTF-8: {preview(bytes(line))}"
        raise CallError("bad_chunk", words, retryable=True, uncertain=True) from error


def answer_in(reply: HttpReply, protocol: ModelProtocol) -> dict[str, Any]:
    """The answer in a reply that was read whole: JSON, or the events of a stream that nobody asked
    for, or that are called JSON. Raises CallError.
    """
    if not EVENTS.match(reply.body) or "html" in reply.content_type:
        return protocol.answer_of(read_json(reply))
    stream = protocol.stream()
    for event, data in whole_events(reply.body):
        accumulate(stream, event, data)
    if not (stream.over or stream.finished):
        detail = "the stream ended before the answer did"
        raise CallError("truncated", detail, retryable=True, uncertain=True)
    return protocol.answer_of(stream.body())


def whole_events(body: bytes) -> list[tuple[str, str]]:
    """The events of a stream that is there as a whole."""
    splitter = EventSplitter()
    return [*splitter.add(body), *splitter.end()]


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
