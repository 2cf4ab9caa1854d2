"""Sub-agents: joined results, handovers, depth limits, cancellation, refusals.

The example of `infra/examples/team` runs whole, in memory, with its scripted model and tool.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from infra.embedded.scripted import server
from schemas.definitions.kinds import Agent, Definitions, Tenant
from schemas.definitions.limits import Limits
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import (
    AgentRequested,
    RunCancelled,
    RunFinished,
    ToolFailed,
    ToolReturned,
)
from schemas.events.base import EPOCH
from schemas.events.operations import DeadLettered
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.definitions import folder
from streams.engine.in_memory import Local
from streams.topology import PIPELINE

TEAM = Path(__file__).parents[3] / "infra/examples/team"
BEGAN = datetime.now(UTC)
"""Calls are answered in real time: a run that began long ago would have none left."""


@pytest.fixture
def team():
    """Runs one request to its end: `run(text, agent, *changed definitions)` gives every event."""
    app = server.application(server.load(TEAM / "script.yaml"))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
    ports = {
        "chat": ModelClient(http_sender(http, str)),
        "tool": ToolRunner(ToolContext(http, http), str),
        "search": None,
    }
    opened = []

    def run(text, agent, *changed, **asked):
        whole = {(d.kind, d.name): d for d in (*folder.load(TEAM, 1).definitions, *changed)}
        local = Local(PIPELINE, Definitions.of(*whole.values()), ports)
        opened.append(local)
        return local, local.send(
            AgentRequested(
                id=UUID(int=1), at=BEGAN, tenant="trips", agent=agent, text=text, **asked
            )
        )

    yield run
    for local in opened:
        local.close()


def outcomes(events):
    return {
        event.agent: (event.outcome, event.answer)
        for event in events
        if isinstance(event, RunFinished)
    }


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("coordinator", "Plan a weekend in Bergen"),
        ("mirror", "mirror"),
        ("front_desk", "My invoice is wrong"),
    ],
)
def test_a_run_says_what_it_took_itself_and_with_the_agents_that_it_asked(team, agent, text):
    _, events = team(text, agent)
    ends = [event for event in events if isinstance(event, RunFinished)]
    first = next(event for event in ends if event.run == UUID(int=1))
    assert len(ends) > 1 and all(event.model == "small" for event in ends), (
        "each says which model it asked last"
    )
    assert first.total.total_cost_usd == sum(event.cost_usd or 0 for event in ends) > first.cost_usd
    assert first.total.total_input_tokens == sum(event.tokens.input_tokens for event in ends)
    assert first.total.total_output_tokens == sum(event.tokens.output_tokens for event in ends)
    assert first.total.total_unpriced_calls == sum(event.unpriced_calls for event in ends)


def test_what_other_agents_cost_counts_in_the_limit_of_the_one_that_asked(team):
    _, events = team("Plan a weekend in Bergen", "coordinator")
    [end] = [
        event for event in events if isinstance(event, RunFinished) and event.agent == "coordinator"
    ]
    coordinator = next(
        d for d in folder.load(TEAM, 1).definitions if d.name == "coordinator" and d.kind == "agent"
    )
    bound = coordinator.limits.model_copy(
        update={"cost_usd": end.cost_usd}
    )  # of its own it never comes so far
    _, events = team(
        "Plan a weekend in Bergen", "coordinator", coordinator.model_copy(update={"limits": bound})
    )
    [end] = [
        event for event in events if isinstance(event, RunFinished) and event.agent == "coordinator"
    ]
    assert (end.outcome, end.reason, end.model_calls) == ("stopped", "cost_usd", 1)


def test_parts_are_joined_in_the_order_of_the_calls_and_one_may_fail(team):
    _, events = team("Plan a weekend in Bergen", "coordinator")
    ended = outcomes(events)
    assert ended["coordinator"] == (
        "completed",
        "The plan for the weekend stands, but nobody could say what to pack.",
    )
    assert ended["routes"] == ("completed", "Up to Ulriken and along the ridge, 15 km.")
    assert ended["gear"][0] == "failed"
    last = [
        event for event in events if isinstance(event, ModelAsked) and event.agent == "coordinator"
    ][-1]
    assert [message.name for message in last.messages if message.role == "tool"] == [
        "ask_weather",
        "ask_routes",
        "ask_gear",
    ]
    assert not [event for event in events if isinstance(event, DeadLettered)]
    parents = {event.agent: event.parent_run for event in events if isinstance(event, RunFinished)}
    assert parents == {
        "coordinator": None,
        "weather": UUID(int=1),
        "routes": UUID(int=1),
        "gear": UUID(int=1),
    }


def test_handed_over_the_other_agents_answer_is_final(team):
    _, events = team("My invoice is wrong", "front_desk")
    said = "Billing here: we send you a corrected one today."
    assert outcomes(events) == {"front_desk": ("completed", said), "billing": ("completed", said)}
    assert sum(isinstance(event, ModelAsked) for event in events) == 2


def test_a_circle_ends_by_its_depth(team):
    _, events = team("mirror", "mirror")
    finished = [event.answer for event in events if isinstance(event, RunFinished)]
    assert finished == [
        "Nobody is behind me.",
        "There was somebody behind me.",
        "There was somebody behind me.",
    ]


def test_more_than_the_fan_out_are_told_so(team):
    one = Agent(
        name="coordinator",
        prompt="Plan.",
        model="small",
        limits=Limits(fan_out=1),
        tools=("ask_weather", "ask_routes", "ask_gear"),
    )
    _, events = team("Plan a weekend in Bergen", "coordinator", one)
    last = [
        event for event in events if isinstance(event, ModelAsked) and event.agent == "coordinator"
    ][-1]
    told = [message.content for message in last.messages if message.role == "tool"]
    assert "Saturday" in told[0] and all("limits.fan_out" in text for text in told[1:])


def test_a_child_that_may_not_enter_fails_its_call(team):
    _, events = team(
        "My invoice is wrong", "front_desk", Tenant(name="trips", burst=1, requests_per_minute=1e-9)
    )
    told = [event for event in events if isinstance(event, ToolFailed)]
    assert [event.reason for event in told] == ["agent_refused_quota"] and told[0].run == UUID(
        int=1
    )
    assert "billing" not in outcomes(events)


def test_what_ends_the_parent_ends_the_children_that_still_work(team):
    """Children that never answer: the parent's time is over, and theirs is with it."""
    hurried = Agent(
        name="front_desk",
        prompt="Hand over.",
        model="small",
        tools=("to_billing",),
        limits=Limits(seconds=5),
    )
    local, events = team("My invoice is wrong", "front_desk", hurried)
    assert any(isinstance(event, ToolReturned) for event in events)
    stuck = Local(
        tuple(step for step in PIPELINE if step.name != "return_child"), local._newest, local._ports
    )
    try:
        stuck.send(
            AgentRequested(
                id=UUID(int=2),
                at=BEGAN,
                tenant="trips",
                agent="front_desk",
                text="My invoice is wrong",
            )
        )
        later = stuck.advance(BEGAN + timedelta(minutes=1))
    finally:
        stuck.close()
    ended = [event for event in later if isinstance(event, RunFinished)]
    assert [(event.outcome, event.reason) for event in ended] == [("stopped", "seconds")]
    assert [event.run for event in later if isinstance(event, RunCancelled)] != []
    assert ended[0].at > EPOCH
