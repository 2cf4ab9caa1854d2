"""Does the gateway stand a thousand callers at once, and readers that stop reading, on real
sockets?
"""

import asyncio
import json
import re
from collections import Counter
from types import SimpleNamespace

from streams.gateway import sse
from tests.support.serving import serving

BODY = json.dumps({"agent": "support", "text": "hi"}).encode()
ASK = (
    b"POST /v1/requests HTTP/1.1\r\nhost: localhost\r\nweir-tenant: fernweh\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY
MOST = 1_000
MORE = 20


async def asked(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def test_a_thousand_are_served_at_once_and_the_others_told_to_wait(app, link):
    # what becomes of them is not the question
    local = link._local
    link._local = SimpleNamespace(send=lambda *events: [])

    async def within():
        link.held = asyncio.Event()
        async with serving(app) as port:
            first = [asyncio.ensure_future(asked(port)) for _ in range(MOST)]
            while len(link.taken) < MOST:
                await asyncio.sleep(0.001)
            others = await asyncio.gather(*(asked(port) for _ in range(MORE)))
            link.held.set()
            return others, await asyncio.gather(*first)

    others, first = asyncio.run(asyncio.wait_for(within(), 60))
    link._local = local
    assert (Counter(others), Counter(first)) == ({503: MORE}, {202: MOST})
    metrics = app.state.gateway.metrics
    assert metrics.value("weir_gateway_in_flight") == 0
    assert metrics.value("weir_gateway_requests", path="other", status="503") == MORE


def test_a_reader_that_reads_nothing_more_is_cut_off_and_nothing_is_kept_for_it(caplog):
    made = 0

    async def parts():
        nonlocal made
        while True:
            made += 1
            yield sse.event("chunk", "x" * 100_000)

    async def within():
        ended = asyncio.Event()

        async def endless(scope, receive, send):
            try:
                await sse.EventStream(parts(), 0.1)(scope, receive, send)
            finally:
                ended.set()

        async with serving(endless) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readline()
            await ended.wait()
            writer.transport.abort()

    asyncio.run(asyncio.wait_for(within(), 60))
    assert made < 300, "what the sockets hold, and no more"
    assert re.search("took nothing for 0.1 s", caplog.text)
