"""Whatever the graph and the answers, in whatever order, a workflow ends once, and all that it did
is compensated or named.
"""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from processors.agent.machine import TRANSITIONS, advance
from processors.agent.state import Idle, Session
from processors.agent.workflow.graph import reach
from processors.agent.workflow.validate import mistakes
from schemas.definitions.kinds import Agent, Definitions, Tool
from schemas.definitions.limits import Limits
from schemas.definitions.patterns import Workflow
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import RunFinished, ToolCalled, ToolFailed, ToolUncertain
from schemas.events.agent.signals import Signalled
from tests.support.processors import (
    MODEL,
    TENANT,
    at,
    cleared,
    failed,
    heard,
    ident,
    of_tool,
    told,
    woke,
)

SESSION = TypeAdapter(Session)
WORK = Tool(name="work", url="http://t", effect="once")
UNWORK = Tool(name="unwork", url="http://t", effect="idempotent", parameters={"type": "object"})
STEPS = 40
NAMES = [f"n{nth}" for nth in range(7)]


def drawn(choose):
    """A graph that `weir apply` would take: ways lead onward, and some back, bounded."""
    nodes = {}
    for nth, name in enumerate(NAMES):
        later = NAMES[nth + 1 :]
        ways = [choose.sample(later, min(len(later), choose.randint(1, 2))) for _ in range(2)]
        kind = choose.choice(
            ["tool"] * 4 + ["model", "wait", "event", "branch"] * 2 + ["fail"] * (nth > 2)
        )
        node = {"kind": kind, "join": choose.choice(["all", "any"]), "next": ways[0]}
        if kind == "tool":
            node |= {"tool": "work"} | choose.choice(
                [
                    {},
                    {
                        "compensate": {
                            "tool": "unwork",
                            "arguments": {"what": f"nodes.{name}.result"},
                        }
                    },
                ]
            )
        if kind == "wait":
            node["seconds"] = choose.randint(1, 500)
        if kind == "event":
            node |= {"event": "go"} | choose.choice([{}, {"timeout_s": 300}])
        if kind == "branch":
            del node["next"]
            back = [{"to": choose.choice(NAMES[: nth + 1]), "at_most": choose.randint(1, 2)}]
            when = choose.choice(
                ["true", "false", "input.text == 'x'", "1 / 0 > 1", "size(nodes) > 3"]
            )
            node |= {
                "cases": [{"when": when, "next": choose.choice([back, ways[0]])}],
                "otherwise": ways[1],
            }
        if kind == "fail":
            node = {"kind": kind, "message": "input.text"}
        elif choose.random() < 0.3:
            node["on_error"] = ways[1]
        nodes[name] = node
    graph = Workflow.model_validate({"start": "n0", "nodes": nodes})
    kept = reach(graph, "n0")
    nodes = {name: node for name, node in nodes.items() if name in kept}
    for name in nodes:  # a way back that leads onward, or over what cannot be reached, is none
        for case in nodes[name].get("cases", ()):
            case["next"] = [
                way
                for way in case["next"]
                if isinstance(way, str) or (way["to"] in kept and name in reach(graph, way["to"]))
            ]
    return Workflow.model_validate({"start": "n0", "nodes": nodes})


def answer(question, choose, now):
    if isinstance(question, ModelAsked):
        kind = choose.choice(["say", "say", "say", "fail", "nothing", "length"])
        if kind == "fail":
            return failed("r1", question.step, seconds=now)
        return heard(
            "r1",
            question.step,
            content=None if kind == "nothing" else "said",
            seconds=now,
            finish_reason="length" if kind == "length" else "stop",
        )
    kind = choose.choice(["return"] * 6 + ["fail", "uncertain"])
    if kind == "return":
        return told("r1", question.step, question.call, question.tool, '{"ok":true}', now)
    return of_tool(
        ToolFailed if kind == "fail" else ToolUncertain,
        "r1",
        question.step,
        question.call,
        question.tool,
        now,
        **({"reason": "timeout"} if kind == "fail" else {}),
    )


def played(graph, choose):
    """One run to its end: the calls that came back in order, all that was said, the session
    afterwards.
    """
    agent = Agent(
        name="support",
        prompt="Go.",
        model="small",
        pattern="workflow",
        workflow=graph,
        limits=Limits(steps=STEPS, seconds=3_600),
    )
    known = Definitions.of(TENANT, MODEL, WORK, UNWORK, agent)
    session = Idle()
    said = []
    open_questions = []
    done = []
    taken = []
    now = 0.0
    todo = [cleared("r1")]
    for nth in range(2_000):
        now += choose.random()
        if todo:
            event = todo.pop()
        elif open_questions and choose.random() < 0.8:
            question = open_questions.pop(choose.randrange(len(open_questions)))
            event = answer(question, choose, now)
            done.append((question, event))
        elif taken and choose.random() < 0.3:
            event = choose.choice(taken)  # once more
        elif session.wake_at and (not open_questions or session.wake_at <= at(now)):
            now = max(now, (session.wake_at - at(0)).total_seconds())
            event = woke(now)
        else:
            event = Signalled(
                id=ident(f"go/{nth}"),
                at=at(now),
                tenant="acme",
                session="s",
                name="go",
                payload="{}",
            )
        before = session.phase
        session, more = advance(session, event, known)
        assert (
            session.phase in TRANSITIONS[before, type(event)].to
            if (before, type(event)) in TRANSITIONS
            else not more
        )
        taken.append(event)
        said += more
        open_questions += [one for one in more if isinstance(one, ModelAsked | ToolCalled)]
        assert SESSION.validate_json(SESSION.dump_json(session)) == session
        if any(isinstance(one, RunFinished) for one in more):
            return session, said, done
    raise AssertionError(f"it never ends: {session}")


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_workflow_ends_once_and_what_it_did_is_undone_or_named(seed):
    choose = random.Random(seed)
    graph = drawn(choose)
    assert mistakes(graph) == []
    session, said, done = played(graph, choose)
    [end] = [event for event in said if isinstance(event, RunFinished)]
    assert isinstance(session, Idle) and session.wake_at is None
    assert len({event.id for event in said}) == len(said)
    calls = [event for event in said if isinstance(event, ToolCalled)]
    assert len({call.call for call in calls}) == len(calls)
    worked = [
        question.call
        for question, event in done
        if isinstance(question, ToolCalled)
        and question.tool == "work"
        and not isinstance(event, ToolFailed)
    ]
    undone = [
        call.call.removeprefix("undo:").partition("#")[0] for call in calls if call.tool == "unwork"
    ]
    if end.outcome == "completed":
        assert not undone and not end.not_undone
        return
    named = [line.partition(" ")[0] for line in end.not_undone.splitlines()]
    for node in {call.partition("#")[0] for call in worked}:
        assert node in undone or node in named, (node, end.detail)
    order = [call.partition("#")[0] for call in reversed(worked)]
    found = iter(order)
    assert all(any(node == one for one in found) for node in undone), (
        "the last thing done is undone first"
    )


def test_played_again_it_says_the_same():
    for seed in range(10):
        graph = drawn(random.Random(seed))
        assert played(graph, random.Random(seed)) == played(graph, random.Random(seed))


def test_loops_that_wait_for_nothing_are_stopped():
    branch = {"kind": "branch", "cases": [{"when": "true", "next": {"to": "n0", "at_most": 1_000}}]}
    graph = Workflow.model_validate(
        {
            "start": "n0",
            "nodes": {"n0": {"kind": "branch", "cases": [], "otherwise": "n1"}, "n1": branch},
        }
    )
    _, said, _ = played(graph, random.Random(1))
    assert [(event.outcome, event.reason) for event in said if isinstance(event, RunFinished)] == [
        ("stopped", "loop")
    ]


def test_results_that_are_too_large_fail_the_workflow_and_are_undone_too():
    node = {
        "kind": "tool",
        "tool": "work",
        "compensate": {"tool": "unwork", "arguments": {"n": "size(input.text)"}},
    }
    graph = Workflow.model_validate({"start": "a", "nodes": {"a": node | {"next": "b"}, "b": node}})
    agent = Agent(
        name="support",
        prompt="Go.",
        model="small",
        pattern="workflow",
        workflow=graph,
        limits=Limits(seconds=60),
    )
    known = Definitions.of(TENANT, MODEL, WORK, UNWORK, agent)
    session, [called] = advance(Idle(), cleared("r1"), known)
    for call in ("a#1", "b#1"):
        session, [called] = advance(
            session, told("r1", called.step, call, "work", "x" * 400_000), known
        )
    assert called.call.startswith("undo:b#") and json.loads(called.arguments) == {"n": 13}
    session, said = advance(session, woke(61), known)
    [end] = [event for event in said if isinstance(event, RunFinished)]
    assert end.not_undone.splitlines() == ["b (its undoing was under way)", "a (it was not tried)"]
