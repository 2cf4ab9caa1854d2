"""Do the queries say where the time goes, what the guardrails did, which runs went in circles and
which nobody finished?
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from schemas.events.agent.runs import RunFinished
from schemas.events.guardrails import VerdictReached
from schemas.events.tracing import SpanEnded
from sinks.clickhouse.connection import append_rows
from sinks.clickhouse.queries.catalogue import by_name
from sinks.clickhouse.sink import ClickHouseSink
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
NOW = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)


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


def ended(number: int, outcome: str = "completed", reason: str = ""):
    return of_run(
        RunFinished, number, outcome=outcome, reason=reason, started_at=NOW, wait_ms=1_000
    )


def step(number: int, operation: str, wait_ms: int, name: str = "", **more):
    return of_run(
        SpanEnded,
        number,
        trace="a" * 32,
        span=uuid4().hex[:16],
        name=name or operation,
        operation=operation,
        started_at=NOW,
        wait_ms=wait_ms,
        status="ok",
        **more,
    )


def verdict(number: int, action: str, enforced: bool = True, rule: str = "card"):
    return of_run(
        VerdictReached,
        number,
        stage="request",
        policy="p",
        policy_version=1,
        rule=rule,
        category="pii",
        action=action,
        enforced=enforced,
        findings=1,
    )


@pytest.fixture(scope="module")
def ask(database, clickhouse_url) -> Callable[..., list[tuple]]:
    groups = (
        [
            ended(1),
            ended(2),
            ended(3, "stopped", "loop"),
            ended(4, "cancelled"),
            ended(5, "stopped", "waiting_seconds"),
        ],
        [
            step(1, "invoke_agent", 1_000),
            step(1, "chat", 300),
            step(1, "chat", 500),
            step(1, "execute_tool", 100, tool="find"),
            step(2, "invoke_agent", 3_000),
            step(2, "chat", 2_000),
            *(step(2, "execute_tool", 1, tool="find", input='{"q": 1}') for _ in range(4)),
            step(6, "chat", 10, "chat small"),
            of_run(
                SpanEnded,
                7,
                trace="b" * 32,
                span="1" * 16,
                name="chat",
                operation="chat",
                started_at=NOW,
                wait_ms=9_000,
                status="ok",
                source="otel",
            ),
        ],
        [
            verdict(1, "redact"),
            verdict(1, "redact", rule="iban"),
            verdict(2, "block"),
            verdict(3, "block", enforced=False),
        ],
    )
    sink = ClickHouseSink(clickhouse_url, database.database)
    for events in groups:
        sink.write(sink.prepare(batch_of(*events)), type(events[0]).__name__)
    minute = NOW.replace(tzinfo=None)
    append_rows(
        clickhouse_url,
        database.database,
        "balance",
        (
            "minute",
            "topic",
            "partition",
            "produced",
            "landed",
            "dead_lettered",
            "lost",
            "doubled",
            "landed_after_ms",
        ),
        [
            (minute, "t", 0, 5, 5, 0, 0, 0, 20),
            (minute, "t", 1, 5, 4, 0, 1, 0, 30),
            (minute + timedelta(minutes=1), "t", 0, 7, 7, 0, 0, 0, 10),
        ],
    )

    def rows(name: str, *columns: str, **given) -> list[tuple]:
        query = by_name(name)
        found = database.query(query.sql, parameters=query.parameters | given).named_results()
        return [tuple(row[column] for column in columns) for row in found]

    return rows


def test_where_the_time_of_a_run_goes(ask):
    found = ask("latency_budget", "spent_on", "steps", "ms_a_run", "share_of_run")
    assert found == [
        ("the whole run", 2, 2_000, 1),
        ("chat", 4, 1_405, 0.7025),
        ("between steps", 2, 543, 0.2715),
        ("execute_tool", 5, 52, 0.026),
    ]


def test_what_the_guardrails_did_of_all_runs(ask):
    columns = (
        "all_runs",
        "with_findings",
        "found_share",
        "blocked",
        "redacted",
        "flagged",
        "in_shadow",
        "mostly",
    )
    [found] = ask("verdict_rates", *columns)
    assert found[:7] == (5, 3, 0.6, 1, 1, 0, 1) and set(found[7].split(", ")) == {"card", "iban"}
    assert ask("verdict_rates", "all_runs", tenant="nobody") == []


def test_what_went_in_circles(ask):
    assert ask("loops", "what", "loops_found", "most_often", "examples") == [
        ("called find alike", 1, 4, [UUID(int=2)]),
        ("stopped: loop", 1, 0, [UUID(int=3)]),
    ]
    assert [row[0] for row in ask("loops", "what", times=5)] == ["stopped: loop"]


def test_what_nobody_finished(ask):
    assert ask("abandoned_runs", "why", "how_many", "examples") == [
        ("cancelled", 1, [UUID(int=4)]),
        ("open, last seen at chat small", 1, [UUID(int=6)]),
        ("the user did not answer", 1, [UUID(int=5)]),
    ]
    assert len(ask("abandoned_runs", "why", minutes=600)) == 2  # what is open may only be at work


def test_minutes_that_do_not_balance_come_first(ask):
    assert ask("completeness_minutes", "partition", "made", "there", "nowhere") == [
        (1, 5, 4, 1),
        (0, 7, 7, 0),
        (0, 5, 5, 0),
    ]
    assert ask("completeness_minutes", "made", topic="another") == []
