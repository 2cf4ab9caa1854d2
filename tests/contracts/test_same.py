"""A scenario gives the same events in memory and on Kafka."""

import asyncio
from collections import Counter

import pytest

from streams.engine.client import Watch, request
from streams.engine.definitions_topic import read_all
from streams.engine.in_memory import Local
from streams.engine.shapes import kinds
from streams.ports.wiring import ports
from streams.topology import PIPELINE
from tests.support.waiting import until

pytestmark = pytest.mark.engine
CLOCK = dict.fromkeys(
    ("at", "started_at", "wait_ms", "after_ms", "timeout_ms", "until", "cost_usd"), True
) | {"attempts_made": {"__all__": {"wait_ms", "after_ms", "cost_usd"}}}
"""What a clock decides, and what is derived from it."""


@pytest.mark.parametrize("agent", ["asks-good", "asks-500", "falls-back"])
def test_local_and_kafka_say_the_same(stack, codec, client, agent):
    asked = request("acme", agent, "Where is my order?")
    there = {}
    here = of_run(asked.id, in_memory(stack, codec, asked))
    with Watch(
        stack,
        codec,
        {kind for step in PIPELINE for kind in kinds(step.writes)},
        lambda event: there.update(of_run(asked.id, [event])),
    ):
        assert client.ask(asked) is not None
        until(
            lambda: len(there) >= len(here),
            30,
            lambda: f"Kafka said {Counter(name for name, _ in there.values())}",
        )
    assert here == there and "RunFinished" in {name for name, _ in here.values()}


def of_run(run, events):
    """Class and content by id, of the events of a run, without what a clock decides."""
    return {
        event.id: (type(event).__name__, event.model_dump(exclude=CLOCK))
        for event in events
        if getattr(event, "run", None) == run
    }


def in_memory(settings, codec, asked):
    """The same request through the same table and the same ports, with no Kafka."""
    asks = ports(settings)
    loop = asyncio.new_event_loop()
    local = Local(
        PIPELINE,
        read_all(settings, codec),
        {
            name: (lambda question, port=port: loop.run_until_complete(port(question)))
            for name, port in asks.items()
        },
    )
    try:
        return local.send(asked)
    finally:
        loop.close()
