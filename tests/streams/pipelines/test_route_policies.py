"""Runs go to the models of their route's policy: tenant, share, cost, capability, latency."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest

from processors.models.cascade_checks import wrong_with
from schemas.definitions.kinds import Agent, Definitions, Model, Route, Tenant, Tool
from schemas.definitions.prices import Price
from schemas.events.agent.models import ModelResponded
from schemas.events.agent.runs import AgentRequested, RunFinished
from schemas.events.operations import BreakerMoved
from schemas.events.values import Tokens, ToolRequest
from schemas.ports import ToolAnswer
from sinks.http import CallError
from sinks.models.client import ModelClient
from sinks.runtime import Runtime
from streams.engine.in_memory import Local
from streams.topology import PIPELINE

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SAID = {
    "response_model": "m",
    "tool_calls": (),
    "finish_reason": "stop",
    "tokens": Tokens(input_tokens=10, output_tokens=2),
}
LOOK = ToolRequest(id="c1", name="look", arguments="{}")


def model(name, price=None, **can):
    return Model(
        name=name,
        provider="stub",
        base_url="http://m",
        upstream=name,
        price=price and Price(input=price, output=price),
        **can,
    )


MODELS = (
    model("cheap", "1", tools=False, context_tokens=2_000),
    model("mid", "10"),
    model("dear", "100", json_schema=True),
    model("unpriced"),
)
TOOL = Tool(name="look", url="http://t", effect="pure", parameters={"type": "object"})


class World:
    """A pipeline in memory whose models do what `scripts` say, by name: refuse so, or answer after
    so many seconds.
    """

    def __init__(self, route, agent=(), **scripts):
        self.scripts = scripts
        self.asked = []
        self.pauses = []
        agent = Agent(**{"name": "a", "prompt": "Be brief.", "model": "r"} | dict(agent))
        tenants = [Tenant(name=name, burst=10_000) for name in ("acme", "other")]
        port = ModelClient(
            self.ask_model,
            runtime=Runtime(sleep=self.sleep, chance=lambda: 0.5),
            check_answer=wrong_with,
        )
        self.local = Local(
            PIPELINE,
            Definitions.of(*MODELS, Route(name="r", **route), TOOL, agent, *tenants),
            {"chat": port, "tool": self.use_tool, "search": None},
        )

    async def sleep(self, seconds):
        self.pauses.append(round(seconds, 3))

    async def use_tool(self, _question):
        return ToolAnswer("{}", NOON, NOON)

    async def ask_model(self, endpoint, question, _left_s, hear):
        self.asked.append(endpoint.name)
        script = self.scripts.get(endpoint.name, 0)
        script = script.pop(0) if isinstance(script, list) and script else script
        if isinstance(script, CallError):
            if script.partial:
                hear("It is", False)
            raise script
        await asyncio.sleep(script or 0)
        looks = question.tools and question.messages[-1].role == "user"
        return SAID | {
            "content": None if looks else f'{{"by": "{endpoint.name}"}}',
            "tool_calls": (LOOK,) if looks else (),
        }

    def run(self, number=1, tenant="acme", text="Where is it?"):
        """The run's end, and who answered each of its questions. `said` has all that it caused."""
        self.said = said = self.local.send(
            AgentRequested(id=UUID(int=number), at=NOON, tenant=tenant, agent="a", text=text)
        )
        [end] = [event for event in said if isinstance(event, RunFinished)]
        return end, [event.model for event in said if isinstance(event, ModelResponded)]


@pytest.fixture
def world():
    made = []

    def make(route, agent=(), **scripts):
        made.append(World(route, agent, **scripts))
        return made[-1]

    yield make
    for one in made:
        one.local.close()


def candidates(*names, **more):
    return {
        "candidates": tuple({"model": name} if isinstance(name, str) else name for name in names)
    } | more


def test_a_candidate_for_one_tenant_answers_no_other(world):
    ours = world(candidates({"model": "dear", "tenants": ("acme",)}, "mid"))
    assert [ours.run(1)[1], ours.run(2, "other")[1]] == [["dear"], ["mid"]]


def test_a_run_keeps_the_model_that_its_share_gave_it_at_every_step(world):
    ours = world(candidates({"model": "mid", "share": 9}, "dear", by="share"), {"tools": ("look",)})
    runs = [ours.run(number)[1] for number in range(1, 61)]
    assert all(len(models) == 2 and len(set(models)) == 1 for models in runs)
    assert 2 <= Counter(models[0] for models in runs)["dear"] <= 14


@pytest.mark.parametrize(
    ("agent", "text", "first"),
    [
        ({}, "Where?", "cheap"),
        ({"tools": ("look",)}, "Where?", "mid"),  # cheap calls no tools
        ({}, "x" * 9_000, "mid"),  # the question does not fit into cheap
        ({"output": {"type": "object"}}, "Where?", "dear"),
    ],
)  # nobody else can be held to a schema
def test_the_cheapest_that_is_capable_is_asked(world, agent, text, first):
    end, models = world(candidates("unpriced", "dear", "mid", "cheap", by="cost"), agent).run(
        text=text
    )
    assert end.outcome == "completed" and {*models} == {first}


def test_the_fastest_as_measured_is_asked_and_unknown_ones_are_tried(world):
    ours = world(candidates("dear", "mid", by="latency"), dear=0.03)
    assert [ours.run(number)[1][0] for number in range(1, 6)] == [
        "dear",
        "mid",
        "mid",
        "mid",
        "mid",
    ]
    ours.scripts["mid"] = 0.2
    assert [ours.run(number)[1][0] for number in range(6, 9)] == ["mid", "dear", "dear"]


def test_attempts_are_made_again_twice_at_most_and_when_the_provider_says(world):
    busy = CallError("http_429", "busy", retryable=True, retry_after_s=7.0)
    ours = world(candidates("mid", fallback=("dear",)), mid=busy)
    assert ours.run()[1] == ["dear"] and (ours.asked, ours.pauses) == (
        ["mid"] * 3 + ["dear"],
        [7.0, 7.0],
    )
    ours = world(
        candidates("mid", fallback=("dear",)), mid=CallError("http_503", "down", retryable=True)
    )
    assert ours.run()[1] == ["dear"] and ours.pauses == [
        0.25,
        0.5,
    ]  # with the chance of 0.5: half of it to half as much again
    ours = world(candidates("mid", fallback=("dear",)), mid=CallError("http_400", "odd"))
    assert ours.run()[1] == ["dear"] and (ours.asked, ours.pauses) == (["mid", "dear"], [])


def test_nobody_else_is_asked_once_the_first_words_were_read(world):
    cut = CallError("truncated", "the stream ended", retryable=True, partial=True)
    end, _ = (ours := world(candidates("mid", fallback=("dear",)), mid=cut)).run()
    assert (end.outcome, end.reason, {*ours.asked}) == ("failed", "truncated", {"mid"})
    silent = CallError("first_token_timeout", "nothing came")
    assert world(candidates("mid", fallback=("dear",)), mid=silent).run()[1] == ["dear"]


def test_a_model_that_fails_again_and_again_is_skipped_and_operators_are_told(world):
    ours = world(
        candidates("mid", fallback=("dear",)), mid=CallError("http_503", "down", retryable=True)
    )
    moved = []
    for number in range(1, 7):
        end, models = ours.run(number)
        assert (end.outcome, models) == ("completed", ["dear"])
        moved += [event for event in ours.said if isinstance(event, BreakerMoved)]
    assert Counter(ours.asked) == {"mid": 10, "dear": 6}
    assert [(one.kind, one.provider, one.name, one.state, one.open_ms) for one in moved] == [
        ("model", "stub", "mid", "open", 5_000)
    ]
