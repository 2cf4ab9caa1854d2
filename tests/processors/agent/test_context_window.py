"""A long conversation stays within its budget: what matters is kept, and its beginning is the same
from step to step.
"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.agent.conversation.context_window import LEFT_OUT, SUMMARISE, SUMMARY, shaped
from processors.agent.conversation.messages import chars_in, tool_says, user_says
from processors.agent.machine import advance
from processors.agent.state import Idle, Phase
from schemas.definitions.limits import Context, Limits
from schemas.events.agent.models import ModelAsked, ResponseBlocked
from schemas.events.agent.runs import RunFinished, ToolCalled
from schemas.events.values import Message, Tokens
from tests.support.processors import (
    AGENT,
    call,
    cleared,
    company,
    failed,
    heard,
    ident,
    of_run,
    roles,
    told,
)

CONTEXT = Context(tokens=2_000, recent_turns=2, tool_result_chars=800)
LONG = AGENT.model_copy(
    update={"context": CONTEXT, "limits": Limits(steps=100, tokens=10**6, cost_usd="100")}
)
GIVEN = company(LONG)
TASK = "Where are A-1 to A-99?"
RESULT = "x" * 1_500


def run(turns, result=RESULT, given=GIVEN, summary="They are in Ghent."):
    """A run of so many tool calls: the session, and all questions. Summaries are answered as
    `summary` says.
    """
    session = Idle()
    asked = []
    session, said = advance(session, cleared(text=TASK), given)
    for turn in range(1, turns + 1):
        while said and isinstance(said[-1], ModelAsked) and said[-1].purpose:
            asked += said
            session, said = advance(session, answer_to(said[-1], summary, turn), given)
        asked += [event for event in said if isinstance(event, ModelAsked)]
        step = session.run.step
        wish = call("lookup", f'{{"order":"A-{turn}"}}', f"c{turn}")
        session, calls = advance(session, heard(step=step, calls=(wish,), seconds=turn), given)
        assert [type(event) for event in calls] == [ToolCalled]
        session, said = advance(
            session,
            told(step=step, call_=f"c{turn}", content=f"{turn}: {result}", seconds=turn),
            given,
        )
    return session, asked + said


def answer_to(question, summary, seconds):
    if summary == "failed":
        return failed(step=question.step, seconds=seconds)
    if summary == "blocked":
        return of_run(
            ResponseBlocked,
            f"b{question.step}",
            seconds=seconds,
            step=question.step,
            rule="card",
            tokens=Tokens(),
        )
    fields = {"finish_reason": "length"} if summary == "length" else {}
    calls = (call("lookup", "{}"),) if summary == "calls" else ()
    return heard(step=question.step, content=summary, calls=calls, seconds=seconds, **fields)


def orphans(messages):
    """Results without their call, and calls without a result."""
    called = []
    answered = []
    for message in messages:
        called += [one.id for one in message.tool_calls]
        answered += [message.tool_call_id] if message.role == "tool" else []
    return set(called) ^ set(answered)


def test_nothing_changes_while_all_fits():
    _, with_context = run(2)
    _, without = run(2, given=company(AGENT))
    assert [q.messages for q in with_context] == [q.messages for q in without]


def test_what_is_older_is_shortened_then_summarised_and_the_task_is_kept():
    session, asked = run(12)
    summaries = [question for question in asked if question.purpose]
    assert {question.purpose for question in summaries} == {"summary"}
    assert 2 <= len(summaries) < 8
    assert summaries[0].messages[-1].content == SUMMARISE
    last = asked[-1].messages
    assert last[1].content == SUMMARY + "They are in Ghent."
    assert [message.content for message in last].count(TASK) == 1
    assert last[-1].content == f"12: {RESULT}", "the newest results are whole"
    assert session.run.step - session.run.asides == 13


def test_every_question_fits_and_no_call_is_parted_from_its_result():
    _, asked = run(40)
    for question in asked:
        fixed = sum(
            len(tool.name) + len(tool.description) + len(tool.parameters) for tool in question.tools
        )
        assert chars_in(question.messages) + fixed <= CONTEXT.tokens * 4 + len(SUMMARISE)
        assert orphans(question.messages) == set()


def test_the_beginning_is_the_same_from_step_to_step():
    _, asked = run(30)
    assert (
        len({question.tools for question in asked})
        == len({question.messages[0] for question in asked})
        == 1
    )
    same = [
        later.messages[: len(earlier.messages)] == earlier.messages
        for earlier, later in pairwise(asked)
    ]
    assert sum(same) > len(same) // 2, "all but those at a summary and after it"


def test_nothing_is_summarised_where_shortening_is_enough():
    given = company(
        LONG.model_copy(update={"context": CONTEXT.model_copy(update={"tool_result_chars": 200})})
    )
    _, asked = run(8, given=given)
    assert not [question for question in asked if question.purpose]
    assert "more characters)" in asked[-1].messages[3].content


@pytest.mark.parametrize("summary", ["failed", "blocked", "length", "calls", ""])
def test_without_a_summary_the_run_goes_on_and_the_model_knows(summary):
    session, asked = run(12, summary=summary)
    assert session.phase is Phase.THINKING
    assert asked[-1].messages[1].content == LEFT_OUT
    assert TASK in [message.content for message in asked[-1].messages]


def test_no_summary_is_asked_for_where_none_is_wanted():
    given = company(
        LONG.model_copy(update={"context": CONTEXT.model_copy(update={"summary": False})})
    )
    _, asked = run(12, given=given)
    assert not [question for question in asked if question.purpose]
    assert asked[-1].messages[1].content == LEFT_OUT
    assert orphans(asked[-1].messages) == set()


def test_a_summary_costs_and_is_no_step_of_the_limit():
    given = company(
        LONG.model_copy(update={"limits": Limits(steps=13, tokens=10**6, cost_usd="100")})
    )
    session, asked = run(12, given=given)
    _, [finished] = advance(
        session, heard(step=session.run.step, content="There.", seconds=99), given
    )
    assert (finished.outcome, finished.model_calls) == ("completed", len(asked))


def test_a_request_that_is_too_long_by_itself_is_a_failure():
    session, said = advance(Idle(), cleared(text="z" * 9_000), GIVEN)
    assert [type(event) for event in said] == [RunFinished]
    assert (said[0].outcome, said[0].reason) == ("failed", "too_large")
    assert "2,000 tokens" in said[0].detail
    assert session.messages == ()


def test_the_next_run_goes_on_with_the_summary():
    session, _ = run(12)
    session, _ = advance(session, heard(step=session.run.step, content="There.", seconds=99), GIVEN)
    _, [asked] = advance(session, cleared("r2", "Thanks!", 100), GIVEN)
    assert asked.messages[1].content.startswith(SUMMARY)
    assert asked.run == ident("r2")
    assert asked.messages[-1].content == "Thanks!"


turns_of = st.lists(
    st.tuples(st.sampled_from("ut"), st.integers(0, 3_000)), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(turns_of, st.integers(600, 30_000), st.integers(1, 6), st.booleans())
def test_any_conversation_is_brought_into_its_room_or_said_to_be_too_long(
    turns, room, recent, summary
):
    messages: list[Message] = [user_says("do it")]
    for number, (kind, size) in enumerate(turns):
        wish = (call("lookup", "{}", f"c{number}"),)
        messages += (
            [user_says("u" * size)]
            if kind == "u"
            else [
                Message(role="assistant", tool_calls=wish),
                tool_says(f"c{number}", "lookup", "r" * size),
            ]
        )
    found = shaped(
        tuple(messages),
        "do it",
        Context(recent_turns=recent, tool_result_chars=300, summary=summary),
        room,
    )
    assert orphans(found.messages) == orphans(found.messages[: found.older]) == set()
    rest = found.messages[found.older :]
    assert found.too_long or chars_in(rest) <= room
    assert not (found.older and not summary)
    if chars_in(messages) <= room:
        assert found.messages == tuple(messages)
    assert roles(rest)[:1] != "t"
