"""Agents of each pattern reach their declared end, in the examples of `infra/examples`."""

import pytest

from schemas.definitions.kinds import Agent
from schemas.definitions.limits import Context, Limits
from schemas.definitions.patterns import Critique, Plan
from schemas.events.agent.runs import ToolReturned
from tests.support.examples import ends, playing, questions


def test_single_is_one_answer():
    with playing("single") as (_, ask):
        said = ask("A lamp made of paper", "namer")
    [end] = ends(said)
    assert (end.outcome, end.answer, end.model_calls) == ("completed", "The paper light", 1)
    assert questions(said)[0].tools == ()


def test_a_plan_is_made_done_and_made_anew_where_a_step_fails():
    with playing("plan") as (_, ask):
        said = ask("An evening on Momo, on Tuesday if we can", "organiser")
    [end] = ends(said)
    assert (end.outcome, end.answer) == (
        "completed",
        "We meet on Thursday in the blue room, and six copies of Momo are on their way.",
    )
    assert [event.tool for event in said if isinstance(event, ToolReturned)] == [
        "order_books",
        "find_room",
        "find_room",
        "order_books",
    ]
    planned, *_, answered = questions(said)
    assert (
        planned.tools == answered.tools == ()
        and "find_room: Find out" in planned.messages[-1].content
    )
    assert (
        "no room is free"
        in next(q for q in questions(said) if "by another way" in q.messages[-1].content)
        .messages[-1]
        .content
    )
    assert "B-7" in answered.messages[-1].content


def test_of_a_plan_the_conversation_keeps_the_answer():
    with playing("plan") as (_, ask):
        ask("An evening on Momo, on Tuesday if we can", "organiser", session="s")
        said = ask("And the next one?", "organiser", 2, session="s")
    assert [m.role for m in questions(said)[0].messages] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("text", "plan", "reason", "words"),
    [
        ("juggling", Plan(), "bad_plan", "not JSON"),
        ("Momo", Plan(replans=0), "plan_failed", "no room is free"),
        ("Momo", Plan(steps=1), "bad_plan", "2 steps, 1 to 1"),
    ],
)
def test_a_plan_that_leads_nowhere_ends(text, plan, reason, words):
    agent = Agent(
        name="organiser",
        prompt="Plan.",
        model="small",
        pattern="plan",
        plan=plan,
        tools=("find_room", "order_books"),
    )
    with playing("plan", agent) as (_, ask):
        [end] = ends(ask(text, "organiser"))
    assert (end.outcome, end.reason) == ("failed", reason)
    assert words in end.detail


def test_a_draft_is_revised_until_the_critique_is_content():
    with playing("critique") as (_, ask):
        said = ask("The cellar is to be cleared", "writer", session="s")
        later = ask("And the bins?", "writer", 2, session="s")
    [end] = ends(said)
    assert (end.outcome, end.answer, end.model_calls, end.detail) == (
        "completed",
        "The cellar is cleared out on Saturday. Ask Ines on the third floor.",
        4,
        "",
    )
    assert "whom to ask. Look" in questions(said)[1].messages[0].content
    assert [m.content for m in questions(later)[0].messages[1:3]] == [
        "The cellar is to be cleared",
        end.answer,
    ]


def test_rounds_of_critique_are_bounded_and_an_unreadable_verdict_passes_nothing():
    agent = Agent(
        name="writer",
        prompt="Write.",
        model="small",
        pattern="critique",
        critique=Critique(rounds=1),
    )
    with playing("critique", agent) as (_, ask):
        [end] = ends(ask("About the bins", "writer"))
    assert (end.outcome, end.answer, end.model_calls) == (
        "completed",
        "The bins are emptied on Monday.",
        4,
    )
    assert "after 1 revisions" in end.detail


def test_a_step_is_not_lost_where_its_conversation_is_summarised():
    agent = Agent(
        name="organiser",
        prompt="Plan.",
        model="small",
        pattern="plan",
        tools=("find_room", "order_books"),
        limits=Limits(steps=40),
        context=Context(tokens=600, recent_turns=1, tool_result_chars=100),
    )
    with playing("plan", agent) as (_, ask):
        for number in range(1, 7):
            said = ask(
                "An evening on Momo " + "and more of that " * 30, "organiser", number, session="s"
            )
    assert [end.outcome for end in ends(said)] == ["completed"]
    asked = questions(said)
    nth = next(nth for nth, question in enumerate(asked) if question.purpose == "summary")
    assert any(
        "The step:" in message.content
        for message in asked[nth + 1].messages
        if message.role == "user"
    )
