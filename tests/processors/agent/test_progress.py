"""A run that makes no progress is stopped, and its model is told before."""

import pytest

from processors.agent.machine import advance
from processors.agent.state import Idle
from schemas.definitions.limits import Limits
from schemas.events.agent.runs import RunFinished, ToolCalled
from tests.support.processors import AGENT, call, cleared, company, heard, told

ORDER = '{"order":"A-1"}'


def play(*events, given=None, session=None):
    """The session after these events, and all that was said."""
    session = session or Idle()
    said = []
    for event in events:
        session, more = advance(session, event, given or company())
        said += more
    return session, said


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


def repeated(times, limits=None, results=("{}",)):
    """A run whose model makes the same call so often; the results come in turns."""
    given = company(AGENT.model_copy(update={"limits": limits or Limits(steps=50)}))
    events = [cleared()]
    for step in range(1, times + 1):
        spaces = " " * step  # written otherwise, it is still the same call
        arguments = f'{{"order":{spaces}"A-1"}}'
        events += [
            heard(step=step, calls=(call("lookup", arguments),)),
            told(step=step, content=results[step % len(results)]),
        ]
    session, said = play(*events, given=given)
    return session, only(RunFinished, said), said


@pytest.mark.parametrize("limit", [3, 5, 8])
def test_the_same_call_with_the_same_result_is_a_loop_and_the_model_is_told_before(limit):
    limits = Limits(steps=50, repeats=limit)
    session, finished, said = repeated(limit - 1, limits)
    assert finished == []
    note = session.messages[-1].content
    assert f"made {limit - 1} times" in note and f"At {limit} times" in note
    assert note.endswith("{}")
    _, [finished], said = repeated(limit, limits)
    assert (finished.outcome, finished.reason) == ("stopped", "loop")
    assert finished.tool_calls == limit - 1 == len(only(ToolCalled, said))
    assert f"{limit} times" in finished.detail and "limits.repeats" in finished.detail


def test_five_equal_calls_are_a_loop_unless_the_agent_says_otherwise():
    assert repeated(4)[1] == []
    assert [end.reason for end in repeated(5)[1]] == ["loop"]


def test_equal_calls_with_changing_results_are_no_loop():
    session, finished, _ = repeated(20, results=("open", "closed"))
    assert finished == []
    assert "made" not in session.messages[-1].content


def test_where_repeats_do_not_count_nothing_is_told_and_nothing_stopped():
    session, finished, _ = repeated(20, Limits(steps=50, repeats=None))
    assert finished == []
    assert {m.content for m in session.messages if m.role == "tool"} == {"{}"}


def test_an_answer_that_asks_for_one_call_too_often_has_it_made_less_often():
    calls = tuple(call("lookup", ORDER, f"c{nth}") for nth in range(7))
    session, said = play(cleared(), heard(calls=calls))
    assert len(only(ToolCalled, said)) == 4
    session, said = play(
        *(told(call_=f"c{nth}", content="{}") for nth in range(4)), session=session
    )
    assert only(RunFinished, said) == []
    results = [m.content for m in session.messages if m.role == "tool"]
    assert ["not_called" in result for result in results] == [False] * 4 + [True] * 3
    assert "made 4 times" in results[3]
    _, [finished] = play(heard(step=2, calls=(call("lookup", ORDER),)), session=session)
    assert (finished.outcome, finished.reason) == ("stopped", "loop")
