"""What does an answer that comes in parts add up to, and when is it given up?

Parts are server-sent events. The first token has its own time, and so has each next one; what keeps
a connection alive (comments, pings) does not count. An answer without its end is no answer, however
much of it has come.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx

from sinks.http import BODY_BYTES_MAX, Refusal, Reply, bounded, content_type, opened, whole

LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.S)
LINGER_S = 0.02
"""How long the end of the connection's answer is waited for after the model's, so that the
connection can be reused.
"""
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)
T = TypeVar("T")
Hear = Callable[[str, bool], None]
"""`hear(text, last)`: more text of this attempt; `last` where the attempt has come to its good end.
"""


class Parts(Protocol):
    """What a protocol makes of a stream: `take` is given each event and returns the text that it
    adds, "" for a token that is not text, None for none. `body` is the answer as it would have come
    in one piece.
    """

    over: bool
    size: int

    def take(self, event: str, data: str) -> str | None: ...

    def body(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Waits:
    """How long, in seconds: for the first token, between two, for all of it."""

    first_s: float
    idle_s: float
    all_s: float


async def listen(
    http: httpx.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    waits: Waits,
    parts: Parts,
    answer_of: Callable[[Any], T],
    hear: Hear,
) -> tuple[T, int | None]:
    """The answer that the parts add up to, and the milliseconds to its first token. Raises Refusal,
    which has `begun` where text was heard: a call of a tool, or a thought, nobody has read.

    A server that knows no streams answers in one piece: there is no first token then.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    first_ms = None
    heard = False
    end = began + waits.all_s
    try:
        async with asyncio.timeout_at(min(end, began + waits.first_s)) as alarm:
            async with opened(http, "POST", url, headers, content) as answer:
                if content_type(answer.headers) not in ("text/event-stream", ""):
                    alarm.reschedule(end)
                    return answer_of(read_json(await whole(answer))), None
                coming = events(answer.aiter_bytes())
                async for event, data in coming:
                    text = taken(parts, event, data)
                    if parts.over:
                        alarm.reschedule(None)
                        await _linger(coming)
                        return answer_of(parts.body()), first_ms
                    if text is None:
                        continue
                    first_ms = int((clock() - began) * 1000) if first_ms is None else first_ms
                    alarm.reschedule(min(end, clock() + waits.idle_s))
                    if text:
                        heard = True
                        hear(text, False)
        raise Refusal(
            "truncated", "the stream ended before the answer did", again=True, unsure=True
        )
    except TimeoutError as error:
        raise _late(waits, first_ms is not None, heard, clock() >= end) from error
    except Refusal as refusal:
        refusal.begun = heard
        raise


def _late(waits: Waits, began: bool, heard: bool, over: bool) -> Refusal:
    if over:
        return Refusal(
            "timeout", f"no whole answer within {waits.all_s:.1f} s", unsure=True, begun=heard
        )
    if began:
        return Refusal(
            "stream_idle",
            f"the stream stopped: nothing for {waits.idle_s:.1f} s",
            again=True,
            unsure=True,
            begun=heard,
        )
    return Refusal(
        "first_token_timeout", f"no first token within {waits.first_s:.1f} s", unsure=True
    )


def taken(parts: Parts, event: str, data: str) -> str | None:
    """What an event adds. Raises Refusal where it is none of the protocol's, or one too many."""
    try:
        text = parts.take(event, data)
    except MALFORMED as error:
        words = f"a chunk that makes no sense ({type(error).__name__}: {error}): {bounded(data)}"
        raise Refusal("bad_chunk", words[:500], again=True, unsure=True) from error
    if parts.size > BODY_BYTES_MAX:
        raise Refusal("too_large", f"the answer has more than {BODY_BYTES_MAX} characters")
    return text


async def _linger(coming: AsyncIterator[Any]) -> None:
    """A connection that is left before its answer's last byte cannot be used again, and the next
    would be made anew.
    """
    with contextlib.suppress(TimeoutError, Refusal):
        async with asyncio.timeout(LINGER_S):
            async for _ in coming:
                pass


async def events(received: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, str]]:
    """Name and data of each server-sent event; comments and fields that nobody needs are left out."""
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
        if len(rest) + sum(map(len, data)) > BODY_BYTES_MAX:
            raise Refusal(
                "too_large", f"one event of the stream has more than {BODY_BYTES_MAX} bytes"
            )
    if data:  # the last line end is often left out
        yield name, "\n".join(data)


def _text(line: bytearray) -> str:
    try:
        return line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        words = f"a line that is not UTF-8: {bounded(bytes(line))}"
        raise Refusal("bad_chunk", words, again=True, unsure=True) from error


def read_json(reply: Reply) -> Any:
    """The value in a reply's body. Raises Refusal."""
    if reply.content_type and "json" not in reply.content_type:
        raise Refusal(
            "bad_content_type",
            f"{reply.content_type} instead of JSON: see that base_url is that of the API, "
            f"it usually ends in /v1. It begins {bounded(reply.body[:100])}",
        )
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            "bad_json", f"{error}, it begins {bounded(reply.body[:100])}", again=True
        ) from error
