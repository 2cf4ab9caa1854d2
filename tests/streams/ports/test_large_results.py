"""Does a run end well whose tool answers with 20 MB, and is all of that kept, though Kafka carries
little of it?
"""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from schemas.catalogue import event_classes
from schemas.definitions.kinds import Agent, Definitions, Model, Policy, Rule, Tenant, Tool
from schemas.definitions.tools import HttpTarget
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import (
    AgentRequested,
    ResultCleared,
    RunFinished,
    ToolFailed,
    ToolReturned,
)
from schemas.events.values import Tokens, ToolRequest
from schemas.ports import ChatAnswer, ToolQuestion
from schemas.wire.codec import Codec, LocalIds
from schemas.wire.large_bodies import EVENT_BYTES_MAX, ObjectStoreError
from sinks.objects import ObjectStore
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.engine.in_memory import Local
from streams.ports.large_results import LargeResults
from streams.topology import PIPELINE

NOW = datetime.now(UTC)
ROWS = json.dumps(
    [{"order": f"A-{nth}", "mail": "mara@example.com", "note": "late " * 40} for nth in range(20)]
)
MIDDLING, LARGE = ("[" + ",".join([ROWS[1:-1]] * times) + "]" for times in (400, 4_400))


class Broken:
    def put(self, key, data):
        raise ObjectStoreError("the object store is away")


def played(objects, *changed, text="All orders?", result=MIDDLING, **tool):
    """All events of a run whose model calls `orders` once and then answers with the length of what
    it was told.
    """
    tool = Tool(name="orders", url="http://shop/orders", effect="pure", **tool)
    given = {
        d.name: d
        for d in (
            Tenant(name="acme", request_chars=2_000_000),
            Model(name="m", provider="p", base_url="http://m", upstream="m"),
            Agent(name="clerk", prompt="Help.", model="m", tools=("orders",)),
            tool,
            *changed,
        )
    }

    def chat(question):
        told = [message.content for message in question.messages if message.role == "tool"]
        wish = () if told else (ToolRequest(id="c1", name="orders", arguments="{}"),)
        return ChatAnswer(
            "m",
            "p",
            "m",
            f"I was told {len(told[0])} characters" if told else None,
            wish,
            "stop" if told else "tool_calls",
            Tokens(),
            NOW,
            NOW,
        )

    web = httpx.AsyncClient(
        transport=httpx.MockTransport(
            lambda request: httpx.Response(
                200, text=result, headers={"content-type": "application/json"}
            )
        )
    )
    local = Local(
        PIPELINE,
        Definitions.of(*given.values()),
        {
            "chat": chat,
            "tool": ToolRunner(ToolContext(web, web), str, shorten=LargeResults(objects)),
            "search": None,
        },
    )
    try:
        asked = AgentRequested(id=UUID(int=1), at=NOW, tenant="acme", agent="clerk", text=text)
        return [asked, *local.send(asked)]
    finally:
        local.close()


def one(events, kind):
    return next(event for event in events if isinstance(event, kind))


@pytest.fixture
def objects():
    return ObjectStore(f"memory://{uuid4()}")


def test_a_result_of_20_mb_ends_well_and_kafka_carries_little_of_it(objects):
    assert len(LARGE) > 20_000_000
    events = played(objects, result=LARGE)
    assert one(events, RunFinished).answer == "I was told 100000 characters"
    codec = Codec(LocalIds(event_classes()), objects)
    said = one(events, ToolReturned)
    assert max(len(codec.encode(event)) for event in events) < EVENT_BYTES_MAX
    assert (
        objects.get(said.whole.key).decode() == LARGE
        and said.whole.media_type == "application/json"
    )
    assert one(events, ResultCleared).whole.key == said.whole.key


def test_a_tool_may_show_an_outline_which_its_own_schema_need_not_fit(objects):
    events = played(
        objects,
        shorten="outline",
        result_chars=5_000,
        returns={"type": "array", "items": {"type": "object"}},
    )
    shown = json.loads(one(events, ResultCleared).content)
    assert shown[0]["order"] == "A-0" and "more entries" in shown[-1]


@pytest.mark.parametrize(
    "tool, reason, words",
    [
        ({"shorten": "refuse"}, "too_large", "the answer has more than 400,000 bytes"),
        ({"result_bytes": 1_000_000}, "too_large", "the answer has more than 1,000,000 bytes"),
        ({"returns": {"type": "object"}}, "bad_result", "is not of type 'object'"),
    ],
)
def test_what_a_tool_may_not_say_is_a_failure_that_the_model_is_told(objects, tool, reason, words):
    events = played(objects, **tool)
    failed = one(events, ToolFailed)
    assert (failed.reason, words in failed.detail) == (reason, True), failed.detail
    assert one(events, RunFinished).outcome == "completed" and not [*objects.list_objects()]


def test_without_a_store_the_run_goes_on_with_what_the_model_sees():
    events = played(Broken())
    assert (
        one(events, ToolReturned).whole is None
        and "the rest is not kept" in one(events, ToolReturned).content
    )
    assert one(events, RunFinished).outcome == "completed"


def test_of_what_a_policy_has_seen_a_part_of_the_whole_is_not_told_on(objects):
    policy = Policy(name="strict", rules=(Rule(find="email", action="redact"),))
    agent = Agent(name="clerk", prompt="Help.", model="m", tools=("orders",), policy="strict")
    cleared = one(played(objects, policy, agent, result_chars=2_000), ResultCleared)
    assert "mara@example.com" not in cleared.content and cleared.whole is None
    finished = one(
        played(
            objects,
            policy.model_copy(update={"rules": (Rule(find="iban", action="redact"),)}),
            agent,
            terminal=True,
            result_chars=2_000,
        ),
        RunFinished,
    )
    assert (len(finished.answer), finished.bodies) == (2_000, "")


def test_a_tool_that_ends_the_run_answers_with_all_that_it_said(objects):
    events = played(objects, terminal=True)
    finished = one(events, RunFinished)
    assert len(finished.answer) == 100_000
    codec = Codec(LocalIds(event_classes()), objects)
    assert codec.decode(RunFinished, codec.encode(finished)).answer == MIDDLING


def test_a_long_request_and_the_conversation_are_whole_where_the_model_is_asked(objects):
    text = "Where is order A-1001? " * 40_000
    events = played(objects, text=text)
    codec = Codec(LocalIds(event_classes()), objects)
    asked = one(events, ModelAsked)
    assert (
        codec.decode(ModelAsked, codec.encode(asked)) == asked
        and asked.messages[-1].content == text
    )
    assert max(len(codec.encode(event)) for event in events) < EVENT_BYTES_MAX
    assert len({held.key for held in objects.list_objects()}) < 8


def test_so_many_large_results_are_read_at_once_and_no_more():
    reading = [0]
    most = [0]
    calls = 30

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"x" * 2_000_000
            reading[0] += 1
            most[0] = max(most[0], reading[0])
            await asyncio.sleep(0)
            reading[0] -= 1
            yield b"x"

    async def small(_question, answer):
        return replace(answer, content="kept")

    async def run():
        web = httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
        )
        port = ToolRunner(ToolContext(web, web), str, shorten=small)
        return await asyncio.gather(
            *(
                port(
                    ToolQuestion(
                        "t",
                        HttpTarget(url="http://t", method="GET"),
                        "{}",
                        20_000,
                        5_000_000,
                        "pure",
                        f"key-{nth}",
                    )
                )
                for nth in range(calls)
            )
        )

    assert [answer.content for answer in asyncio.run(run())] == ["kept"] * calls and most[0] <= 8
