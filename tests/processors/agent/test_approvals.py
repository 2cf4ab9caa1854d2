"""A call that needs approval waits for somebody who may approve it. Silence is a no, and decisions
of anybody else change nothing.
"""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from processors.agent.machine import advance
from processors.agent.state import Idle, Phase, Session
from schemas.definitions.kinds import Agent, Tool
from schemas.definitions.limits import Approval, Limits
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalRefused,
    ApprovalResolved,
)
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import AgentRequested, RunFinished, RunsHeld, ToolCalled
from schemas.events.agent.subagents import ChildFinished
from tests.support.processors import (
    AGENT,
    LOOKUP,
    REFUND,
    at,
    call,
    cancelled,
    cleared,
    company,
    heard,
    ident,
    roles,
    told,
    woke,
)

SESSION = TypeAdapter(Session)
CAREFUL = REFUND.model_copy(
    update={
        "approval": Approval(by=("mara", "leads"), timeout_s=3_600, override=True),
        "parameters": {
            "type": "object",
            "properties": {"amount": {"type": "number"}},
            "required": ["amount"],
        },
    }
)
STRICT = LOOKUP.model_copy(update={"approval": Approval(by=("mara",))})
GIVEN = company(CAREFUL)
REFUND_CALL = call("refund", '{"amount":120}', "pay")


def play(*events, given=GIVEN, session=None):
    session = session or Idle()
    said = []
    for event in events:
        session, more = advance(session, event, given)
        session = SESSION.validate_json(
            SESSION.dump_json(session)
        )  # as the changelog would give it back
        said += [
            one for one in more if not isinstance(one, RunsHeld)
        ]  # tests/streams/cli/test_approvals.py counts places
    return session, said


def word(approval, by="mara", decision="approve", seconds=100.0, name="w1", **fields):
    return ApprovalDecided(
        id=ident(name),
        at=at(seconds),
        tenant="acme",
        session="s",
        approval=approval,
        by=by,
        decision=decision,
        **fields,
    )


def waiting(*calls, given=GIVEN):
    """A session that waits for approvals, and what it asked."""
    session, said = play(cleared(), heard(calls=calls or (REFUND_CALL,)), given=given)
    return session, [event for event in said if isinstance(event, ApprovalAsked)]


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


def test_the_call_is_asked_for_instead_of_made():
    session, [asked] = waiting()
    assert (asked.tool, asked.call, asked.arguments, asked.approvers) == (
        "refund",
        "pay",
        '{"amount":120}',
        ("mara", "leads"),
    )
    assert (asked.expires_at, asked.override) == (at(3_601), True)
    assert (session.phase, session.wake_at, session.run.usage.tool_calls) == (
        Phase.WAITING,
        at(3_601),
        0,
    )
    assert waiting()[1] == [asked], "its id derives from the call"


@pytest.mark.parametrize("who", [{"by": "mara"}, {"by": "jo", "roles": ("leads",)}])
def test_whoever_may_approve_has_the_call_made(who):
    session, [asked] = waiting()
    session, [resolved, made] = play(word(asked.id, **who), session=session)
    assert (resolved.status, resolved.by, resolved.wait_ms) == ("approved", who["by"], 99_000)
    assert isinstance(made, ToolCalled)
    assert (made.call, made.step, made.arguments, made.effect) == (
        "pay",
        1,
        '{"amount":120}',
        "once",
    )
    assert (session.phase, session.run.usage.tool_calls) == (Phase.ACTING, 1)
    _, said = play(told(call_="pay", tool="refund", content="paid", seconds=101), session=session)
    assert said[-1].messages[-1].content == "paid"


def test_a_no_is_told_to_the_model():
    session, [asked] = waiting()
    session, [resolved, question] = play(
        word(asked.id, decision="deny", note="too much"), session=session
    )
    assert (resolved.status, resolved.note) == ("denied", "too much")
    assert "too much" in question.messages[-1].content
    assert roles(question.messages) == "suat"


def test_silence_is_a_no_and_the_wait_is_not_counted():
    session, _ = waiting()
    session, [resolved, question] = play(woke(3_601), session=session)
    assert (resolved.status, resolved.by) == ("expired", "")
    assert "nobody agreed in time" in question.messages[-1].content
    assert session.wake_at == at(60 + 3_600), "one second had passed before, so 59 are left"
    assert only(RunFinished, play(woke(3_659), session=session)[1]) == []
    assert only(RunFinished, play(woke(3_660), session=session)[1])[0].reason == "seconds"


def test_what_else_was_called_in_the_turn_goes_on_and_its_time_is_counted():
    session, [asked] = waiting(REFUND_CALL, call("lookup", '{"order":"A-1"}', "look"))
    assert (session.phase, session.wake_at) == (Phase.ACTING, at(60))
    session, said = play(told(call_="look", seconds=20), session=session)
    assert said == []
    assert session.phase is Phase.WAITING
    session, _ = play(word(asked.id, seconds=3_000), session=session)
    assert session.run.deadline == at(60) + timedelta(seconds=2_980)
    _, [question] = play(
        told(call_="pay", tool="refund", content="paid", seconds=3_001), session=session
    )
    assert [m.tool_call_id for m in question.messages[-2:]] == ["pay", "look"]


def test_some_are_approved_and_some_are_not():
    session, asked = waiting(
        REFUND_CALL,
        call("refund", '{"amount":7}', "small"),
        call("refund", '{"amount":8}', "third"),
    )
    session, said = play(
        word(asked[0].id, decision="deny", name="a"), word(asked[1].id, name="b"), session=session
    )
    assert [type(event) for event in said] == [ApprovalResolved, ApprovalResolved, ToolCalled]
    session, said = play(
        told(call_="small", tool="refund", content="paid", seconds=101), session=session
    )
    assert (said, session.phase) == ([], Phase.WAITING)
    session, said = play(woke(3_601), session=session)
    results = {m.tool_call_id: m.content for m in said[-1].messages if m.role == "tool"}
    assert "said no" in results["pay"]
    assert results["small"] == "paid"
    assert "nobody agreed" in results["third"]


def test_an_approver_may_change_the_arguments_and_the_model_learns_of_it():
    session, [asked] = waiting()
    session, [resolved, made] = play(word(asked.id, arguments='{"amount":100}'), session=session)
    assert (resolved.arguments, made.arguments) == ('{"amount":100}', '{"amount":100}')
    _, [question] = play(
        told(call_="pay", tool="refund", content="paid", seconds=101), session=session
    )
    assert (
        question.messages[-1].content
        == '(Somebody who has to agree changed the arguments to {"amount":100})\npaid'
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"by": "jo"}, "not_an_approver"),
        ({"by": "jo", "roles": ("staff",)}, "not_an_approver"),
        ({"seconds": 3_602}, "expired"),
        ({"arguments": '{"amount":"all"}'}, "bad_arguments"),
        ({"arguments": "{"}, "bad_arguments"),
    ],
)
def test_a_word_that_does_not_count_changes_nothing(fields, reason):
    before, [asked] = waiting()
    session, [refused] = play(word(asked.id, **fields), session=before)
    assert (type(refused), refused.reason) == (ApprovalRefused, reason)
    assert refused.detail
    assert session == before


def test_arguments_stay_where_nobody_may_change_them():
    given = company(STRICT)
    session, [asked] = waiting(call("lookup", '{"order":"A-1"}'), given=given)
    _, [refused] = play(word(asked.id, arguments='{"order":"A-2"}'), session=session, given=given)
    assert refused.reason == "no_override"


def test_the_first_word_counts_and_the_same_word_again_is_not_answered():
    session, [asked] = waiting()
    session, _ = play(word(asked.id), session=session)
    assert play(word(asked.id), session=session)[1] == []
    _, [refused] = play(word(asked.id, decision="deny", name="w2"), session=session)
    assert (refused.reason, refused.decision) == ("already_decided", "deny")


def test_a_word_on_what_nobody_asked_is_refused_and_leaves_no_trace():
    session, [refused] = play(word(ident("nothing")))
    assert refused.reason == "unknown"
    assert session == Idle()


def test_arguments_that_break_the_schema_are_told_to_the_model_before_anybody_is_asked():
    _, said = play(cleared(), heard(calls=(call("refund", "{}", "pay"),)))
    assert only(ApprovalAsked, said) == []
    assert "required" in said[-1].messages[-1].content


def test_a_cancelled_run_takes_its_approvals_back():
    session, [asked] = waiting()
    session, said = play(cancelled(seconds=50), session=session)
    assert [type(event) for event in said] == [RunFinished, ApprovalResolved]
    assert (said[1].status, said[1].approval) == ("cancelled", asked.id)
    assert session.wake_at is None
    _, [refused] = play(word(asked.id), session=session)
    assert refused.reason == "run_over"


def test_late_answers_to_a_cancelled_run_are_ignored():
    session, said = play(
        cleared(),
        heard(calls=(call("lookup", '{"order":"A-1"}', "look"), REFUND_CALL)),
        cancelled(),
        told(call_="look"),
        heard(step=1, content="late"),
        heard(step=2, content="later"),
    )
    assert [event.outcome for event in only(RunFinished, said)] == ["cancelled"]
    assert type(said[-1]) is ApprovalResolved
    assert (session.phase, roles(session.messages)) == (Phase.IDLE, "uatt")


def test_an_agent_may_need_a_word_as_well():
    tool = Tool(name="lookup", via="agent", agent="other", approval=Approval(by=("mara",)))
    given = company(tool)
    session, [asked] = waiting(call("lookup", '{"task":"do it"}'), given=given)
    session, [_, child] = play(word(asked.id), session=session, given=given)
    assert isinstance(child, AgentRequested)
    assert (child.text, child.parent.call, child.parent.run) == ("do it", "c1", ident("r1"))
    assert session.run.pending[0].id == child.id


def test_a_child_that_waits_is_asked_for_in_its_own_session_and_its_end_is_told():
    parent = {
        "run": ident("p"),
        "session": "above",
        "agent": "boss",
        "agent_version": 1,
        "step": 1,
        "call": "c",
        "tool": "t",
    }
    session, said = play(cleared(parent=parent), heard(calls=(REFUND_CALL,)))
    [asked] = only(ApprovalAsked, said)
    session, _ = play(word(asked.id, decision="deny"), session=session)
    _, said = play(heard(step=2, content="Not paid.", seconds=101), session=session)
    assert only(ChildFinished, said)[0].answer == "Not paid."


def test_the_steps_limit_still_ends_a_run_after_a_no():
    given = company(CAREFUL, AGENT.model_copy(update={"limits": Limits(steps=1, seconds=60)}))
    session, [asked] = waiting(given=given)
    session, said = play(word(asked.id, decision="deny"), session=session, given=given)
    assert [type(event) for event in said] == [ApprovalResolved, RunFinished]
    assert said[0].status == "denied"
    assert said[1].reason == "steps"


def test_the_one_that_waited_behind_begins_after_the_end():
    session, _ = waiting()
    session, said = play(cleared("r2", "And A-2?", 10), session=session)
    assert said == []
    _, said = play(cancelled(seconds=50), session=session)
    assert [type(event) for event in said] == [RunFinished, ModelAsked, ApprovalResolved]


@pytest.mark.parametrize(
    ("decision", "outcome"), [("approve", "completed"), ("deny", "failed"), (None, "failed")]
)
def test_a_node_of_a_workflow_waits_for_its_word_too(decision, outcome):
    graph = {
        "start": "pay",
        "nodes": {"pay": {"kind": "tool", "tool": "refund", "arguments": {"amount": "120.0"}}},
    }
    agent = Agent(
        name="support",
        prompt="",
        model="small",
        tools=("refund",),
        pattern="workflow",
        workflow=graph,
    )
    given = company(CAREFUL, agent)
    session, said = play(cleared(), given=given)
    [asked] = only(ApprovalAsked, said)
    assert session.phase is Phase.WAITING
    heard_ = woke(3_600) if decision is None else word(asked.id, decision=decision)
    session, said = play(heard_, session=session, given=given)
    for made in only(ToolCalled, said):
        _, said = play(
            told(
                step=made.step, call_=made.call, tool="refund", content='{"paid":true}', seconds=101
            ),
            session=session,
            given=given,
        )
    assert [event.outcome for event in only(RunFinished, said)] == [outcome]


@pytest.mark.parametrize(
    ("when", "asks"),
    [
        ("double(input.amount) > 100.0", True),
        ("double(input.amount) > 120.0", False),
        ("input.amount", True),
        ("input.nothing > 1", True),
        ("input.", True),
        ("!has(input.amount)", False),
    ],
)
def test_only_calls_of_which_the_condition_is_true_wait_and_those_of_which_nobody_knows(when, asks):
    approval = CAREFUL.approval.model_copy(update={"when": when})
    _, said = play(
        cleared(),
        heard(calls=(REFUND_CALL,)),
        given=company(CAREFUL.model_copy(update={"approval": approval})),
    )
    assert type(said[-1]) is (ApprovalAsked if asks else ToolCalled)
