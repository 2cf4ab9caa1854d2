"""Does a stream end when its reader goes away or takes nothing any more, and is one that fell
behind told where?
"""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.events.model_chunks import ModelChunk
from streams.gateway import sse
from streams.gateway.context import Gateway
from streams.gateway.routes import runs
from streams.gateway.runs.recent_runs import RecentRuns
from streams.gateway.sse import EventStream

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
RUN = UUID(int=1)


class Reader:
    """An ASGI server's side of a stream: what was sent, and a reader that leaves or stops taking."""

    def __init__(self, takes: int = 1_000):
        self.sent = []
        self.takes = takes
        self.gone = asyncio.Event()

    async def send(self, message):
        if len(self.sent) > self.takes:
            await asyncio.Event().wait()
        self.sent.append(message)

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self):
        return b"".join(one.get("body", b"") for one in self.sent)


async def endless(ended):
    try:
        while True:
            yield b": on\n\n"
            await asyncio.sleep(0)
    finally:
        ended.append(True)


def test_a_reader_that_goes_away_ends_its_stream():
    async def within():
        reader = Reader()
        ended = []
        stream = asyncio.ensure_future(
            EventStream(endless(ended), 5)({}, reader.receive, reader.send)
        )
        while len(reader.sent) < 5:
            await asyncio.sleep(0)
        reader.gone.set()
        await asyncio.wait_for(stream, 2)
        return ended

    assert asyncio.run(within()) == [True]


def test_a_reader_that_takes_nothing_is_cut_off():
    async def within():
        reader = Reader(takes=3)
        ended = []
        await asyncio.wait_for(
            EventStream(endless(ended), 0.02)({}, reader.receive, reader.send), 2
        )
        return ended, reader

    ended, reader = asyncio.run(within())
    assert ended == [True] and len(reader.sent) == 4 and reader.sent[-1].get("more_body")


def test_an_error_in_a_stream_is_not_swallowed():
    async def wrong():
        yield b"x"
        raise ValueError("wrong")

    async def within():
        reader = Reader()
        await EventStream(wrong(), 5)({}, reader.receive, reader.send)

    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(within())


def test_a_reader_that_fell_behind_is_told_where_to_resume(link, settings, tables):
    link.recent_runs = RecentRuns(link.recent_runs._decode, 10_000_000, records_max=5)

    async def within():
        known = link.recent_runs.expect(RUN, "fernweh", "s")
        parts = runs._live_events(Gateway(settings, link, tables), known, RUN, "")
        chunks = [
            ModelChunk(
                id=UUID(int=n + 10),
                at=NOON,
                tenant="fernweh",
                session="s",
                run=RUN,
                step=1,
                attempt=1,
                started_at=NOON,
                offset=n,
                text="x",
            )
            for n in range(20)
        ]
        link.heard(*chunks[:2])
        waiting = asyncio.ensure_future(anext(parts))
        await asyncio.sleep(0)
        link.heard(*chunks[2:])
        said = [await waiting]
        return said + [part async for part in parts]

    [told] = asyncio.run(within())
    assert told.startswith(b"event: behind\n") and f"GET /v1/runs/{RUN}".encode() in told


def test_lines_are_as_the_format_wants_them():
    assert (
        sse.event("RunFinished", {"a": "x\ny"}, "7")
        == b'id: 7\nevent: RunFinished\ndata: {"a":"x\\ny"}\n\n'
    )
    assert sse.event("", {"a": 1}) == b'data: {"a":1}\n\n'
