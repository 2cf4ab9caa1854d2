"""Are questions of one key asked one after another, unless their step says that they need not be?"""

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from processors.agent.machine import advance
from processors.agent.state import Idle
from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.patterns import Workflow
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import ToolCalled, ToolFailed, ToolReturned
from schemas.events.values import Tokens
from schemas.ports import ChatAnswer, ChatQuestion, ToolAnswer
from schemas.wire.codec import DecodeError
from streams.engine.calls.dispatcher import Lanes, Part, Question, unreadable
from streams.engine.calls.offset_tracker import Tracker
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.shapes import Call, Step
from streams.topology import PIPELINE
from tests.support.processors import cleared, company

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def called(nth: int) -> ToolCalled:
    return ToolCalled(
        id=uuid4(),
        at=NOW,
        tenant="acme",
        session="one",
        run=UUID(int=1),
        agent="a",
        step=1,
        call=f"c{nth}",
        tool="t",
        arguments="{}",
        effect="pure",
    )


def answers(event: ToolCalled, answer: ToolAnswer) -> list[ToolReturned]:
    return [event.then(ToolReturned, content=answer.content, started_at=answer.started_at)]


def asks(event: ToolCalled) -> ToolCalled:
    return event


@pytest.mark.parametrize("ordered, at_once", [(True, 1), (False, 3)])
def test_calls_of_one_session(ordered, at_once):
    """Each call ends when as many are under way as may be, so a wrong order would hang or count
    more.
    """
    under_way, most, full = [], [], asyncio.Event()

    async def port(_question):
        under_way.append(1)
        most.append(len(under_way))
        if len(under_way) == at_once:
            full.set()
        await full.wait()
        under_way.pop()
        return ToolAnswer("done", NOW, NOW)

    step = Step("use", Call(asks, "tool", answers, ordered=ordered))
    part = Part("tools", 0, step, Tracker(0))
    lanes = Lanes({"tool": port}, Definitions, 10, lambda: True, threading.Event(), Metrics())
    try:
        lanes.dispatch([Question(part, offset, called(offset)) for offset in range(3)])
        done = [lanes.done.get(timeout=5) for _ in range(3)]
    finally:
        lanes.close()
    assert sorted(one.offset for one in done) == [0, 1, 2]
    assert max(most) == at_once


def test_a_model_that_may_have_been_asked_before_a_crash_is_asked_again_and_told_so():
    asked = []

    async def port(question):
        asked.append(question)
        return ToolAnswer("done", NOW, NOW)

    question = ChatQuestion((), (), (), None, None, 1_000, "k")

    def asks_a_model(event: ToolCalled) -> ChatQuestion:
        return question

    told = Call(asks_a_model, "chat", answers, ordered=False)
    part = Part(
        "models",
        0,
        Step("use", told),
        Tracker.restored(*Tracker(4, answered_to=6, waiting={4: None}).commit(set()), 0),
    )
    lanes = Lanes({"chat": port}, Definitions, 1, lambda: True, threading.Event(), Metrics())
    try:
        lanes.dispatch(
            [
                Question(part, offset, called(offset), again=offset in part.tracker.left)
                for offset in (4, 6)
            ]
        )
        for _ in range(2):
            lanes.done.get(timeout=5)
    finally:
        lanes.close()
    assert [one.again for one in asked] == [True, False]


@pytest.mark.parametrize(
    "effect, reconcile, begun",
    [
        ("once", None, None),
        ("once", "who", None),
        ("reconcilable", None, None),
        ("reconcilable", "who", True),
    ],
)
def test_what_was_begun_before_a_crash_is_asked_about_or_left_alone(effect, reconcile, begun):
    @dataclass(frozen=True)
    class Asked:
        effect: str
        reconcile: str | None
        begun: bool = False

    asked = []

    async def port(question):
        asked.append(question)
        return ToolAnswer("done", NOW, NOW)

    def asks_for(event: ToolCalled) -> Asked:
        return Asked(effect, reconcile)

    def tells(event: ToolCalled, answer: ToolAnswer) -> list[ToolReturned]:
        return [event.then(ToolReturned, content=type(answer).__name__, started_at=NOW)]

    told = Call(asks_for, "tool", tells)
    part = Part("tools", 0, Step("use", told), Tracker(0))
    lanes = Lanes({"tool": port}, Definitions, 10, lambda: True, threading.Event(), Metrics())
    try:
        lanes.dispatch([Question(part, 0, called(0), started=True)])
        [event] = lanes.done.get(timeout=5).outcome.events
    finally:
        lanes.close()
    assert event.content == ("ToolAnswer" if begun else "Uncertain")
    assert [question.begun for question in asked] == ([True] if begun else [])


def test_the_model_nodes_of_a_workflow_are_in_flight_together():
    """Each is answered when all three have been asked: one after another, none ever would be."""
    node = {"kind": "model", "prompt": "'What is ' + input.text + '?'", "next": "end"}
    graph = Workflow.model_validate(
        {
            "start": "fork",
            "nodes": {
                "fork": {"kind": "branch", "otherwise": ["a", "b", "c"]},
                "a": node,
                "b": node,
                "c": node,
                "end": {
                    "kind": "model",
                    "prompt": "nodes.a.result + nodes.b.result + nodes.c.result",
                },
            },
        }
    )
    given = company(
        Agent(name="support", prompt="Be brief.", model="small", pattern="workflow", workflow=graph)
    )
    _, questions = advance(Idle(), cleared("r1"), given)
    assert [(type(one), one.step, one.partition_key()) for one in questions] == [
        (ModelAsked, step, questions[0].partition_key()) for step in (1, 2, 3)
    ]
    all_asked, under_way = asyncio.Event(), []

    async def port(question):
        under_way.append(question)
        if len(under_way) == len(questions):
            all_asked.set()
        await all_asked.wait()
        return ChatAnswer("small", "openai", "m", "An answer.", (), "stop", Tokens(), NOW, NOW)

    [step] = (step for step in PIPELINE if step.name == "ask_model")
    part = Part("questions", 0, step, Tracker(0))
    lanes = Lanes({"chat": port}, lambda: given, 10, lambda: True, threading.Event(), Metrics())
    try:
        lanes.dispatch(
            [Question(part, offset, question) for offset, question in enumerate(questions)]
        )
        done = [lanes.done.get(timeout=5) for _ in questions]
    finally:
        lanes.close()
    assert sorted(event.step for one in done for event in one.outcome.events) == [1, 2, 3]


def test_whoever_asked_is_told_that_a_body_is_gone_and_need_not_wait():
    step = next(step for step in PIPELINE if step.name == "use_tool")
    [failed] = unreadable(
        step, DecodeError("body_missing", "there is no object", called(1)), Definitions()
    ).events
    assert (type(failed), failed.reason, failed.detail, failed.call) == (
        ToolFailed,
        "body_missing",
        "there is no object",
        "c1",
    )
    assert unreadable(step, DecodeError("not_avro", "what?"), Definitions()).dead == (
        "not_avro",
        "not_avro: what?",
    )
