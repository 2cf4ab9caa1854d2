"""The nodes of a graph begin when they may: joins, dead edges, loops, waits that are given up."""

import pytest

from processors.agent.modes import NodeState, WorkflowMode
from processors.agent.workflow.graph import begin, end, entered, settle, usable
from schemas.definitions.patterns import Edge, Workflow

CALL = {"kind": "tool", "tool": "t"}
WAIT = {"kind": "event", "event": "e"}


def graph(**nodes):
    return Workflow.model_validate({"start": "a", "nodes": nodes})


def gone(workflow, *done, mode=None):
    """The mode after these nodes were done, in order: a name, or a name and where it went."""
    mode = mode or entered(WorkflowMode(), "a")
    for one in done:
        name, to = one if isinstance(one, tuple) else (one, None)
        mode, ready = settle(workflow, mode)
        for other in ready:
            mode = begin(mode, other, NodeState("open"))
        assert mode.nodes[name].status == "open", f"{name} has not begun"
        edges = workflow.nodes[name].next if to is None else tuple(Edge(to=one) for one in to)
        mode = end(mode, workflow, name, "done", edges)
    return settle(workflow, mode)


DIAMOND = graph(
    a=CALL | {"next": ["b", "c"]}, b=CALL | {"next": "d"}, c=CALL | {"next": "d"}, d=CALL
)
RACE = graph(
    a=CALL | {"next": ["b", "c"]},
    b=CALL | {"next": "d"},
    c=WAIT | {"next": "d"},
    d=CALL | {"join": "any"},
)
CHOICE = graph(
    a={"kind": "branch", "cases": [{"when": "true", "next": "b"}], "otherwise": "c"},
    b=CALL | {"next": "d"},
    c=CALL | {"next": "e"},
    d=CALL,
    e=CALL | {"next": "d"},
)


@pytest.mark.parametrize(
    ("workflow", "done", "ready"),
    [
        (DIAMOND, [], ("a",)),
        (DIAMOND, ["a"], ("b", "c")),
        (DIAMOND, ["a", "b"], ()),
        (DIAMOND, ["a", "b", "c"], ("d",)),
        (RACE, ["a", "b"], ("d",)),
        (RACE, ["a", "c"], ("d",)),
        (CHOICE, [("a", ["b"])], ("b",)),
        (CHOICE, [("a", ["b"]), "b"], ("d",)),
        (CHOICE, [("a", ["c"]), "c", "e"], ("d",)),
    ],
)
def test_a_node_begins_when_its_ways_allow_it(workflow, done, ready):
    assert gone(workflow, *done)[1] == ready


def test_what_no_way_leads_to_any_more_is_dead_with_all_that_hangs_on_it():
    mode, _ = gone(CHOICE, ("a", ["b"]))
    assert {name for name, state in mode.nodes.items() if state.status == "dead"} == {"c", "e"}


def test_a_wait_whose_followers_have_begun_is_given_up_and_a_call_is_not():
    mode, _ = gone(RACE, "a", "b", "d")
    assert mode.nodes["c"].status == "dead"
    calls = graph(
        a=CALL | {"next": ["b", "c"]},
        b=CALL | {"next": "d"},
        c=CALL | {"next": "d"},
        d=CALL | {"join": "any"},
    )
    assert gone(calls, "a", "b", "d")[0].nodes["c"].status == "open"
    aside = graph(a=CALL | {"next": ["b", "c"]}, b=CALL, c=WAIT)
    assert gone(aside, "a", "b")[0].nodes["c"].status == "open", (
        "nobody else does what it waits to do"
    )


LOOP = graph(
    a=CALL | {"next": "b"},
    b=CALL | {"next": ["c", "d"]},
    c=CALL,
    d=CALL | {"next": {"to": "b", "at_most": 2}},
)


def test_a_way_back_waits_for_the_round_to_end_and_is_bounded():
    mode, ready = gone(LOOP, "a", "b", "d")
    assert ready == () and mode.loops == (("d", "b"),), "c is still at work"
    mode, ready = gone(LOOP, "c", mode=mode)
    assert ready == ("b",) and mode.rounds == {"d>b": 1} and mode.nodes.keys() == {"a"}
    assert usable(mode, "d", LOOP.nodes["d"].next)
    mode, ready = gone(LOOP, "b", "c", "d", mode=mode)
    assert ready == ("b",) and not usable(mode, "d", LOOP.nodes["d"].next)
    assert mode.counts == {"a": 1, "b": 2, "c": 2, "d": 2}


def test_an_outer_loop_begins_the_inner_one_anew():
    nested = graph(
        a=CALL | {"next": "b"},
        b=CALL | {"next": "c"},
        c={
            "kind": "branch",
            "cases": [{"when": "true", "next": {"to": "b", "at_most": 1}}],
            "otherwise": "d",
        },
        d=CALL | {"next": {"to": "a", "at_most": 1}},
    )
    mode, _ = gone(nested, "a", "b")
    mode, _ = settle(
        nested,
        end(
            begin(mode, "c", NodeState("open")),
            nested,
            "c",
            "done",
            nested.nodes["c"].cases[0].next,
        ),
    )
    assert mode.rounds == {"c>b": 1} and mode.nodes.keys() == {"a"}
    mode, ready = gone(nested, "b", ("c", ["d"]), "d", mode=mode)
    assert ready == ("a",) and mode.rounds == {"d>a": 1} and mode.nodes == {}
