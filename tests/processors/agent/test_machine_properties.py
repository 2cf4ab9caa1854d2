"""Whatever comes in whatever order, each run ends once and all its calls are answered."""

import json
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from processors.agent.calls.pending import AwaitingSubAgent
from processors.agent.machine import TRANSITIONS, advance
from processors.agent.state import Idle, Phase, Session
from schemas.definitions.kinds import Agent, Tool
from schemas.definitions.limits import Approval, Limits
from schemas.definitions.tools import AgentTarget
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalRefused,
    ApprovalResolved,
)
from schemas.events.agent.models import ModelAsked, ResponseBlocked
from schemas.events.agent.runs import (
    AgentRequested,
    PassagesAsked,
    RequestBlocked,
    ResultCleared,
    RunFinished,
    RunsHeld,
    ToolCalled,
    ToolFailed,
    ToolUncertain,
)
from schemas.events.agent.subagents import CallHeld, ChildCancelled
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
    AGENT.model_copy(
        update={
            "limits": Limits(steps=5, tokens=200, seconds=60),
            "ask_user": True,
            "tools": (*AGENT.tools, "ask_helper"),
        }
    ),
    Agent(name="helper", prompt="Help.", model="small"),
    Tool(name="ask_helper", target=AgentTarget(agent="helper"), effect="pure"),
    REFUND.model_copy(update={"approval": Approval(by=("mara",), timeout_s=20)}),
)
SESSION = TypeAdapter(Session)
RUNS = ("a", "b", "c", "d")


TOOLS = ["lookup", "refund", "search", "hand_over", "ask_user", "none", "ask_helper"]


def answer_of_model(event, name, choose, seconds):
    """An answer, a failure or a block that a model's question may get."""
    kind = choose.choice(["answer", "calls", "calls", "calls", "fail", "block", "length", "odd"])
    if kind == "answer":
        return heard(name, event.step, content="done", seconds=seconds)
    if kind == "calls":
        calls = tuple(a_call(f"c{nth}", choose) for nth in range(choose.randint(1, 3)))
        return heard(name, event.step, calls=calls, seconds=seconds)
    if kind == "block":
        fields = {"step": event.step, "rule": "secret", "tokens": Tokens()}
        return of_run(ResponseBlocked, f"{name}/{event.step}", name, seconds, **fields)
    if kind == "length":
        return heard(name, event.step, content="half", seconds=seconds, finish_reason="length")
    if kind == "fail":
        return failed(name, event.step, seconds=seconds)
    return heard(name, event.step, seconds=seconds)


def a_call(ident_, choose):
    """A call that a model may ask for, with arguments that fit it or not."""
    arguments = [
        '{"order":"A-1"}',
        '{"question":"?"}',
        '{"query":"x"}',
        '{"task":"look"}',
        "{",
        f'{{"order":"A-{choose.random()}"}}',
    ]
    return call(choose.choice(TOOLS), choose.choice(arguments), ident_)


def decision_on(event, choose, seconds):
    """Somebody's decision on an approval, who may be nobody to decide."""
    return ApprovalDecided(
        id=ident(f"{event.id}/{seconds}"),
        at=at(seconds),
        tenant="acme",
        session="s",
        approval=event.id,
        by=choose.choice(["mara", "mara", "mara", "jo"]),
        decision=choose.choice(["approve", "deny"]),
    )


def answers(event, name, choose, seconds):
    """An answer that the world may give to a question."""
    if isinstance(event, ModelAsked):
        return answer_of_model(event, name, choose, seconds)
    if isinstance(event, ApprovalAsked):
        return decision_on(event, choose, seconds)
    call_ = event.parent if isinstance(event, AgentRequested) else event
    kind = choose.choice(["return", "return", "return", "fail", "uncertain"])
    if kind == "return":
        return told(name, call_.step, call_.call, call_.tool, seconds=seconds)
    more = {"reason": "timeout"} if kind == "fail" else {}
    result = ToolFailed if kind == "fail" else ToolUncertain
    return of_tool(result, name, call_.step, call_.call, call_.tool, seconds, **more)


def waits(request, choose, seconds):
    """A sub-agent's report that it waits for people, or goes on."""
    return CallHeld(
        id=ident(f"{request.id}/{seconds}"),
        at=at(seconds),
        tenant="acme",
        session="s",
        run=request.parent.run,
        call=request.parent.call,
        child=request.id,
        held=choose.random() < 0.5,
    )


def made(what, item, session, choose, now):
    """The event that comes next. `item` is it already, where it is new, an answer or repeated."""
    match what:
        case "report":
            return waits(item, choose, now)
        case "cancel":
            return cancelled(item, now)
        case "wake":
            return woke(now)
        case "over":  # people who do not answer
            return woke((session.wake_at - at(0)).total_seconds())
    return item


def drive(choose, steps=60, taken=None):
    """A session under random requests, answers in any order, repeats, strays, cancels and timers,
    run to its end. `taken` gets all events that it took.
    """
    session = Idle()
    said = []
    open_questions = []
    everything = [] if taken is None else taken
    now = 0.0
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
            options += [("cancel", name) for name in RUNS if choose.random() < 0.02]
            options += [("wake", None)] * (n % 7 == 0)
            options += [("report", q) for q in open_questions if isinstance(q, AgentRequested)]
        if not options and session.phase is Phase.IDLE:
            break
        what, item = choose.choice(options) if options else ("over", None)
        if what == "new":
            todo.remove(item)
        elif what == "answer":
            open_questions.remove(item)
            item = answers(item, names[run_of(item)], choose, now)
        event = made(what, item, session, choose, now)
        before = session.phase
        session, more = advance(session, event, GIVEN)
        move = TRANSITIONS.get((before, type(event)))
        assert session.phase in move.to if move else session.phase == before
        assert (session.phase is Phase.WAITING) == (
            session.phase is not Phase.IDLE and session.run.paused_at is not None
        )
        assert (session.wake_at is None) == (
            session.phase is Phase.IDLE or only_sub_agents(session)
        )
        everything.append(event)
        said += more
        open_questions += [one for one in more if isinstance(one, QUESTIONS)]
    moved = [one.runs if one.held else -one.runs for one in said if isinstance(one, RunsHeld)]
    assert sum(moved) == session.waiting_runs == 0, (
        "a place among the tenant's runs is lost, or given back twice"
    )
    return session, said


def only_sub_agents(session):
    """Whether a run waits for nothing but sub-agents that wait for people, in their own time."""
    return session.phase is Phase.WAITING and all(
        isinstance(one, AwaitingSubAgent) for one in session.run.unanswered
    )


RESULTS = ResultCleared | ToolFailed | ToolUncertain
QUESTIONS = ModelAsked | ToolCalled | PassagesAsked | ApprovalAsked | AgentRequested


def run_of(question):
    return question.parent.run if isinstance(question, AgentRequested) else question.run


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


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_every_sub_agent_comes_back_or_is_cancelled(seed):
    """The parent knows the ids of its sub-agents' requests: the event's and the state's agree."""
    taken = []
    _, said = drive(random.Random(seed), taken=taken)
    asked = [event for event in said if isinstance(event, AgentRequested)]
    cancelled_ = {event.child for event in said if isinstance(event, ChildCancelled)}
    assert cancelled_ <= {event.id for event in asked}
    results = {(event.run, event.step, event.call) for event in taken if isinstance(event, RESULTS)}
    for one in asked:
        call_ = one.parent
        assert one.id in cancelled_ or (call_.run, call_.step, call_.call) in results


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
