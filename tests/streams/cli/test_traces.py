"""A trace shows every span once, below its parent, whatever a foreign trace claims."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.cli.runs import traces
from streams.engine.errors import UserError

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def span(name: str, parent: str = "", second: int = 0, **fields) -> dict:
    return {
        "span": name,
        "parent": parent,
        "name": name,
        "started_at": NOON + timedelta(seconds=second),
        "tenant": "acme",
        "operation": "chat",
        "status": "ok",
        "error_type": "",
        "wait_ms": 5,
        "source": "otel",
        "input_tokens": 7,
        "output_tokens": 3,
        "cost_usd": Decimal("0.5"),
        "output": "Sent.",
    } | fields


@pytest.mark.parametrize(
    ("spans", "shown"),
    [
        ([span("a"), span("b", "a"), span("c", "b"), span("d", "a")], "a0 b1 c2 d1"),
        ([span("b", "a"), span("a")], "a0 b1"),  # the parent came later
        ([span("b", "gone"), span("c", "b")], "b0 c1"),
        ([span("a", "a")], "a0"),
        ([span("a", "b"), span("b", "a"), span("c", "b")], "a0 b1 c2"),
        ([], ""),
    ],
)
def test_a_span_stands_below_its_parent(spans, shown):
    assert " ".join(f"{each['span']}{depth}" for depth, each in traces.tree(spans)) == shown


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdefg")), max_size=12))
def test_every_span_is_shown_once(pairs):
    spans = [span(name, parent) for name, parent in pairs]
    assert sorted(id(each) for _, each in traces.tree(spans)) == sorted(map(id, spans))


def test_a_trace_of_ten_thousand_spans_in_a_chain_is_a_tree():
    spans = [span(f"{n:05}", f"{n - 1:05}") for n in range(10_000)]
    assert [depth for depth, _ in traces.tree(spans)][-1] == traces.DEPTH_MAX


@pytest.fixture
def rows(monkeypatch):
    """What ClickHouse would answer, by query."""
    answers: dict[str, list[dict]] = {}
    monkeypatch.setattr(traces, "asked", lambda name, **given: answers[name][: given["limit"]])
    return answers


def test_a_trace_is_shown_as_far_as_the_limit(rows, capsys):
    rows["trace_spans"] = [
        span("root", operation="invoke_agent"),
        span("inside", "root", cost_usd=None),
        span("third"),
    ]
    traces.traces("A" * 32, limit=2)
    shown = capsys.readouterr().out
    assert f"Trace {'a' * 32} of acme" in shown and "  inside" in shown and "third" not in shown
    assert "unpriced" in shown and "and more than these 2: say --limit" in shown


def test_traces_are_listed_with_what_is_not_in_their_sum(rows, capsys):
    row = {
        "began": NOON,
        "trace": "a" * 32,
        "tenant": "acme",
        "by_agent": "shop",
        "sources": ["otel", "weir"],
        "steps": 4,
        "errors": 1,
        "took_ms": 20,
        "sent": 9,
        "generated": 3,
        "spent_usd": Decimal("0.25"),
        "without_price": 2,
    }
    rows["traces"] = [row, row | {"spent_usd": None}, row | {"spent_usd": None, "without_price": 0}]
    traces.traces(limit=5)
    shown = capsys.readouterr().out
    assert "otel, weir" in shown and "$0.250000 + 2 unpriced" in shown and "9/3" in shown


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "there is no trace"),
        ([span("a"), span("b", tenant="other")], "acme, other each have a trace"),
    ],
)
def test_what_cannot_be_shown_is_said_with_what_to_do(rows, found, words):
    rows["trace_spans"] = found
    with pytest.raises(UserError, match=words):
        traces.traces("a" * 32, limit=10)
