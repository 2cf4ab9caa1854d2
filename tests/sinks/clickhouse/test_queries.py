"""Does every ready query give the figures that the rows add up to?"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client

from schemas.events.agent.approvals import ApprovalAsked, ApprovalRefused, ApprovalResolved
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.agent.signals import SignalRefused
from schemas.events.attempts import AttemptEnded
from schemas.events.base import Event
from schemas.events.feedback import FeedbackJoined
from schemas.events.guardrails import VerdictReached
from schemas.events.operations import BreakerMoved, DeadLettered
from schemas.events.tracing import SpanEnded
from schemas.events.usage import TokensUsed, UsageTotalled
from schemas.events.values import Tokens
from sinks.clickhouse.connection import append_rows, connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.queries.catalogue import QUERIES
from sinks.clickhouse.queries.money import MONEY
from sinks.clickhouse.queries.quality import QUALITY
from sinks.clickhouse.queries.traces import TRACES
from sinks.clickhouse.sink import ClickHouseSink
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
BY_NAME = {query.name: query for query in QUERIES}
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(hours=2)
RUN = UUID(int=77)


def run_of(run: int, outcome: str, wait_ms: int, tenant: str = "acme", **more: Any) -> RunFinished:
    return RunFinished(
        **base(tenant), run=UUID(int=run), outcome=outcome, started_at=NOW, wait_ms=wait_ms, **more
    )


def base(tenant: str = "acme", at: datetime = NOW) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "at": at,
        "tenant": tenant,
        "session": "s",
        "agent": "support",
        "agent_version": 2,
    }


def span(
    name: str,
    operation: str,
    wait_ms: int,
    second: int,
    status: str = "ok",
    tenant: str = "acme",
    **more: Any,
) -> SpanEnded:
    at = NOW + timedelta(seconds=second)
    return SpanEnded(
        **base(tenant, at),
        run=RUN,
        trace="a" * 32,
        span=f"{second:016x}",
        name=name,
        operation=operation,
        started_at=at,
        wait_ms=wait_ms,
        status=status,
        **more,
    )


def used(tenant: str, user: str, model: str, cost: str | None, hour: int = 0) -> TokensUsed:
    return TokensUsed(
        **base(tenant, NOW + timedelta(hours=hour)),
        run=RUN,
        user=user,
        model=model,
        provider="p",
        tokens=Tokens(input_tokens=100, output_tokens=10),
        cost_usd=cost,
    )


def joined(version: int, score: float) -> FeedbackJoined:
    return FeedbackJoined(
        **base() | {"agent_version": version}, run=RUN, score=score, outcome="completed", delay_ms=1
    )


def asked(n: int) -> ApprovalAsked:
    """The last of four is over its time."""
    return ApprovalAsked(
        **base() | {"id": UUID(int=100 + n)},
        run=RUN,
        step=1,
        call="c",
        tool="refund",
        arguments="{}",
        approvers=("mara",),
        override=True,
        expires_at=NOW + timedelta(days=1 + n if n < 3 else -1),
    )


def attempt(
    model: str, reason: str, wait_ms: int, cost: str | None, tokens: int = 0, hedge: bool = False
) -> AttemptEnded:
    return AttemptEnded(
        **base(),
        run=RUN,
        step=1,
        nth=1,
        route="main",
        model=model,
        provider="p",
        reason=reason,
        wait_ms=wait_ms,
        tokens=Tokens(input_tokens=tokens),
        cost_usd=cost,
        wasted=bool(reason),
        hedge=hedge,
    )


EVENTS: tuple[list[Event], ...] = (
    [
        SignalRefused(
            **{name: value for name, value in base().items() if not name.startswith("agent")},
            name="paid",
            reason="too_many",
        )
        for _ in range(2)
    ],
    [
        run_of(1, "completed", 100, cost_usd="0.5"),
        run_of(2, "completed", 300),
        run_of(3, "failed", 900, reason="model", not_undone="seat (too late)"),
        run_of(4, "blocked", 5, reason="card"),
        run_of(5, "completed", 7, tenant="other"),
    ],
    [RequestRefused(**base(), run=UUID(int=6), text="hi", reason="quota")],
    [
        *(
            span(
                "chat small",
                "chat",
                ms,
                100 + ms,
                request_model="small",
                first_token_ms=ms // 2,
                tokens=Tokens(output_tokens=2),
            )
            for ms in range(1, 101)
        ),
        span("look_up", "execute_tool", 50, 5, status="error"),
        span("chat small", "chat", 9, 1, tenant="other"),
    ],
    [
        used("acme", "ann", "small", "0.10"),
        used("acme", "ann", "small", "0.20", hour=1),
        used("acme", "bob", "odd", None),
        used("other", "eve", "small", "9"),
    ],
    [
        UsageTotalled(
            id=uuid4(),
            at=NOW,
            tenant="acme",
            until=NOW + timedelta(minutes=1),
            calls=2,
            unpriced_calls=1,
            tokens=Tokens(),
            cost_usd="0.1",
        )
    ],
    [
        VerdictReached(
            **base(),
            run=RUN,
            stage="request",
            policy="house",
            policy_version=1,
            rule="card",
            action="block",
            enforced=True,
            findings=count,
        )
        for count in (1, 2)
    ],
    [asked(n) for n in range(4)],
    [
        ApprovalResolved(
            **base(),
            run=RUN,
            approval=UUID(int=102),
            step=1,
            call="c",
            tool="refund",
            status="denied",
        )
    ],
    [
        ApprovalRefused(
            id=uuid4(),
            at=NOW,
            tenant="acme",
            session="s",
            approval=UUID(int=101),
            by="jo",
            decision="deny",
            reason="not_an_approver",
        )
    ],
    [
        attempt("cheap", "", 100, "0.1", 110),
        attempt("cheap", "check_failed", 300, "0.1", 110),
        attempt("cheap", "check_failed", 200, "0.2", 110),
        attempt("dear", "", 900, "1", 110),
        attempt("dear", "timeout", 5_000, None),
        attempt("dear", "cancelled", 40, None, hedge=True),
        attempt("dear", "timeout", 5_000, None),
        attempt("dear", "http_503", 3, "0"),
    ],
    [joined(1, 1), joined(2, 1), joined(2, -1), joined(2, 0.3)],
    [
        BreakerMoved(
            **base(at=NOW + timedelta(seconds=second)),
            run=RUN,
            kind=kind,
            provider="p",
            name=name,
            state=state,
            open_ms=5_000 if state == "open" else 0,
            runner=runner,
        )
        for second, kind, name, state, runner in (
            (0, "model", "dear", "open", "calls-0"),
            (1, "model", "dear", "open", "calls-1"),
            (5, "model", "dear", "half_open", "calls-0"),
            (6, "model", "dear", "closed", "calls-0"),
            (2, "tool", "look_up", "open", "calls-0"),
            (7, "tool", "look_up", "half_open", "calls-0"),
            (8, "tool", "look_up", "open", "calls-0"),
            (9, "tool", "look_up", "half_open", "calls-0"),
        )
    ],
    [
        DeadLettered(
            id=uuid4(),
            at=NOW,
            tenant="acme",
            source=f"t:0:{n}",
            topic_name="t",
            partition=0,
            offset=n,
            consumer="session",
            reason=reason,
        )
        for n, reason in enumerate(("late", "late", "invalid"))
    ],
)


@pytest.fixture(scope="module")
def filled(clickhouse_url: str) -> Iterator[Client]:
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    sink = ClickHouseSink(clickhouse_url, name)
    for number, events in enumerate(EVENTS):
        sink.write(sink.prepare(batch_of(*events)), f"sample:{number}")
    append_rows(
        clickhouse_url,
        name,
        "balance",
        (
            "minute",
            "topic",
            "partition",
            "produced",
            "landed",
            "dead_lettered",
            "lost",
            "counted_at",
        ),
        [
            (NOW, "t", 0, 5, 3, 1, 1, NOW),
            (NOW, "t", 0, 6, 5, 1, 0, NOW + timedelta(minutes=1)),
            (NOW, "t", 1, 2, 2, 0, 0, NOW),
        ],
    )
    append_rows(
        clickhouse_url,
        name,
        "delays",
        ("at", "consumer", "behind", "oldest_ms"),
        [(NOW, "calls", 9, 700), (NOW + timedelta(minutes=1), "calls", 0, 0)],
    )
    with connect(clickhouse_url, name) as client:
        yield client


def answers(client: Client, name: str, **parameters: Any) -> list[dict[str, Any]]:
    query = BY_NAME[name]
    return list(client.query(query.sql, parameters=query.parameters | parameters).named_results())


def picked(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize(
    "name, parameters, columns, rows",
    [
        (
            "cost_over_time",
            {"tenant": "acme"},
            ("model", "calls", "input_tokens", "cost_usd", "unpriced_calls"),
            [
                ("small", 1, 100, Decimal("0.1"), 0),
                ("odd", 1, 100, Decimal(0), 1),
                ("small", 1, 100, Decimal("0.2"), 0),
            ],
        ),
        (
            "latency_by_step",
            {"tenant": "acme"},
            ("operation", "name", "steps", "errors", "p50_ms", "p99_ms", "max_ms"),
            [
                ("chat", "chat small", 100, 0, 50, 99, 100),
                ("execute_tool", "look_up", 1, 1, 50, 50, 50),
            ],
        ),
        (
            "outcome_rates",
            {},
            ("tenant", "all_runs", "completed", "failed_share", "blocked_share", "refused_share"),
            [("acme", 5, 2, 0.2, 0.2, 0.2), ("other", 1, 1, 0, 0, 0)],
        ),
        (
            "top_spenders",
            {},
            ("tenant", "user", "calls", "tokens", "spent_usd", "unpriced_calls"),
            [
                ("other", "eve", 1, 110, Decimal(9), 0),
                ("acme", "ann", 2, 220, Decimal("0.3"), 0),
                ("acme", "bob", 1, 110, None, 1),
            ],
        ),
        (
            "feedback_by_version",
            {},
            ("agent_version", "n", "mean_score", "good_share", "bad_share"),
            [(1, 1, 1, 1, 0), (2, 3, 0.1, 0.667, 0.333)],
        ),
        (
            "slowest_runs",
            {"limit": 2},
            ("run", "outcome", "wait_ms"),
            [(UUID(int=3), "failed", 900), (UUID(int=2), "completed", 300)],
        ),
        (
            "refused_and_blocked",
            {"tenant": "acme"},
            ("outcome", "reason", "how_many"),
            [("blocked", "card", 1), ("failed", "model", 1), ("refused", "quota", 1)],
        ),
        (
            "verdicts_by_rule",
            {},
            ("policy", "rule", "action", "verdicts", "all_findings"),
            [("house", "card", "block", 2, 3)],
        ),
        ("unpriced_usage", {}, ("model", "calls_without_price", "all_calls"), [("odd", 1, 1)]),
        (
            "open_approvals",
            {},
            ("approval", "tool", "approvers", "override"),
            [(UUID(int=100), "refund", ["mara"], True), (UUID(int=101), "refund", ["mara"], True)],
        ),
        (
            "waste_by_model",
            {},
            (
                "model",
                "reason",
                "attempts_wasted",
                "of_them_hedges",
                "tokens",
                "wasted_usd",
                "may_be_billed",
            ),
            [
                ("cheap", "check_failed", 2, 0, 220, Decimal("0.3"), 0),
                ("dear", "timeout", 2, 0, 0, 0, 2),
                ("dear", "cancelled", 1, 1, 0, 0, 1),
                ("dear", "http_503", 1, 0, 0, 0, 0),
            ],
        ),
        (
            "models_health",
            {},
            (
                "model",
                "attempts_made",
                "answered",
                "answered_share",
                "used",
                "p50_ms",
                "p95_ms",
                "fails_most_by",
            ),
            [("dear", 5, 1, 0.2, 1, 900, 900, "timeout"), ("cheap", 3, 3, 1, 1, 200, 290, "")],
        ),
        (
            "breakers",
            {},
            (
                "kind",
                "provider",
                "name",
                "open_in",
                "half_open_in",
                "runners_seen",
                "opened",
                "open_until",
            ),
            [
                (
                    "model",
                    "p",
                    "dear",
                    1,
                    0,
                    2,
                    2,
                    (NOW + timedelta(seconds=6)).replace(tzinfo=None),
                ),
                ("tool", "p", "look_up", 0, 1, 1, 2, None),
            ],
        ),
        (
            "first_token",
            {},
            ("model", "answers", "first_p50_ms", "first_p95_ms", "whole_p95_ms", "tokens_per_s"),
            [("small", 100, 25, 47, 95, 78.4)],
        ),
        ("not_undone", {}, ("run", "not_undone"), [(UUID(int=3), "seat (too late)")]),
        (
            "refused_signals",
            {},
            ("name", "reason", "signals", "example"),
            [("paid", "too_many", 2, "s")],
        ),
        (
            "dead_letters",
            {},
            ("topic_name", "consumer", "reason", "letters"),
            [("t", "session", "late", 2), ("t", "session", "invalid", 1)],
        ),
        (
            "completeness",
            {},
            ("topic", "produced", "landed", "dead_lettered", "lost", "doubled"),
            [("t", 8, 7, 1, 0, 0)],
        ),
        (
            "delays",
            {"minutes": 600},
            ("consumer", "behind_now", "oldest_now_ms", "behind_at_worst", "oldest_at_worst_ms"),
            [("calls", 0, 0, 9, 700)],
        ),
        (
            "balance",
            {},
            ("checked", "all_rows", "doubled", "in_totals", "off"),
            [
                ("feedback", 4, 0, 4, 0),
                ("runs", 6, 0, 6, 0),
                ("spans", 102, 0, 102, 0),
                ("token_usage", 4, 0, 4, 0),
            ],
        ),
        (
            "usage_against_stream",
            {"tenant": "acme", "until": NOW + timedelta(minutes=1)},
            ("calls_here", "calls_streamed", "cost_here_usd", "cost_streamed_usd"),
            [(2, 2, Decimal("0.1"), Decimal("0.1"))],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_ready_query_gives_the_figures(filled, name, parameters, columns, rows):
    found = picked(answers(filled, name, **parameters), *columns)
    if name in ("refused_and_blocked", "balance"):
        found.sort()
    assert found == rows


def test_a_run_comes_back_as_a_whole_trace_in_order(filled):
    found = answers(filled, "trace", run=str(RUN))
    assert len(found) == 102
    assert [row["started_at"] for row in found] == sorted(row["started_at"] for row in found)


def test_the_parts_of_every_table_are_told_and_few(filled, clickhouse_url):
    sink = ClickHouseSink(clickhouse_url, filled.database)
    for number in range(10):
        sink.write(sink.prepare(batch_of(used("parted", "ann", "small", "1"))), f"part:{number}")
    found = answers(filled, "parts")
    assert {"runs", "spans", "token_usage", "calls_by_minute"} <= {row["table"] for row in found}
    assert all(row["parts"] <= 200 and row["is_well"] for row in found)


def test_every_query_has_an_example_that_names_its_parameters():
    assert (
        BY_NAME["top_spenders"].example
        == "./weir query --named top_spenders -p tenant= -p hours=24 -p limit=20"
    )
    assert "'until=2100-01-01 00:00:00'" in BY_NAME["usage_against_stream"].example
    assert all(
        (query.purpose and query.example.endswith(query.name)) or query.parameters
        for query in QUERIES
    )


def test_no_ready_query_needs_final_or_a_join():
    assert not [
        query.name for query in QUERIES if {"FINAL", "JOIN"} & set(query.sql.upper().split())
    ]


def test_every_ready_query_is_tried_here():
    [cases] = [
        mark.args[1]
        for mark in test_a_ready_query_gives_the_figures.pytestmark
        if mark.name == "parametrize"
    ]
    assert {case[0] for case in cases} | {
        "parts",
        "trace",
        "completeness_minutes",
    } == BY_NAME.keys() - {query.name for query in (*MONEY, *TRACES, *QUALITY)}
