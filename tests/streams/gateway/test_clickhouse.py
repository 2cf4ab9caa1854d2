"""Do the gateway's own questions to ClickHouse find a run, its steps, its approvals and the
messages that were given up?
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from schemas.events.agent.approvals import ApprovalAsked, ApprovalResolved
from schemas.events.agent.runs import RunFinished
from schemas.events.tracing import SpanEnded
from schemas.events.webhooks import WebhookDelivered, WebhookDropped
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams.cli.operate import webhooks
from streams.config import Settings
from streams.gateway.clickhouse import ClickHouseReader
from streams.gateway.routes import approvals, runs
from streams.gateway.runs import results
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
NOW = datetime.now(UTC).replace(microsecond=0)
RUN = UUID(int=7)


def of(kind, **more):
    base = {
        "id": uuid4(),
        "at": NOW,
        "tenant": "acme",
        "session": "s",
        "run": RUN,
        "agent": "support",
    }
    return kind(
        **{name: value for name, value in (base | more).items() if name in kind.model_fields}
    )


def asked(number):
    return of(
        ApprovalAsked,
        id=UUID(int=number),
        step=1,
        call="c",
        tool="refund",
        arguments="{}",
        approvers=("kim",),
        expires_at=NOW + timedelta(days=1),
    )


def message(kind, number, **more):
    return of(
        kind,
        webhook="crm",
        message=UUID(int=number),
        type="run.finished",
        attempt=3,
        body="{}",
        reason="http_500",
        status=204,
        started_at=NOW,
        **more,
    )


@pytest.fixture
def tables(clickhouse_url):
    """The gateway's access to a database of its own, with a run, two approvals and three messages."""
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    sink = ClickHouseSink(clickhouse_url, name)
    for number, events in enumerate(
        (
            [of(RunFinished, outcome="completed", answer="yes", started_at=NOW, wait_ms=5)],
            [
                of(
                    SpanEnded,
                    trace="a" * 32,
                    span="b" * 16,
                    name="chat",
                    operation="chat",
                    started_at=NOW,
                    wait_ms=1,
                    status="ok",
                )
            ],
            [asked(1), asked(2)],
            [
                of(
                    ApprovalResolved,
                    approval=UUID(int=2),
                    step=1,
                    call="c",
                    tool="refund",
                    status="approved",
                )
            ],
            [message(WebhookDropped, 3), message(WebhookDropped, 4)],
            [message(WebhookDelivered, 4)],
        )
    ):
        sink.write(sink.prepare(batch_of(*events)), f"sample:{number}")
    yield ClickHouseReader(Settings(clickhouse_url=clickhouse_url, clickhouse_database=name))
    with connect(clickhouse_url, name) as client:
        client.command(f"DROP DATABASE `{name}`")


def test_each_question_finds_what_is_there_and_nothing_of_other_tenants(tables):
    of_run = {"run": str(RUN), "tenant": "acme"}
    [run] = tables(results.RUN, of_run)
    assert (
        results.stored_result(run)["answer"] == "yes"
        and tables(results.RUN, of_run | {"tenant": "other"}) == []
    )
    assert [row["name"] for row in tables(runs.SPANS, of_run)] == ["chat"]
    assert [row["approval"] for row in tables(approvals.OPEN_APPROVALS, {"tenant": "acme"})] == [
        UUID(int=1)
    ]
    assert tables(approvals.ONE, {"approval": str(UUID(int=2)), "tenant": "acme"}) == [
        {"session": "s"}
    ]
    assert [row["message"] for row in tables(webhooks.DROPPED, {})] == [UUID(int=3)]
    [counted] = tables(webhooks.COUNTS, {"hours": 24})
    assert (counted["delivered"], counted["dropped"]) == (1, 2)
