"""A run goes through its loop within the limits of its agent, as its tools and people let it."""

from itertools import pairwise

import pytest

from processors.agent.machine import QUEUE_MAX, TRANSITIONS, advance
from processors.agent.state import ActiveRun, Idle, Phase
from schemas.definitions.limits import Limits
from schemas.events.agent.models import ModelAsked, ResponseBlocked
from schemas.events.agent.runs import (
    PassagesAsked,
    RequestBlocked,
    RunFinished,
    ToolCalled,
    ToolFailed,
    ToolUncertain,
)
from schemas.events.values import Message, Tokens
from tests.support.processors import (
    AGENT,
    at,
    call,
    cancelled,
    cleared,
    company,
    failed,
    heard,
    ident,
    of_run,
    of_tool,
    roles,
    told,
    woke,
)

GIVEN = company()
ORDER = '{"order":"A-1"}'


def play(*events, given=GIVEN, session=None):
    """The session after these events, and all that was said."""
    session = session or Idle()
    said = []
    for event in events:
        session, more = advance(session, event, given)
        said += more
    return session, said


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


def test_a_question_is_asked_with_prompt_history_and_tools():
    _, [asked] = play(cleared())
    assert [(m.role, m.content) for m in asked.messages] == [
        ("system", "Be brief."),
        ("user", "Where is A-1?"),
    ]
    assert [tool.name for tool in asked.tools] == ["lookup", "refund", "hand_over", "search"]
    assert (asked.step, asked.model, asked.fallback, asked.timeout_ms) == (
        1,
        "small",
        ("spare",),
        60_000,
    )


def test_what_an_application_says_was_said_before_counts_where_the_session_has_nothing_of_its_own():
    before = (
        Message(role="user", content="I am Kim."),
        Message(role="assistant", content="Hello Kim."),
    )
    session, said = play(cleared(history=before), heard(content="On its way."))
    assert [m.content for m in said[0].messages] == [
        "Be brief.",
        "I am Kim.",
        "Hello Kim.",
        "Where is A-1?",
    ]
    _, [asked] = play(
        cleared("r2", history=(Message(role="user", content="I am Bo."),)), session=session
    )
    assert [m.content for m in asked.messages][1:4] == ["I am Kim.", "Hello Kim.", "Where is A-1?"]


def test_an_answer_ends_the_run_with_what_it_took():
    session, said = play(cleared(), heard(content="On its way."))
    [finished] = only(RunFinished, said)
    assert (finished.outcome, finished.answer, finished.model_calls) == (
        "completed",
        "On its way.",
        1,
    )
    assert (str(finished.cost_usd), finished.tokens.input_tokens, finished.wait_ms) == (
        "0.001",
        10,
        1_000,
    )
    assert roles(session.messages) == "ua"
    assert session.wake_at is None


def test_tools_are_called_and_their_results_told_in_the_order_of_the_calls():
    calls = (call("lookup", ORDER, "a"), call("search", '{"query":"late parcels","limit":3}', "b"))
    session, said = play(cleared(), heard(calls=calls))
    assert [(type(e), e.call) for e in said[1:]] == [(ToolCalled, "a"), (PassagesAsked, "b")]
    assert (said[1].arguments, said[1].effect, said[2].query, said[2].limit) == (
        ORDER,
        "pure",
        "late parcels",
        3,
    )
    session, said = play(told(call_="b", tool="search", content="[1] ..."), session=session)
    assert said == []
    session, [asked] = play(told(call_="a", seconds=3), session=session)
    assert [(m.role, m.tool_call_id, m.name) for m in asked.messages[-2:]] == [
        ("tool", "a", "lookup"),
        ("tool", "b", "search"),
    ]
    assert asked.messages[2].tool_calls == calls
    assert asked.messages[2].content is None
    assert asked.step == 2


def test_what_is_sent_begins_with_what_was_sent_before():
    _, said = play(
        cleared(),
        heard(calls=(call("lookup", ORDER),), content="Let me look."),
        told(),
        heard(step=2, content="Sent."),
        cleared("r2", "And A-2?", 9),
    )
    asked = only(ModelAsked, said)
    for earlier, later in pairwise(asked):
        assert later.messages[: len(earlier.messages)] == earlier.messages
    assert roles(asked[-1].messages) == "suatau"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("nothing", "{}", "no tool of this name"),
        ("lookup", "{", "not valid JSON"),
        ("lookup", "[1]", "JSON list"),
        ("lookup", '{"order":"77"}', "does not match"),
        ("lookup", "{}", "required"),
        ("search", "{}", "query"),
        ("lookup", '{"order":NaN}', "NaN"),
        ("lookup", "[" * 5_000, "not valid JSON"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_told_to_the_model(name, arguments, words):
    _, said = play(cleared(), heard(calls=(call(name, arguments),)))
    assert len(said) == 2  # no call, but the next question
    assert words in said[-1].messages[-1].content
    assert said[-1].messages[-1].tool_call_id == "c1"


@pytest.mark.parametrize("kind", [ToolFailed, ToolUncertain])
def test_a_failed_tool_is_told_to_the_model(kind):
    result = of_tool(
        kind, detail="no answer", **({"reason": "timeout"} if kind is ToolFailed else {})
    )
    _, said = play(cleared(), heard(calls=(call("lookup", ORDER),)), result)
    content = said[-1].messages[-1].content
    assert '"error"' in content
    assert "no answer" in content


@pytest.mark.parametrize("ends", ["terminal", "header"])
def test_a_tool_may_end_the_run(ends):
    name = "hand_over" if ends == "terminal" else "lookup"
    session, said = play(
        cleared(),
        heard(calls=(call(name, ORDER),)),
        told(tool=name, content="A person takes over.", ends=ends == "header"),
    )
    [finished] = only(RunFinished, said)
    assert (finished.outcome, finished.answer, finished.tool_calls) == (
        "completed",
        "A person takes over.",
        1,
    )
    assert roles(session.messages) == "uat"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(steps=1), "steps"),
        (Limits(tokens=15), "tokens"),
        (Limits(cost_usd="0.001"), "cost_usd"),
    ],
)
def test_a_limit_stops_the_run_before_another_step(limits, reason):
    given = company(AGENT.model_copy(update={"limits": limits}))
    session, said = play(cleared(), heard(calls=(call("lookup", ORDER),)), told(), given=given)
    [finished] = only(RunFinished, said)
    assert (finished.outcome, finished.reason) == ("stopped", reason)
    assert f"limits.{reason}" in finished.detail
    assert roles(session.messages) == "uat"


def test_an_answer_that_is_there_is_given_whatever_it_cost():
    given = company(AGENT.model_copy(update={"limits": Limits(tokens=1)}))
    assert play(cleared(), heard(content="Sent."), given=given)[1][-1].outcome == "completed"


def test_time_stops_the_run_and_what_was_called_gets_a_result():
    session, said = play(cleared(), heard(calls=(call("lookup", ORDER),)), woke(59))
    assert only(RunFinished, said) == []
    session, [finished] = play(woke(60), session=session)
    assert (finished.outcome, finished.reason) == ("stopped", "seconds")
    assert roles(session.messages) == "uat"
    assert "ended before" in session.messages[-1].content


@pytest.mark.parametrize(
    ("event", "outcome", "reason"),
    [
        (heard(content="half of", finish_reason="length"), "failed", "truncated"),
        (heard(content=""), "failed", "empty_answer"),
        (heard(content="", finish_reason="content_filter"), "failed", "content_filter"),
        (
            heard(calls=(call("lookup", ORDER, "x"), call("lookup", ORDER, "x"))),
            "failed",
            "bad_tool_calls",
        ),
        (heard(calls=(call("lookup", ORDER, ""),)), "failed", "bad_tool_calls"),
        (failed(), "failed", "timeout"),
        (
            of_run(ResponseBlocked, "1", step=1, rule="secret", tokens=Tokens(), seconds=1),
            "blocked",
            "secret",
        ),
        (cancelled(), "cancelled", "cancelled"),
    ],
)
def test_a_run_may_end_otherwise(event, outcome, reason):
    session, said = play(cleared(), event)
    [finished] = only(RunFinished, said)
    assert (finished.outcome, finished.reason) == (outcome, reason)
    assert (session.phase, roles(session.messages)) == (Phase.IDLE, "u")
    session, said = play(cleared("r2", seconds=5), session=session)
    assert roles(said[0].messages) == "suu"


def test_a_blocked_request_is_a_run_that_never_began():
    session, [finished] = play(
        of_run(RequestBlocked, "r1", rule="secret", detail="found", text="it is [secret]")
    )
    assert (finished.outcome, finished.reason, finished.model_calls) == ("blocked", "secret", 0)
    assert session.messages == ()


def test_requests_wait_for_the_run_under_way():
    session, said = play(cleared("a"), cleared("b", "second", 1), cleared("c", "third", 2))
    assert len(said) == 1
    session, said = play(heard("a", content="one", seconds=5), session=session)
    assert [type(event) for event in said] == [RunFinished, ModelAsked]
    assert (said[1].run, said[1].messages[-1].content, said[1].at) == (
        ident("b"),
        "second",
        said[0].at,
    )
    session, said = play(
        heard("b", content="two", seconds=65),
        woke(70),
        heard("c", content="three", seconds=80),
        session=session,
    )
    assert [(e.run, e.wait_ms) for e in only(RunFinished, said)] == [
        (ident("b"), 64_000),
        (ident("c"), 78_000),
    ]


def test_too_many_waiting_requests_are_told_so():
    session, said = play(cleared("r"), *(cleared(str(n)) for n in range(QUEUE_MAX + 1)))
    [finished] = only(RunFinished, said)
    assert (finished.outcome, finished.reason, finished.run) == (
        "failed",
        "session_busy",
        ident(str(QUEUE_MAX)),
    )
    assert len(session.queue) == QUEUE_MAX


def test_cancelling_reaches_a_run_that_waits_and_one_that_has_not_come():
    session, said = play(
        cleared("a"), cleared("b"), cancelled("b"), cancelled("c"), cleared("c", seconds=2)
    )
    assert [(e.run, e.outcome) for e in only(RunFinished, said)] == [
        (ident("b"), "cancelled"),
        (ident("c"), "cancelled"),
    ]
    assert session.run.request.run == ident("a")
    assert play(cancelled("b"), session=session)[1] == []


@pytest.mark.parametrize(
    "stray",
    [
        heard("other", content="hi"),
        heard(step=2, content="hi"),
        told(),
        failed("other"),
        woke(5),
        cleared(),
    ],
)
def test_what_nobody_waits_for_changes_nothing(stray):
    before, _ = play(cleared())
    assert advance(before, stray, GIVEN) == (before, [])


def test_an_answer_after_the_end_changes_nothing():
    before, _ = play(cleared(), heard(content="Sent."))
    for late in (heard(content="Sent."), told(), failed(), cancelled(), woke(99), cleared()):
        assert advance(before, late, GIVEN) == (before, [])


def test_history_is_cut_at_a_users_message():
    given = company(AGENT.model_copy(update={"history_messages": 3}))
    session, _ = play(
        cleared("a"),
        heard("a", calls=(call("lookup", ORDER),)),
        told("a"),
        heard("a", 2, content="Sent."),
        cleared("b"),
        heard("b", content="x"),
        given=given,
    )
    _, said = play(cleared("c"), session=session, given=given)
    assert roles(said[0].messages) == "suau"


def test_a_session_that_grew_too_large_fails_and_goes_on_with_the_next():
    session, said = play(cleared("a", "x" * 1_600_000))
    assert (said[0].outcome, said[0].reason, session.messages) == ("failed", "too_large", ())
    session, said = play(
        cleared("b"),
        heard("b", calls=(call("lookup", ORDER),)),
        told("b", content="y" * 2_000_000),
        session=session,
    )
    assert "too_large" in said[-1].messages[-1].content


def test_a_removed_agent_fails_the_run():
    _, [finished] = play(cleared(agent_version=9))
    assert (finished.outcome, finished.reason) == ("failed", "agent_missing")


def test_unpriced_calls_are_counted_and_cost_nothing():
    _, said = play(
        cleared(),
        heard(calls=(call("lookup", ORDER),), cost_usd=None),
        told(),
        heard(step=2, content="Sent."),
    )
    assert (said[-1].unpriced_calls, str(said[-1].cost_usd)) == (1, "0.001")
    _, said = play(cleared("b"), heard("b", content="Sent.", cost_usd=None))
    assert (said[-1].unpriced_calls, said[-1].cost_usd) == (1, None)


def test_every_phase_is_reached_and_left():
    assert (
        {phase for phase, _ in TRANSITIONS}
        == set(Phase)
        == {to for move in TRANSITIONS.values() for to in move.to}
    )


def test_time_in_which_a_run_waits_for_people_is_not_taken_from_its_questions():
    waited = ActiveRun(cleared(), deadline=at(60), paused_at=at(10))
    assert waited.ends_at(at(86_410)) == at(86_460) and ActiveRun(
        cleared(), deadline=at(60)
    ).ends_at(at(70)) == at(60)
