"""Do profiles and drift land, and do the queries of quality group what is alike?"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from schemas.events.agent.runs import RunFinished
from schemas.events.attempts import AttemptEnded
from schemas.events.quality import DriftFound, HourProfiled
from schemas.events.tracing import SpanEnded
from sinks.clickhouse.queries.catalogue import by_name
from sinks.clickhouse.sink import ClickHouseSink
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(hours=2)


def of_run(kind, number: int, **more):
    return kind(
        **{
            "id": uuid4(),
            "at": NOW + timedelta(seconds=number),
            "tenant": "acme",
            "session": "s",
            "agent": "support",
            "agent_version": 1,
            "run": UUID(int=number),
        }
        | more
    )


def failed(number: int, detail: str, reason: str = "tool", outcome: str = "failed"):
    return of_run(
        RunFinished,
        number,
        outcome=outcome,
        reason=reason,
        detail=detail,
        model="small",
        started_at=NOW,
        wait_ms=1,
    )


def tool(number: int, name: str, error: str = ""):
    return of_run(
        SpanEnded,
        number,
        trace="a" * 32,
        span=f"{number:016x}",
        name=f"execute_tool {name}",
        operation="execute_tool",
        started_at=NOW,
        wait_ms=number,
        status="error" if error else "ok",
        error_type=error,
    )


def attempt(question: int, nth: int, model: str, reason: str = "", **more):
    return of_run(
        AttemptEnded,
        question,
        cause=UUID(int=question),
        step=1,
        nth=nth,
        model=model,
        provider="p",
        reason=reason,
        wait_ms=100,
        wasted=bool(reason),
        cost_usd="0.5",
        **more,
    )


@pytest.fixture(scope="module")
def ask(database, clickhouse_url):
    hour = {"tenant": "acme", "agent": "support", "until": NOW, "runs": 40}
    groups = (
        [
            HourProfiled(
                id=uuid4(),
                at=NOW,
                **hour,
                question_chars={"64": 30, "128": 10},
                model={"small": 40},
            )
        ],
        [
            DriftFound(
                id=uuid4(),
                at=NOW,
                **hour,
                feature="model",
                psi=0.5,
                psi_critical=0.25,
                reference_runs=300,
                reference={"large": 300},
                current={"small": 40},
            ),
            DriftFound(
                id=uuid4(),
                at=NOW,
                **hour,
                feature="wait_ms",
                psi=0.2,
                psi_critical=0.25,
                ks=0.5,
                ks_critical=0.34,
                reference_runs=300,
                reference={"8": 300},
                current={"16": 40},
            ),
        ],
        [
            failed(
                1, "order A-1001 of 7f3c1d2e-0000-5000-8000-000000000014 not found after 3 tries"
            ),
            failed(
                2, "order A-1002 of 0f3c1d2e-0000-5000-8000-0000000000aa not found after 12 tries"
            ),
            failed(3, "order B-9 of 1f3c1d2e-0000-5000-8000-0000000000ab not found after 1 tries"),
            failed(4, "order B-10 of 1f3c1d2e-0000-5000-8000-0000000000ac not found after 1 tries"),
            failed(5, "request 00ab34cd98ff1200 timed out"),
            failed(6, "request deadbeef00000001 timed out"),
            failed(7, "request was refused"),
            failed(8, "", "steps", "stopped"),
            failed(9, "fine", "", "completed"),
        ],
        [
            tool(1, "lookup"),
            tool(2, "lookup", "timeout"),
            tool(3, "lookup", "timeout"),
            tool(4, "refund"),
            tool(5, "lookup", "http_500"),
        ],
        [
            attempt(1, 1, "small", "timeout"),
            attempt(1, 2, "small", "http_503"),
            attempt(1, 3, "large"),
            attempt(2, 1, "small"),
            attempt(3, 1, "small", "late"),
            attempt(3, 2, "large", hedge=True),
        ],
    )
    sink = ClickHouseSink(clickhouse_url, database.database)
    for events in groups:
        sink.write(sink.prepare(batch_of(*events)), type(events[0]).__name__)

    def rows(name: str, *columns: str, **given):
        query = by_name(name)
        found = database.query(query.sql, parameters=query.parameters | given).named_results()
        return [tuple(row[column] for column in columns) for row in found]

    return rows


def test_profiles_and_drift_land_with_their_maps(ask):
    assert ask("profiles", "agent", "runs", "question_chars", "outcome") == [
        ("support", 40, {"64": 30, "128": 10}, {})
    ]
    assert ask(
        "drift", "feature", "moved_psi", "moved_ks", "told_from_ks", "reference", "current"
    ) == [
        ("model", 0.5, None, None, {"large": 300}, {"small": 40}),
        ("wait_ms", 0.2, 0.5, 0.34, {"8": 300}, {"16": 40}),
    ]
    assert ask("drift", "feature", tenant="nobody") == []


def test_runs_that_failed_alike_are_one_cluster_with_three_examples(ask):
    found = ask("failed_clusters", "how_many", "reason", "alike", "examples")
    assert found == [
        (
            4,
            "tool",
            "order <id> of <id> not found after # tries",
            [UUID(int=4), UUID(int=3), UUID(int=2)],
        ),
        (2, "tool", "request <id> timed out", [UUID(int=6), UUID(int=5)]),
        (1, "steps", "", [UUID(int=8)]),
        (1, "tool", "request was refused", [UUID(int=7)]),
    ]


def test_the_errors_of_tools(ask):
    found = ask("tool_errors", "tool", "calls", "errors", "error_share", "mostly", "examples")
    assert [row[:4] for row in found] == [("lookup", 4, 3, 0.75), ("refund", 1, 0, 0)]
    assert found[0][4][0] == "timeout" and set(found[0][5]) == {
        UUID(int=2),
        UUID(int=3),
        UUID(int=5),
    }


def test_who_was_asked_again_and_who_stood_in(ask):
    assert ask(
        "retries_and_fallbacks",
        "model",
        "asked",
        "retries",
        "stood_in",
        "hedges",
        "in_vain",
        "lost_ms",
        "wasted_usd",
        "may_be_billed",
    ) == [("small", 4, 1, 0, 0, 2, 200, Decimal("1.5"), 0), ("large", 2, 0, 1, 1, 0, 0, 0, 0)]
