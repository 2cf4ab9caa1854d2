"""An agent can ask its user in the middle of a run, and the user's next request is the answer."""

import pytest
from pydantic import TypeAdapter

from processors.agent.machine import advance
from processors.agent.state import Idle, Phase, Session
from schemas.definitions.kinds import Tool
from schemas.definitions.limits import Limits
from schemas.definitions.tools import AgentTarget
from schemas.events.agent.approvals import UserAsked
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import (
    AgentRequested,
    RequestBlocked,
    RunFinished,
    RunsHeld,
    ToolCalled,
)
from schemas.events.agent.subagents import CallHeld, ChildFinished
from schemas.events.values import Parent
from tests.support.processors import (
    AGENT,
    at,
    call,
    cancelled,
    cleared,
    company,
    heard,
    ident,
    of_run,
    roles,
    told,
    woke,
)

SESSION = TypeAdapter(Session)
CURIOUS = AGENT.model_copy(
    update={"ask_user": True, "limits": Limits(seconds=60, waiting_seconds=86_400)}
)
GIVEN = company(CURIOUS)
WHICH = call("ask_user", '{"question":"Which one?","options":["A-1","A-2"]}', "q")


def play(*events, given=GIVEN, session=None):
    session = session or Idle()
    said = []
    for event in events:
        session, more = advance(session, event, given)
        session = SESSION.validate_json(SESSION.dump_json(session))
        said += [
            one for one in more if not isinstance(one, RunsHeld)
        ]  # tests/streams/cli/test_approvals.py counts places
    return session, said


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


def test_the_run_waits_and_services_are_told():
    session, said = play(cleared(user="u-1"), heard(calls=(WHICH,)))
    asked = said[-1]
    assert (type(asked), asked.question, asked.options, asked.user) == (
        UserAsked,
        "Which one?",
        ("A-1", "A-2"),
        "u-1",
    )
    assert (asked.run, asked.request, asked.expires_at) == (ident("r1"), ident("r1"), at(86_401))
    assert (session.phase, session.wake_at, session.run.usage.tool_calls) == (
        Phase.WAITING,
        at(86_401),
        0,
    )
    assert said[0].tools[-1].name == "ask_user"
    assert only(RunFinished, said) == []


def test_the_next_request_is_the_answer_and_both_have_the_outcome_of_the_run():
    session, _ = play(cleared(), heard(calls=(WHICH,)))
    session, [question] = play(cleared("r2", "The first.", 40_000), session=session)
    assert roles(question.messages) == "suat"
    assert (question.messages[-1].content, question.run, question.step) == (
        "The first.",
        ident("r1"),
        2,
    )
    assert session.wake_at == at(60 + 40_000 - 1)
    session, said = play(heard(step=2, content="It is sent.", seconds=40_001), session=session)
    assert [(end.run, end.outcome, end.answer, end.model_calls) for end in said] == [
        (ident("r1"), "completed", "It is sent.", 2),
        (ident("r2"), "completed", "It is sent.", 0),
    ]
    assert str(said[1].cost_usd) == "0"
    assert said[1].reason == "answered"
    assert said[1].wait_ms == 1_000
    assert str(ident("r1")) in said[1].detail
    assert (roles(session.messages), session.phase) == ("uata", Phase.IDLE)
    assert play(cleared("r2", "The first.", 40_002), session=session)[1] == [], "it has been here"


def test_the_parent_of_a_request_that_answered_learns_of_its_end():
    caller = {"session": "up", "agent": "boss", "agent_version": 1, "step": 1, "call": "k"}
    parent = Parent(run=ident("up"), tool="ask", **caller)
    answer = cleared("r2", "The first.", 5, parent=parent)
    _, said = play(
        cleared(), heard(calls=(WHICH,)), answer, heard(step=2, content="Sent.", seconds=6)
    )
    [end] = only(ChildFinished, said)
    assert (end.run, end.parent, end.outcome) == (ident("r2"), parent, "completed")


def test_it_may_ask_twice_and_names_the_newest_request():
    session, _ = play(cleared(), heard(calls=(WHICH,)), cleared("r2", "The first.", 5))
    again = call("ask_user", '{"question":"Really?"}', "q2")
    session, [asked] = play(heard(step=2, calls=(again,), seconds=6), session=session)
    assert asked.request == ident("r2")
    _, said = play(
        cleared("r3", "Yes.", 7), heard(step=3, content="Done.", seconds=8), session=session
    )
    assert [end.run for end in only(RunFinished, said)] == [ident("r1"), ident("r2"), ident("r3")]


def test_what_came_before_the_question_is_no_answer():
    session, _ = play(cleared(), cleared("early", "Something else", 0.5), heard(calls=(WHICH,)))
    session, [question] = play(cleared("r2", "The first.", 5), session=session)
    assert question.messages[-1].content == "The first."
    _, said = play(heard(step=2, content="Sent.", seconds=6), session=session)
    assert [event.run for event in only(ModelAsked, said)] == [ident("early")]


def test_a_request_to_another_agent_is_no_answer():
    given = company(CURIOUS, AGENT.model_copy(update={"name": "other"}))
    session, _ = play(cleared(), heard(calls=(WHICH,)), given=given)
    session, said = play(cleared("r2", "Hello", 5, agent="other"), session=session, given=given)
    assert said == []
    assert session.queue[0].run == ident("r2")


def test_an_answer_that_is_blocked_leaves_the_question_open():
    session, _ = play(cleared(), heard(calls=(WHICH,)))
    session, [ended] = play(of_run(RequestBlocked, "b", "b", 5, rule="secret"), session=session)
    assert (ended.run, ended.outcome, session.phase) == (ident("b"), "blocked", Phase.WAITING)


def test_other_calls_of_the_turn_go_on_and_an_answer_may_come_before_them():
    session, said = play(cleared(), heard(calls=(call("lookup", '{"order":"A-1"}', "look"), WHICH)))
    assert [type(event) for event in said[1:]] == [ToolCalled, UserAsked]
    session, said = play(cleared("r2", "The first.", 2), session=session)
    assert (said, session.phase) == ([], Phase.ACTING)
    _, [question] = play(told(call_="look", seconds=3), session=session)
    assert [m.tool_call_id for m in question.messages[-2:]] == ["look", "q"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{}", "needs a text"),
        ('{"question":" "}', "needs a text"),
        ("[", "not valid JSON"),
        ('{"question":"?","options":"A"}', "list of at most"),
        ('{"question":"?","options":[1]}', "list of at most"),
    ],
)
def test_a_question_that_is_none_is_told_to_the_model(arguments, words):
    _, said = play(cleared(), heard(calls=(call("ask_user", arguments),)))
    assert words in said[-1].messages[-1].content


def test_one_question_at_a_time():
    session, said = play(
        cleared(), heard(calls=(WHICH, call("ask_user", '{"question":"Why?"}', "q2")))
    )
    assert len(only(UserAsked, said)) == 1
    assert "one question at a time" in session.run.pending[1].content


def test_who_may_not_ask_has_no_such_tool():
    _, said = play(cleared(), heard(calls=(WHICH,)), given=company())
    assert "no tool of this name" in said[-1].messages[-1].content
    assert "ask_user" not in {tool.name for tool in said[0].tools}


def test_a_user_who_never_answers_ends_the_run():
    session, _ = play(cleared(), heard(calls=(WHICH,)))
    assert play(woke(60), session=session)[1] == []
    session, [ended] = play(woke(86_401), session=session)
    assert (ended.outcome, ended.reason) == ("stopped", "waiting_seconds")
    _, [question] = play(cleared("r2", "The first.", 90_000), session=session)
    assert question.run == ident("r2"), "a new run then"


@pytest.mark.parametrize("which", ["r1", "r2"])
def test_cancelling_any_of_its_requests_ends_the_run_and_all_of_them(which):
    session, _ = play(cleared(), heard(calls=(WHICH,)), cleared("r2", "The first.", 5))
    session, said = play(cancelled(which, 6), session=session)
    assert [(end.run, end.outcome) for end in said] == [
        (ident("r1"), "cancelled"),
        (ident("r2"), "cancelled"),
    ]
    assert session.phase is Phase.IDLE


def test_a_report_of_a_sub_agent_that_comes_again_late_is_not_believed_again():
    tool = Tool(name="lookup", target=AgentTarget(agent="other"))
    given = company(tool)
    session, said = play(cleared(), heard(calls=(call("lookup", '{"task":"do it"}'),)), given=given)
    [request] = only(AgentRequested, said)
    of = {"tenant": "acme", "session": "s", "run": ident("r1"), "call": "c1", "child": request.id}
    begins = CallHeld(id=ident("begins"), at=at(5), held=True, **of)
    ends = CallHeld(id=ident("ends"), at=at(6), held=False, **of)
    session, _ = play(begins, ends, session=session, given=given)
    assert session.phase is Phase.ACTING
    assert play(begins, session=session, given=given) == (session, [])
