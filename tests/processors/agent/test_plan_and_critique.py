"""Whatever a model says at each stage of a plan or a critique, the run ends once and within its
limits, and of all that was said on the way only the answer stays.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from processors.agent.machine import advance
from processors.agent.state import Idle, Session
from schemas.definitions.kinds import Agent
from schemas.definitions.limits import Limits
from schemas.definitions.patterns import Critique, Plan
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import PassagesAsked, RunFinished, ToolCalled
from tests.support.processors import call, cleared, company, failed, heard, roles, told

STATE = TypeAdapter(Session)
SAID = [
    '{"steps": ["one"]}',
    'Well: {"steps": ["one", "two"]} as you wish',
    '{"steps": []}',
    '{"steps": "one"}',
    "{" * 2_000,
    '{"good": true}',
    '{"good": false, "remarks": "shorter"}',
    '{"good": "true"}',
    "FAILED: no way",
    "just words",
    "",
    "[1]",
]
LIMITS = Limits(steps=9, seconds=60)
AGENTS = [
    Agent(name="support", prompt="Go.", model="small", tools=("lookup",), limits=LIMITS, **fields)
    for fields in (
        {"pattern": "single"},
        {"pattern": "plan"},
        {"pattern": "plan", "plan": Plan(steps=1, replans=0)},
        {"pattern": "critique"},
        {"pattern": "critique", "critique": Critique(rounds=1, model="spare")},
        {"pattern": "critique", "output": {"type": "object", "required": ["good"]}},
    )
]


def answer(asked, choose):
    kind = choose.choice(["say"] * 8 + ["call", "call", "fail", "length"])
    if kind == "fail":
        return failed("r1", asked.step)
    if kind == "call":
        return heard(
            "r1", asked.step, calls=(call("lookup", f'{{"order":"A-{choose.randint(1, 99)}"}}'),)
        )
    return heard(
        "r1",
        asked.step,
        content=choose.choice(SAID),
        finish_reason="length" if kind == "length" else "stop",
    )


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: f"{agent.pattern}")
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_run_ends_once_and_leaves_only_its_answer(agent, seed):
    choose = random.Random(seed)
    given_ = company(agent)
    session, said = advance(Idle(), cleared("r1"), given_)
    questions = list(said)
    seen = list(said)
    while questions:
        asked = questions.pop(0)
        event = (
            answer(asked, choose)
            if isinstance(asked, ModelAsked)
            else told("r1", asked.step, asked.call, asked.tool)
        )
        session, more = advance(STATE.validate_json(STATE.dump_json(session)), event, given_)
        questions += [
            one for one in more if isinstance(one, ModelAsked | ToolCalled | PassagesAsked)
        ]
        seen += more
    [end] = [one for one in seen if isinstance(one, RunFinished)]
    assert isinstance(session, Idle) and end.model_calls <= LIMITS.steps
    assert (
        all(one.tools == () for one in seen if isinstance(one, ModelAsked))
        or agent.pattern != "single"
    )
    if agent.pattern != "single" and not agent.output:
        assert roles(session.messages) == ("ua" if end.outcome == "completed" else "u")
    if end.outcome == "completed":
        assert session.messages[-1].content == end.answer or agent.output
