"""The gateway benchmark counts requests, failures and processor time."""

import asyncio
import os
import time

import httpx

from schemas.definitions.kinds import Definitions
from streams.gateway.runs.stream_answer import may_stream
from streams.lab.bench_stack.gateway import Load, cpu_s, definitions


def loaded(answer, use):
    async def within():
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            load = Load(http, "http://gateway")
            return await use(load), load

    return asyncio.run(within())


def said(request):
    return httpx.Response(200, json={"choices": [{"message": {"content": "hello"}}]})


def test_every_request_is_counted_from_when_it_was_due():
    _, load = loaded(said, lambda load: load.steadily(200, 20))
    assert len(load.waits) == 20 and load.failed == 0 and all(wait >= 0 for wait in load.waits)
    done, load = loaded(said, lambda load: load.closely(4, 10))
    assert done in range(10, 14) and load.failed == 0


def test_a_failure_is_counted_and_a_closed_connection_is_tried_once_more():
    answers = iter([httpx.ReadError("reset")] * 1)

    def resets_once(request):
        for error in answers:
            raise error
        return said(request)

    assert loaded(resets_once, lambda load: load.closely(1, 3))[1].failed == 0
    _, load = loaded(
        lambda request: httpx.Response(503, text="busy"), lambda load: load.closely(1, 3)
    )
    assert load.failed == 3 and "503: busy" in load.why


def test_processor_time_of_a_process_grows():
    before = cpu_s(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert cpu_s(os.getpid()) > before


def test_what_is_measured_is_not_shown_before_it_is_whole():
    assert not may_stream(Definitions.of(*definitions("http://x")), "clerk"), (
        "the scripted model does not stream here"
    )
