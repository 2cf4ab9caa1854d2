"""Decisions become events, whose ids derive from the event that was answered."""

from dataclasses import fields
from datetime import timedelta
from typing import get_args

import pytest

from processors.agent.calls.pending import (
    NOT_EMITTED,
    AwaitingApproval,
    AwaitingSubAgent,
    AwaitingTool,
)
from processors.agent.decisions import (
    AskApproval,
    AskSubAgent,
    CallTool,
    CancelSubAgent,
    CountWaitingRuns,
    Decision,
    FinishRun,
    RefuseSignal,
    ReportToParent,
    ResolveApproval,
)
from processors.agent.emit import STEP_EVENTS, emit, with_ids
from processors.agent.state import Active, ActiveRun, Idle
from schemas.events.agent.approvals import ApprovalResolved
from schemas.events.agent.runs import RunFinished, RunsHeld, ToolCalled
from schemas.events.agent.signals import Signalled, SignalRefused
from schemas.events.agent.subagents import ChildCancelled, ChildFinished
from schemas.events.base import derived_id
from schemas.events.values import Parent
from tests.support.processors import at, cleared, heard, ident

CAUSE = heard(seconds=1)
REQUEST = cleared(metadata={"team": "blue"}, user="kim")
PARENT = Parent(
    run=REQUEST.run, session="s", agent="support", agent_version=1, step=1, call="b", tool="ask"
)
TOOL = CallTool(REQUEST, 1, "a", "lookup", 1, "{}", "pure", 1_000)
SUB_AGENT = AskSubAgent(REQUEST, PARENT, "helper", "do it", "", nth=1)
APPROVAL = AskApproval(REQUEST, 1, "c", "refund", 1, "{}", ("mara",), False, at(60), nth=2)


def test_the_ids_of_equal_decisions_differ_and_are_the_same_each_time():
    twice = (TOOL, CallTool(REQUEST, 1, "b", "lookup", 1, "{}", "pure", 1_000, nth=1))
    first, second = emit(CAUSE, twice)
    assert (first.id, first.cause) == (derived_id(CAUSE.id, "ToolCalled/0"), CAUSE.id)
    assert second.id == derived_id(CAUSE.id, "ToolCalled/1")
    assert emit(CAUSE, twice) == [first, second]


def test_an_event_of_a_run_carries_what_is_known_of_its_request_whatever_caused_it():
    other = heard("other", seconds=3)
    [called] = emit(other, (TOOL,))
    assert isinstance(called, ToolCalled)
    assert (called.run, called.user, called.at) == (REQUEST.run, "kim", at(3))


@pytest.mark.parametrize(("decision", "event"), STEP_EVENTS.items(), ids=lambda one: one.__name__)
def test_a_step_is_written_with_the_fields_of_its_decision(decision, event):
    names = {one.name for one in fields(decision)} - {"of", "nth"}
    assert names <= event.model_fields.keys()


def test_every_decision_is_known_to_the_table_or_has_a_case_of_its_own():
    assert {*STEP_EVENTS} <= {*get_args(Decision)}


def test_what_follows_from_an_end_has_the_end_as_its_cause():
    decisions = (
        FinishRun(REQUEST, "completed", answer="Sent."),
        ReportToParent(REQUEST.run, PARENT),
        CancelSubAgent(REQUEST.run, ident("sub")),
    )
    finished, report, cancel = emit(CAUSE, decisions)
    assert isinstance(finished, RunFinished) and finished.wait_ms == 1_000
    assert isinstance(report, ChildFinished) and report.answer == "Sent."
    assert isinstance(cancel, ChildCancelled) and cancel.child == ident("sub")
    assert report.cause == cancel.cause == finished.id


def test_an_approval_is_resolved_with_how_long_people_took():
    pending = AwaitingApproval("c", "refund", "{}", at(1), at(60), ident("approval"))
    late = heard(seconds=4)
    [resolved] = emit(late, (ResolveApproval(REQUEST, 1, pending, "denied", by="mara"),))
    assert isinstance(resolved, ApprovalResolved)
    assert (resolved.approval, resolved.wait_ms, resolved.by) == (ident("approval"), 3_000, "mara")


def test_what_is_of_no_run_is_of_the_session():
    signal = Signalled(id=ident("go"), at=at(2), tenant="acme", session="s", name="go")
    refused, counted = emit(signal, (RefuseSignal("too_many", "later"), CountWaitingRuns(2, True)))
    assert isinstance(refused, SignalRefused) and (refused.name, refused.session) == ("go", "s")
    assert isinstance(counted, RunsHeld) and (counted.runs, counted.held) == (2, True)


def test_pending_calls_get_the_ids_of_the_events_that_will_be_answered():
    pending = (
        AwaitingTool("a", "lookup"),
        AwaitingSubAgent("b", "ask"),
        AwaitingApproval("c", "refund", "{}", at(1), at(60)),
    )
    run = ActiveRun(REQUEST, REQUEST.at + timedelta(seconds=60), pending=pending)
    events = emit(CAUSE, (TOOL, SUB_AGENT, APPROVAL))
    known = with_ids(Active(run=run), events)
    assert isinstance(known, Active)
    tool, sub_agent, approval = known.run.pending
    assert tool == pending[0]
    assert isinstance(sub_agent, AwaitingSubAgent) and sub_agent.id == events[1].id
    assert isinstance(approval, AwaitingApproval) and approval.id == events[2].id
    assert NOT_EMITTED not in (sub_agent.id, approval.id)


def test_a_run_that_ended_needs_no_ids():
    assert with_ids(Idle(), emit(CAUSE, (SUB_AGENT,))) == Idle()
