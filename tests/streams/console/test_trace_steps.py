"""Do steps of any sender become a waterfall and a call graph in which none is left out?"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.console.trace_steps import (
    DEPTH_SHOWN,
    NODES_SHOWN,
    call_tree,
    depth_first,
    graph,
    with_positions,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def span(name, own, parent="", at=0, **more):
    return {
        "name": name,
        "span": own,
        "parent": parent,
        "operation": "chat",
        "status": "ok",
        "cost_usd": None,
        "wait_ms": 10,
        "started_at": NOON + timedelta(milliseconds=at),
    } | more


TEAM = [
    span("invoke_agent lead", "a", wait_ms=100),
    span("chat small", "b", "a", cost_usd=Decimal("0.1")),
    span("invoke_agent aide", "c", "a", at=20, status="error"),
    span("chat small", "d", "c", at=21),
    span("chat small", "e", "a", at=50),
]


def test_parts_stand_below_what_they_are_part_of_and_keep_their_order():
    late = [TEAM[3], *TEAM[:3], TEAM[4]]
    assert [(depth, one["span"]) for depth, one in depth_first(late)] == [
        (0, "a"),
        (1, "b"),
        (1, "c"),
        (2, "d"),
        (1, "e"),
    ]


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ([], []),
        ([span("x", "a", "missing")], [(0, "a")]),
        ([span("x", "a", "a")], [(0, "a")]),
        ([span("x", "a", "b"), span("y", "b", "a")], [(0, "a"), (1, "b")]),
        ([span("x", "", ""), span("y", "", "")], [(0, ""), (0, "")]),
        ([span("x", "a"), span("y", "a"), span("z", "b", "a")], [(0, "a"), (1, "b"), (0, "a")]),
    ],
)
def test_no_parent_that_is_told_loses_a_step(spans, told):
    assert [(depth, one["span"]) for depth, one in depth_first(spans)] == told


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", *"abcdefg"])), max_size=20)
)
def test_every_step_is_told_once(links):
    spans = [span(f"n{nth}", own, parent) for nth, (own, parent) in enumerate(links)]
    assert sorted(one["name"] for _, one in depth_first(spans)) == sorted(
        one["name"] for one in spans
    )
    assert sum(1 for _ in with_positions(spans)) == len(spans) and sum_of(call_tree(spans)) == len(
        spans
    )


def sum_of(node):
    return node.calls + sum(sum_of(part) for part in node.parts.values())


def test_bars_lie_within_the_whole():
    bars = with_positions(TEAM)
    assert (bars[0]["x"], bars[0]["w"]) == (0, 1000) and all(0 <= bar["x"] <= 1000 for bar in bars)


def test_calls_of_one_name_by_one_caller_are_added_up():
    [lead] = call_tree(TEAM).parts.values()
    assert [(node.name, node.told) for node in lead.parts.values()] == [
        ("chat small", "2 ×, 20 ms, $0.100000"),
        ("invoke_agent aide", "1 ×, 10 ms, 1 failed"),
    ]
    assert (
        'aria-label="' in graph(TEAM) and graph(TEAM).count('class="box"') == 4 and graph([]) == ""
    )


def test_a_deep_or_wide_trace_keeps_the_graph_small_and_says_so():
    deep = [span(f"n{nth}", str(nth), str(nth - 1) if nth else "") for nth in range(10_000)]
    assert graph(deep).count('class="box"') <= NODES_SHOWN + DEPTH_SHOWN
    assert (
        len(with_positions(deep)) == 10_000
        and max(bar["depth"] for bar in with_positions(deep)) == DEPTH_SHOWN
    )
    wide = [span("root", "0"), *(span(f"tool {nth}", str(nth), "0") for nth in range(1, 1_000))]
    assert graph(wide).count(
        'class="box"'
    ) <= NODES_SHOWN + DEPTH_SHOWN and "more are not drawn" in graph(wide)


def test_hostile_names_are_only_text():
    evil = '"><script>alert(1)</script>'
    drawn = graph([span(evil, "a", operation=evil)])
    assert "<script" not in drawn and "&lt;script&gt;" in drawn
