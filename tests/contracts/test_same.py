"""Does one scenario say the same in memory and on Kafka: the same events, by class and id, with the same content?"""

import asyncio
from collections import Counter

import pytest

from schemas.agent import RunFinished
from streams.client import request
from streams.definitions import read_all
from streams.local import Local
from streams.ports import ports
from streams.topology import PIPELINE
from streams.chaos.check import read_log
from tests.contracts.waiting import until

pytestmark = pytest.mark.engine
CLOCK = {"at", "started_at", "wait_ms", "until", "cost_usd"}
"""What a clock decides, and what is derived from it."""


@pytest.mark.parametrize("agent", ["asks-good", "asks-500", "falls-back"])
def test_local_and_kafka_say_the_same(stack, codec, client, agent):
    asked = request("acme", agent, "Where is my order?")
    assert client.ask(asked) is not None
    here = {event.id: event for event in in_memory(stack, codec, asked) if getattr(event, "run", None) == asked.id}
    there = {}

    def read() -> bool:
        there.update({event.id: event for events in read_log(stack, codec).values() for _, event in events
                      if getattr(event, "run", None) == asked.id})
        return len(there) >= len(here)

    until(read, 30, lambda: f"on Kafka {Counter(type(e).__name__ for e in there.values())}")
    assert sorted(type(e).__name__ for e in here.values()) == sorted(type(e).__name__ for e in there.values())
    assert any(isinstance(event, RunFinished) for event in there.values())
    assert {i: without_clock(event) for i, event in here.items()} == {i: without_clock(e) for i, e in there.items()}


def without_clock(event):
    return type(event).__name__, event.model_dump(exclude=CLOCK)


def in_memory(settings, codec, asked):
    """The same request through the same table and the same ports, with no Kafka."""
    asks, loop = ports(settings), asyncio.new_event_loop()
    local = Local(PIPELINE, read_all(settings, codec), {
        name: (lambda question, port=port: loop.run_until_complete(port(question))) for name, port in asks.items()})
    try:
        return local.send(asked)
    finally:
        loop.close()
