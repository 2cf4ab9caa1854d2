"""Each mistake in a graph is found before it runs, with its location and what to do."""

import pytest

from processors.agent.workflow.validate import mistakes
from schemas.definitions.patterns import Workflow

CALL = {"kind": "tool", "tool": "t"}


def graph(start="a", answer=None, **nodes):
    return Workflow.model_validate({"start": start, "nodes": nodes, "answer": answer})


@pytest.mark.parametrize(
    "workflow",
    [
        graph(
            a=CALL | {"next": "b"},
            b={"kind": "branch", "cases": [{"when": "true", "next": {"to": "a", "at_most": 3}}]},
        ),
        graph(
            a=CALL | {"next": ["b", "c"]},
            b=CALL | {"next": "d"},
            c={"kind": "wait", "seconds": 1, "next": "d"},
            d={"kind": "model", "prompt": "nodes.b.result", "join": "any"},
            answer="nodes.d.result",
        ),
        graph(a={"kind": "branch", "cases": [{"when": True}, {"when": "false"}]}),
        graph(a=CALL | {"compensate": {"tool": "u", "arguments": {"x": "nodes.a.result"}}}),
        graph(
            a=CALL | {"next": "b"},
            b=CALL
            | {
                "arguments": {"x": "has(nodes.b) ? nodes.b.count : 0"},
                "next": {"to": "b", "at_most": 2},
            },
        ),
    ],
)
def test_a_graph_that_holds_is_passed(workflow):
    assert mistakes(workflow) == []


@pytest.mark.parametrize(
    ("workflow", "place", "words"),
    [
        (graph(start="z", a=CALL), ("start",), "no node 'z'"),
        (graph(a=CALL | {"next": "z"}), ("nodes", "a", "next"), "no node 'z'"),
        (graph(a=CALL | {"on_error": "z"}), ("nodes", "a", "on_error"), "no node 'z'"),
        (
            graph(a={"kind": "branch", "cases": [{"when": "true", "next": "z"}]}),
            ("nodes", "a", "cases", 0, "next"),
            "no node",
        ),
        (graph(a=CALL, b=CALL), ("nodes", "b"), "no way leads from 'a' to node 'b'"),
        (
            graph(a=CALL | {"next": "b"}, b=CALL | {"next": "a"}),
            ("nodes", "b", "next"),
            "{to: a, at_most: N}",
        ),
        (graph(a=CALL | {"next": "a"}), ("nodes", "a", "next"), "without a bound"),
        (
            graph(
                a=CALL | {"next": ["b", "c"]},
                b=CALL | {"next": "c"},
                c=CALL | {"on_error": ["a", {"to": "b", "at_most": 1}]},
            ),
            ("nodes", "c", "on_error"),
            "stands alone",
        ),
        (
            graph(
                a=CALL | {"next": ["b", "c"]}, b=CALL, c=CALL | {"next": {"to": "b", "at_most": 1}}
            ),
            ("nodes", "c", "next"),
            "leads onward, not back",
        ),
        (
            graph(a=CALL | {"arguments": {"x": [1, "1 +"]}}),
            ("nodes", "a", "arguments", "x", 1),
            "cannot be used",
        ),
        (
            graph(a=CALL | {"arguments": {"x": "nodes.z.result"}}),
            ("nodes", "a", "arguments", "x"),
            "no node 'z'",
        ),
        (
            graph(a=CALL | {"arguments": {"x": "nodes.b.result"}, "next": "b"}, b=CALL),
            ("nodes", "a", "arguments", "x"),
            "never comes before",
        ),
        (
            graph(a={"kind": "model", "prompt": "Say hello"}),
            ("nodes", "a", "prompt"),
            "Syntax error",
        ),
        (
            graph(a={"kind": "branch", "cases": [{"when": "maybe"}]}),
            ("nodes", "a", "cases", 0, "when"),
            "speaks of 'maybe'",
        ),
        (graph(a={"kind": "tool"}), ("nodes", "a"), "needs `tool`"),
        (
            graph(a={"kind": "wait", "seconds": 1, "tool": "t"}),
            ("nodes", "a", "tool"),
            "has no `tool`",
        ),
        (
            graph(a={"kind": "branch", "cases": [], "next": "a"}),
            ("nodes", "a", "next"),
            "`otherwise`",
        ),
        (graph(a={"kind": "fail", "next": "a"}), ("nodes", "a", "next"), "has no `next`"),
        (graph(a=CALL, answer="nodes.z.result"), ("answer",), "no node 'z'"),
    ],
)
def test_a_mistake_is_told_at_its_place(workflow, place, words):
    found = mistakes(workflow)
    assert [at for at, _ in found] == [place]
    assert words in found[0][1]
