"""Whatever comes in whatever order: does each run end once, and is every call in the history
answered?
"""

import json
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from processors.agent.machine import TRANSITIONS, advance
from processors.agent.state import Idle, Phase, Session
from schemas.definitions.limits import Approval, Limits
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalRefused,
    ApprovalResolved,
)
from schemas.events.agent.models import ModelAsked, ResponseBlocked
from schemas.events.agent.runs import (
    PassagesAsked,
    RequestBlocked,
    RunFinished,
    RunsHeld,
    ToolCalled,
    ToolFailed,
    ToolUncertain,
)
from schemas.events.values import Tokens
from tests.support.processors import (
    AGENT,
    REFUND,
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
    told,
    woke,
)

GIVEN = company(
    AGENT.model_copy(update={"limits": Limits(steps=5, tokens=200, seconds=60), "ask_user": True}),
    REFUND.model_copy(update={"approval": Approval(by=("mara",), timeout_s=20)}),
)
SESSION = TypeAdapter(Session)
RUNS = ("a", "b", "c", "d")


def answers(event, name, choose, seconds):
    """An answer that the world may give to a question."""
    if isinstance(event, ModelAsked):
        kind = choose.choice(
            ["answer", "calls", "calls", "calls", "fail", "block", "length", "odd"]
        )
        if kind == "answer":
            return heard(name, event.step, content="done", seconds=seconds)
        if kind == "calls":
            tools = [
                call(
                    choose.choice(["lookup", "refund", "search", "hand_over", "ask_user", "none"]),
                    choose.choice(
                        [
                            '{"order":"A-1"}',
                            '{"question":"?"}',
                            '{"query":"x"}',
                            "{",
                            f'{{"order":"A-{choose.random()}"}}',
                        ]
                    ),
                    f"c{n}",
                )
                for n in range(choose.randint(1, 3))
            ]
            return heard(name, event.step, calls=tuple(tools), seconds=seconds)
        if kind == "block":
            return of_run(
                ResponseBlocked,
                f"{name}/{event.step}",
                name,
                seconds,
                step=event.step,
                rule="secret",
                tokens=Tokens(),
            )
        if kind == "length":
            return heard(name, event.step, content="half", seconds=seconds, finish_reason="length")
        return (
            failed(name, event.step, seconds=seconds)
            if kind == "fail"
            else heard(name, event.step, seconds=seconds)
        )
    if isinstance(event, ApprovalAsked):
        return ApprovalDecided(
            id=ident(f"{event.id}/{seconds}"),
            at=at(seconds),
            tenant="acme",
            session="s",
            approval=event.id,
            by=choose.choice(["mara", "mara", "mara", "jo"]),
            decision=choose.choice(["approve", "deny"]),
        )
    kind = choose.choice(["return", "return", "return", "fail", "uncertain"])
    if kind == "return":
        return told(name, event.step, event.call, event.tool, seconds=seconds)
    more = {"reason": "timeout"} if kind == "fail" else {}
    return of_tool(
        ToolFailed if kind == "fail" else ToolUncertain,
        name,
        event.step,
        event.call,
        event.tool,
        seconds,
        **more,
    )


def drive(choose, steps=60):
    """A session under random requests, answers in any order, repeats, strays, cancels and timers,
    run to its end.
    """
    session, said, open_questions, everything, now = Idle(), [], [], [], 0.0
    names = {cleared(name).run: name for name in RUNS}
    todo = [
        cleared(name) if choose.random() < 0.9 else of_run(RequestBlocked, name, name, rule="card")
        for name in RUNS
    ]
    choose.shuffle(todo)
    for n in range(10_000):
        now += choose.random()
        options = [("new", event) for event in todo] + [("answer", q) for q in open_questions]
        if n < steps:
            options += [("repeat", event) for event in everything[-5:]]
            options += [("cancel", name) for name in RUNS if choose.random() < 0.02] + [
                ("wake", None)
            ] * (n % 7 == 0)
        if not options and session.phase is Phase.IDLE:
            break
        what, item = (
            choose.choice(options) if options else ("over", None)
        )  # people who do not answer
        if what == "new":
            todo.remove(item)
            event = item
        elif what == "answer":
            open_questions.remove(item)
            event = answers(item, names[item.run], choose, now)
        else:
            event = {
                "repeat": lambda: item,
                "cancel": lambda: cancelled(item, now),
                "wake": lambda: woke(now),
                "over": lambda: woke((session.wake_at - at(0)).total_seconds()),
            }[what]()
        before = session.phase
        session, more = advance(session, event, GIVEN)
        move = TRANSITIONS.get((before, type(event)))
        assert session.phase in move.to if move else session.phase == before
        assert (session.phase is Phase.WAITING) == (
            session.phase is not Phase.IDLE and session.run.paused_at is not None
        )
        assert (session.wake_at is None) == (session.phase is Phase.IDLE)
        everything.append(event)
        said += more
        open_questions += [
            e
            for e in more
            if isinstance(e, ModelAsked | ToolCalled | PassagesAsked | ApprovalAsked)
        ]
    moved = [one.runs if one.held else -one.runs for one in said if isinstance(one, RunsHeld)]
    assert sum(moved) == session.waiting_runs == 0, (
        "a place among the tenant's runs is lost, or given back twice"
    )
    return session, said


def unanswered(messages):
    """Calls without a result, and results without a call."""
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            waiting.remove(message.tool_call_id)
            continue
        if waiting:
            return waiting
        waiting = [request.id for request in message.tool_calls]
    return waiting


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_any_interleaving_ends_each_run_once_and_leaves_no_call_unanswered(seed):
    session, said = drive(random.Random(seed))
    outcomes = Counter(event.run for event in said if isinstance(event, RunFinished))
    assert outcomes == {cleared(name).run: 1 for name in RUNS}
    approvals = [event.id for event in said if isinstance(event, ApprovalAsked)]
    assert sorted(approvals) == sorted(
        event.approval for event in said if isinstance(event, ApprovalResolved)
    )
    assert session.phase is Phase.IDLE
    assert not session.queue
    assert unanswered(session.messages) == []
    once = [
        event for event in said if not isinstance(event, ApprovalRefused)
    ]  # a word that comes again is refused again
    assert len({event.id for event in once}) == len(once)
    for event in said:
        if isinstance(event, ModelAsked):
            assert unanswered(event.messages) == []


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_a_replay_says_the_same(seed):
    assert drive(random.Random(seed)) == drive(random.Random(seed))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_the_state_is_whole_after_the_changelog(seed):
    session, _ = drive(random.Random(seed), steps=20)
    assert SESSION.validate_json(SESSION.dump_json(session)) == session
    assert json.loads(SESSION.dump_json(session))
