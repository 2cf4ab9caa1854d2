"""The example workflow: branches, waits, loops and compensation."""

import json
from uuid import UUID

import pytest

from schemas.definitions.kinds import Tool
from schemas.definitions.limits import Approval, Limits
from schemas.events.agent.approvals import ApprovalAsked, ApprovalDecided
from schemas.events.agent.runs import (
    AgentRequested,
    RunCancelled,
    RunFinished,
    ToolCalled,
    ToolReturned,
)
from schemas.events.agent.signals import Signalled, SignalRefused
from schemas.events.agent.subagents import ChildCancelled
from schemas.events.tracing import SpanEnded
from streams.definitions import folder
from streams.topology import PIPELINE
from tests.support.examples import FOLDER, at, ends, playing, questions

GROUP = '{"people": 12, "day": "Saturday"}'


SESSION = str(UUID(int=1))


def paid(number=1, seconds=3_600, usd=50, session=SESSION, name="deposit_paid"):
    return Signalled(
        id=UUID(int=100 + number),
        at=at(seconds),
        tenant="club",
        session=session,
        name=name,
        payload=json.dumps({"usd": usd}),
    )


def excursion(group, *signals, until=200_000, **fields):
    """All events of one excursion, its end, and the tools in the order of their calls."""
    with playing("workflow") as (local, ask):
        said = ask(json.dumps(group) if isinstance(group, dict) else group, "excursion", **fields)
        for signal in signals:
            said += local.advance(signal.at) + local.send(signal)
        said += local.advance(at(until))
    [end] = [event for event in ends(said) if event.agent == "excursion"]
    return said, end, [event.tool for event in said if isinstance(event, ToolCalled)]


def test_it_goes_all_its_ways_to_the_end():
    said, end, called = excursion(GROUP, paid())
    assert (end.outcome, end.answer) == (
        "completed",
        "See you on Saturday with tickets TT-9. Rain clothes and a lamp.",
    )
    assert called == ["reserve_hut", "reserve_train", "charge_rest", "find_tickets"]
    assert (end.wait_ms, end.model_calls, end.tool_calls) == (
        4_200_000,
        1,
        5,
    )  # far over limits.seconds: it slept
    charged = next(
        event for event in said if isinstance(event, ToolCalled) and event.tool == "charge_rest"
    )
    assert json.loads(charged.arguments) == {"usd": 370.5}
    assert len({event.id for event in said}) == len(said)


@pytest.mark.parametrize(
    ("group", "deposit", "called", "answer"),
    [
        ("hello", None, 0, "How many are you?"),
        ({"people": 50, "day": "Saturday"}, None, 0, "50 are too many for the hut, we are sorry."),
        (
            {"people": 12, "day": "Friday"},
            50,
            4,
            "See you on Friday with tickets TT-9.",
        ),  # the guide failed: on_error
        (
            {"people": 12, "day": "Monday"},
            50,
            6,
            "Your tickets come later.",
        ),  # the loop was gone twice, then otherwise
    ],
)
def test_conditions_decide_the_way(group, deposit, called, answer):
    _, end, tools = excursion(group, *([paid(usd=deposit)] if deposit else []))
    assert (end.outcome, end.answer, len(tools)) == ("completed", answer, called)


@pytest.mark.parametrize(
    ("group", "deposit", "why", "undone", "not_undone"),
    [
        (GROUP, 20, "card declined", "train, hut", ""),
        (GROUP, None, "no signal 'deposit_paid' came in time", "train, hut", ""),
        (GROUP, "x", "bad_expression", "train, hut", ""),
        ({"people": 13, "day": "Saturday"}, None, "full", "train", ""),
        (
            {"people": 39, "day": "Saturday"},
            None,
            "node 'too_dear' failed: it costs more than 5000",
            "train, hut",
            "",
        ),
        (
            {"people": 12, "day": "Sunday"},
            20,
            "card declined",
            "hut",
            'train (http_409: status 409: {"error":"too late"})',
        ),
    ],
)
def test_a_failure_undoes_what_was_done_last_first_and_says_what_it_could_not(
    group, deposit, why, undone, not_undone
):
    _, end, called = excursion(group, *([paid(usd=deposit)] if deposit else []))
    assert (end.outcome, end.reason, end.not_undone) == ("failed", "node_failed", not_undone)
    assert why in end.detail and f"undone: {undone}" in end.detail
    assert [tool for tool in called if tool.startswith("release")] == (
        ["release_train"] if "full" in why else ["release_train", "release_hut"]
    )


def test_a_signal_may_come_before_it_is_waited_for_and_counts_once():
    with playing("workflow") as (local, ask):
        twice = paid(seconds=-5, session="s")
        early = local.send(twice, twice, paid(2, -5, name="other", session="s"))
        assert early == []
        said = ask(GROUP, "excursion", session="s") + local.advance(at(1_000))
        second = ask(GROUP, "excursion", 2, session="s")
    assert [event.outcome for event in ends(said) if event.agent == "excursion"] == ["completed"]
    assert not [
        event for event in ends(second) if event.agent == "excursion"
    ]  # it waits for a deposit of its own


def test_signals_that_find_no_room_are_refused_aloud():
    with playing("workflow") as (local, _):
        said = local.send(
            *(paid(n, session="s") for n in range(21)),
            paid(99, session="s").model_copy(update={"payload": "x" * 100_001}),
        )
    assert [event.reason for event in said if isinstance(event, SignalRefused)] == [
        "too_many",
        "too_large",
    ]


def test_cancelled_it_ends_at_once_and_says_what_it_left():
    with playing("workflow") as (local, ask):
        ask(GROUP, "excursion")
        said = local.send(
            RunCancelled(
                id=UUID(int=7), at=at(5), tenant="club", session=str(UUID(int=1)), run=UUID(int=1)
            )
        )
        late = local.send(paid())
    [end] = ends(said)
    assert (end.outcome, end.not_undone) == (
        "cancelled",
        "train (it was not tried)\nhut (it was not tried)",
    )
    assert late == []


def test_a_child_is_asked_side_by_side_with_tools_and_belongs_to_the_run():
    said, _, _ = excursion(GROUP, paid())
    kinds = [type(event) for event in said[:8]]
    assert kinds.index(ToolReturned) > kinds.index(
        AgentRequested
    )  # asked before anything came back
    [child] = [event for event in said if isinstance(event, RunFinished) and event.agent == "guide"]
    assert (child.outcome, child.parent_run) == ("completed", UUID(int=1))
    assert [q.agent for q in questions(said)] == ["guide", "excursion"]


CHARGE = Tool(
    name="charge_rest",
    url="http://127.0.0.1:1/tools/charge_rest",
    approval=Approval(by=("treasurer",), timeout_s=900),
)


@pytest.mark.parametrize(
    ("decision", "outcome", "words"),
    [
        ("approve", "completed", "TT-9"),
        ("deny", "failed", "denied: this was not done"),
        (None, "failed", "nobody agreed in time"),
    ],
)
def test_a_node_whose_tool_needs_a_word_waits_for_it(decision, outcome, words):
    with playing("workflow", CHARGE) as (local, ask):
        ask(GROUP, "excursion", session="s")
        [asked] = [
            event for event in local.send(paid(session="s")) if isinstance(event, ApprovalAsked)
        ]
        said = local.advance(at(4_000))
        assert json.loads(asked.arguments) == {"usd": 370.5} and not ends(said)
        if decision:
            said += local.send(
                ApprovalDecided(
                    id=UUID(int=9),
                    at=at(4_000),
                    tenant="club",
                    session="s",
                    approval=asked.id,
                    by="treasurer",
                    decision=decision,
                )
            )
        said += local.advance(at(9_000))
    [end] = [event for event in ends(said) if event.agent == "excursion"]
    assert end.outcome == outcome and words in f"{end.answer} {end.detail}"
    assert ("undone: train, hut" in end.detail) == (outcome == "failed")


def test_spans_of_tools_tell_what_they_were_asked():
    said, _, _ = excursion(GROUP, paid())
    spans = {event.name: event.input for event in said if isinstance(event, SpanEnded)}
    assert json.loads(spans["execute_tool reserve_hut"]) == {"beds": 12}
    assert json.loads(spans["execute_tool charge_rest"]) == {"usd": 370.5}


def excursion_with(**changes):
    [agent] = [
        one
        for one in folder.load(FOLDER / "workflow", 1).definitions
        if (one.kind, one.name) == ("agent", "excursion")
    ]
    return agent.model_copy(update=changes)


def test_an_answer_that_is_not_what_the_agent_promises_fails_the_workflow():
    with playing("workflow", excursion_with(output={"type": "object"})) as (local, ask):
        ask(GROUP, "excursion")
        said = local.send(paid()) + local.advance(at(9_000))
    [end] = [event for event in ends(said) if event.agent == "excursion"]
    assert (end.outcome, end.reason) == ("failed", "bad_output")
    assert (
        end.not_undone.startswith("charge (nothing is declared")
        and "undone: train, hut" in end.detail
    )


def test_what_ends_a_workflow_ends_the_agents_that_still_work_for_it():
    pipeline = tuple(step for step in PIPELINE if step.name != "return_child")
    with playing("workflow", pipeline=pipeline) as (local, ask):
        ask(GROUP, "excursion")
        said = local.advance(at(61))
    [end] = ends(said)
    assert (end.outcome, end.reason) == ("stopped", "seconds")
    assert end.not_undone.splitlines()[0] == "advice (it was under way)"
    assert [type(event) for event in said if isinstance(event, ChildCancelled | RunCancelled)] == [
        ChildCancelled,
        RunCancelled,
    ]


def test_limits_stop_a_workflow_and_it_undoes_what_it_did():
    with playing("workflow", excursion_with(limits=Limits(steps=3, seconds=60))) as (local, ask):
        ask(GROUP, "excursion")
        [end] = ends(local.send(paid()))
    assert (end.outcome, end.reason) == ("stopped", "steps")
    assert "raise limits.steps" in end.detail and "undone: train, hut" in end.detail
