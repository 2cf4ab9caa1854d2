"""Approvals within a run, as the example `infra/examples/refunds` declares them."""

import json
from datetime import timedelta
from uuid import UUID

import pytest

from schemas.definitions.kinds import DefinitionApplied, Tenant
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalRefused,
    ApprovalResolved,
    UserAsked,
)
from schemas.events.agent.runs import (
    AgentRequested,
    RequestRefused,
    RunCancelled,
    RunFinished,
    RunSettled,
    RunsHeld,
    ToolCalled,
)
from schemas.events.agent.subagents import CallHeld
from streams.cli.runs.approvals import signed
from streams.engine.in_memory import Local
from streams.topology import PIPELINE
from tests.support.examples import NOON, at, ends, playing, questions

SESSION = "mrs-k"


def word(approval, number=50, by="mara", decision="approve", seconds=3_600.0, **fields):
    return ApprovalDecided(
        id=UUID(int=number),
        at=at(seconds),
        tenant="lamps",
        session=SESSION,
        approval=approval,
        by=by,
        decision=decision,
        **fields,
    )


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("fields", "paid", "called"),
    [
        ({}, 40, 1),
        ({"arguments": '{"order":"L-7","amount_eur":25}'}, 25, 1),
        ({"decision": "deny"}, 0, 0),
    ],
)
def test_a_question_an_approval_and_an_answer_in_json(fields, paid, called):
    with playing("refunds") as (local, ask):
        said = ask("I want my money back", "clerk", session=SESSION)
        [question] = only(UserAsked, said)
        assert (question.question, question.options, ends(said)) == (
            "Which order is it?",
            ("L-7", "L-8"),
            [],
        )
        said = ask("L-7", "clerk", 2, session=SESSION)
        [asked] = only(ApprovalAsked, said)
        assert json.loads(asked.arguments) == {"order": "L-7", "amount_eur": 40}
        assert (
            only(ApprovalRefused, local.send(word(asked.id, 49, by="jo")))[0].reason
            == "not_an_approver"
        )
        said = local.send(word(asked.id, **fields))
    assert len(only(ToolCalled, said)) == called
    first, second = ends(said)
    assert (first.run, second.run) == (UUID(int=1), UUID(int=2))
    assert json.loads(first.answer)["paid_eur"] == json.loads(second.answer)["paid_eur"] == paid
    assert len(only(RunSettled, said)) == 2, "both give their place back"


def test_two_days_without_a_word_are_a_no_and_cost_nothing():
    with playing("refunds") as (local, ask):
        [asked] = only(ApprovalAsked, ask("Order L-7: money back", "clerk", session=SESSION))
        assert ends(local.advance(asked.expires_at - timedelta(seconds=1))) == []
        said = local.advance(asked.expires_at)
    assert only(ApprovalResolved, said)[0].status == "expired"
    [end] = ends(said)
    assert (end.outcome, json.loads(end.answer)["paid_eur"]) == ("completed", 0)


def test_an_answer_that_is_no_json_is_mended():
    with playing("refunds") as (_, ask):
        said = ask("a sloppy one", "clerk", session=SESSION)
    [end] = ends(said)
    assert (end.outcome, end.model_calls) == ("completed", 2)
    assert json.loads(questions(said)[0].output_schema)["required"] == ["paid_eur", "say"]


def test_two_requests_at_once_in_a_session_are_runs_one_after_the_other():
    with playing("refunds") as (local, _):
        both = [
            AgentRequested(
                id=UUID(int=n),
                at=NOON,
                tenant="lamps",
                agent="clerk",
                text="a sloppy one",
                session=SESSION,
            )
            for n in (1, 2)
        ]
        said = local.send(*both)
    finished = only(RunFinished, said)
    assert [(end.run, end.outcome) for end in finished] == [
        (UUID(int=1), "completed"),
        (UUID(int=2), "completed"),
    ]
    steps = [(event.run, event.step) for event in questions(said)]
    assert steps == sorted(steps), "the second begins when the first is over"


def held(said):
    return sum(event.runs if event.held else -event.runs for event in only(RunsHeld, said))


def test_a_hundred_runs_that_wait_for_people_leave_their_places_to_others():
    lamps = Tenant(name="lamps", burst=1_000, concurrent_runs=1)
    with playing("refunds", lamps) as (local, ask):
        said = [
            event
            for n in range(1, 101)
            for event in ask("L-7: money back", "clerk", n, session=f"s{n}")
        ]
        asked = only(ApprovalAsked, said)
        assert (len(asked), held(said)) == (100, 100)
        assert ends(ask("a sloppy one", "clerk", 101))[0].outcome == "completed"
        for nth, one in enumerate(asked):  # some decide, the others are silent
            said += (
                local.send(word(one.id, nth).model_copy(update={"session": one.session}))
                if nth % 3
                else []
            )
        said += local.advance(asked[0].expires_at)
    assert len(ends(said)) == 100 and held(said) == 0


@pytest.mark.parametrize("end", ["approve", "cancel", "silence"])
def test_requests_behind_a_run_that_waits_have_no_place_either(end):
    """Of a run, of the one that answered its question, and of one that waits for its turn."""
    with playing("refunds", Tenant(name="lamps", concurrent_runs=1)) as (local, ask):
        said = ask("I want my money back", "clerk", session=SESSION)
        assert held(said) == 1
        said += ask("L-7", "clerk", 2, session=SESSION)
        said += ask("a sloppy one", "clerk", 3, session=SESSION)
        assert held(said) == 3
        [asked] = only(ApprovalAsked, said)
        said += (
            local.send(word(asked.id))
            if end == "approve"
            else local.advance(asked.expires_at)
            if end == "silence"
            else local.send(
                RunCancelled(
                    id=UUID(int=8), at=at(60), tenant="lamps", session=SESSION, run=UUID(int=1)
                )
            )
        )
    assert [end.run for end in ends(said)] == [UUID(int=n) for n in (1, 2, 3)]
    assert held(said) == 0


@pytest.mark.parametrize(
    ("by", "note", "is_of"),
    [
        ("", "fine", ("ada", "fine")),
        ("ada", "", ("ada", "")),
        ("mara", "", ("mara", "typed by ada")),
        ("mara", "fine", ("mara", "typed by ada: fine")),
    ],
)
def test_a_name_that_somebody_else_types_at_the_terminal_is_noted(by, note, is_of):
    assert signed(by, note, "ada") == is_of


def gone(given, kind, name):
    body = given.of_kind(kind, name).model_dump_json()
    return DefinitionApplied(
        id=UUID(int=9),
        at=NOON,
        tenant="weir",
        place=f"{kind}/{name}@2",
        kind=kind,
        name=name,
        version=2,
        body=body,
        digest="",
        removed=True,
    )


def test_what_is_removed_in_flight_stays_in_force_for_the_run():
    with playing("refunds") as (example, _):
        given = example._newest()
        example.advance(NOON)  # the time of its ports
        local = Local(PIPELINE, lambda: given, example._ports)
        text = {"at": NOON, "tenant": "lamps", "agent": "clerk", "text": "L-7: money back"}
        [asked] = only(
            ApprovalAsked, local.send(AgentRequested(id=UUID(int=1), session=SESSION, **text))
        )
        given = given.having(
            [gone(given, *what) for what in (("agent", "clerk"), ("tool", "pay_back"))]
        )
        refused = local.send(AgentRequested(id=UUID(int=2), session="other", **text))
        said = local.send(word(asked.id))
        local.close()
    assert [event.reason for event in only(RequestRefused, refused)] == ["unknown_agent"]
    [end] = ends(said)
    assert (end.run, end.outcome, json.loads(end.answer)["paid_eur"]) == (
        UUID(int=1),
        "completed",
        40,
    )


@pytest.mark.parametrize("decision", ["approve", "deny", ""])
def test_the_time_that_an_agent_waits_for_people_is_not_counted_above_it_either(decision):
    with playing("refunds") as (local, ask):
        said = ask("I have a broken lamp", "desk", session=SESSION)
        [asked] = only(ApprovalAsked, said)
        assert [event.held for event in only(CallHeld, said)] == [True]
        late = local.advance(at(86_400))
        assert ends(late) == [], "the desk has 30 seconds of its own"
        decided = word(asked.id, decision=decision or "deny", seconds=86_401)
        said = (
            local.send(decided.model_copy(update={"session": asked.session}))
            if decision
            else local.advance(asked.expires_at)
        )
    clerk, desk = ends(said)
    assert (clerk.agent, desk.agent, desk.outcome) == ("clerk", "desk", "completed")
    assert desk.answer == "The clerk says: " + (
        "40 EUR are on their way to you."
        if decision == "approve"
        else "Nobody agreed to pay it back."
    )
    assert [event.held for event in only(CallHeld, said)] == [False]


def test_an_agent_that_is_cancelled_above_takes_its_approvals_back():
    with playing("refunds") as (local, ask):
        [asked] = only(ApprovalAsked, ask("I have a broken lamp", "desk", session=SESSION))
        said = local.send(
            RunCancelled(
                id=UUID(int=8), at=at(60), tenant="lamps", session=SESSION, run=UUID(int=1)
            )
        )
    assert [(end.agent, end.outcome) for end in ends(said)] == [
        ("desk", "cancelled"),
        ("clerk", "cancelled"),
    ]
    assert [(event.approval, event.status) for event in only(ApprovalResolved, said)] == [
        (asked.id, "cancelled")
    ]
