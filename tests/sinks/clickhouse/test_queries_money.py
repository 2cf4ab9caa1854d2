"""Do the ready queries about money give the figures that the rows add up to?"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client

from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event
from schemas.events.usage import BudgetAlerted, TokensUsed
from schemas.events.values import Charge, Tokens
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.queries.money import MONEY
from sinks.clickhouse.sink import ClickHouseSink
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
BY_NAME = {query.name: query for query in MONEY}
NOW = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
LONG_AGO = datetime(2026, 2, 1, 12, tzinfo=UTC)  # for the forecast: in a month of 28 days


def used(
    cost: str | None,
    model: str = "small",
    user: str = "ann",
    at: datetime = NOW,
    tenant: str = "acme",
    feature: str = "",
    **more: Any,
) -> TokensUsed:
    more = {"tokens": Tokens(input_tokens=100, cached_input_tokens=40, output_tokens=10)} | more
    return TokensUsed(
        id=uuid4(),
        at=at,
        tenant=tenant,
        session="s",
        run=UUID(int=1),
        agent="support",
        agent_version=1,
        user=user,
        model=model,
        provider="p",
        cost_usd=cost,
        charge=Charge(feature=feature, team="care"),
        **{"charged_usd": cost} | more,
    )


def run(
    nth: int, outcome: str, cost: str, question: str = "", answer: str = "", session: str = "s"
) -> RunFinished:
    return RunFinished(
        id=uuid4(),
        at=NOW + timedelta(seconds=nth),
        tenant="acme",
        session=session,
        run=UUID(int=nth),
        agent="support",
        agent_version=1,
        outcome=outcome,
        text=question,
        answer=answer,
        cost_usd=cost,
        reason="" if outcome == "completed" else "model",
        started_at=NOW,
        wait_ms=1,
        user="ann",
    )


def alert(share: str, spent: str, minute: int) -> BudgetAlerted:
    return BudgetAlerted(
        id=uuid4(),
        at=NOW + timedelta(minutes=minute),
        tenant="acme",
        period="2026-11",
        budget_usd="10",
        share=share,
        spent_usd=spent,
        hard=True,
    )


EVENTS: tuple[list[Event], ...] = (
    [
        used("0.3", feature="returns", uncached_usd="0.5"),
        used("0.1", feature="returns"),
        used(None, "odd", "bob"),
        used("0.2", user="bob", wasted=True),
        used("0", cache_hit=True, tokens=Tokens(), saved_usd="0.25", user=""),
        used(
            "1",
            "sound",
            "eve",
            tokens=Tokens(
                input_tokens=20,
                input_audio_tokens=15,
                output_tokens=9,
                output_audio_tokens=9,
                cache_write_tokens=5,
                cache_write_1h_tokens=2,
            ),
        ),
        # A cheap answer, a dear one, the cheap one before it that did not stand the check, and one
        # whose price nobody knows.
        used("0.1", tenant="routed", route="r", unrouted_usd="0.8"),
        used("0.6", tenant="routed", route="r", unrouted_usd="0.6"),
        used("0.05", tenant="routed", route="r", wasted=True),
        used(None, tenant="routed", route="r", unrouted_usd="0.8"),
        *(used("2", at=LONG_AGO - timedelta(days=days), tenant="old") for days in range(4)),
        used("1", at=LONG_AGO, tenant="new", charged_usd="0.5"),
    ],
    [
        run(1, "completed", "0.5", "Where is my Parcel?", "On its way"),
        run(2, "failed", "0.7", "My invoice", session="t"),
        run(3, "stopped", "0.1", "parcel parcel", "Where? At the DOOR"),
    ],
    [alert("0.5", "5", 1), alert("0.8", "8.5", 2)],
)


@pytest.fixture(scope="module")
def filled(clickhouse_url: str) -> Iterator[Client]:
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    sink = ClickHouseSink(clickhouse_url, name)
    for number, events in enumerate(EVENTS):
        sink.write(sink.prepare(batch_of(*events)), f"sample:{number}")
    with connect(clickhouse_url, name) as client:
        yield client


def usd(text: str) -> Decimal:
    return Decimal(text)


CASES = [
    (
        "cost_by_feature",
        {"tenant": "acme"},
        ("feature", "team", "all_calls", "spent_usd", "to_charge_usd", "without_price"),
        [
            ("", "care", 4, usd("1.2"), usd("1.2"), 1),
            ("returns", "care", 2, usd("0.4"), usd("0.4"), 0),
        ],
    ),
    (
        "cost_by_user",
        {"tenant": "acme"},
        ("user", "calls", "days", "tokens", "spent_usd", "without_price"),
        [
            ("eve", 1, 1, 29, usd("1"), 0),
            ("ann", 2, 1, 220, usd("0.4"), 0),
            ("bob", 2, 1, 220, usd("0.2"), 1),
        ],
    ),
    (
        "cost_by_minute",
        {"tenant": "acme"},
        ("minute", "model", "feature", "all_calls", "spent_usd"),
        [
            (NOW, "sound", "", 1, usd("1")),
            (NOW, "small", "returns", 2, usd("0.4")),
            (NOW, "small", "", 2, usd("0.2")),
            (NOW, "odd", "", 1, usd("0")),
        ],
    ),
    (
        "tokens_by_kind",
        {"tenant": "acme"},
        (
            "model",
            "sent",
            "cached",
            "written_to_cache",
            "written_for_an_hour",
            "sound",
            "usd_a_thousand",
        ),
        [
            ("small", 300, 120, 0, 0, 0, usd("150")),
            ("odd", 100, 40, 0, 0, 0, None),
            ("sound", 20, 0, 5, 2, 24, usd("1000")),
        ],
    ),
    (
        "cache_savings",
        {"tenant": "acme"},
        ("model", "cached_share", "saved_by_provider_usd", "cache_hits", "saved_by_hits_usd"),
        [
            ("small", 0.4, usd("0.2"), 1, usd("0.25")),
            ("odd", 0.4, None, 0, usd("0")),
            ("sound", 0, None, 0, usd("0")),
        ],
    ),
    (
        "savings",
        {"tenant": "acme"},
        (
            "spent_usd",
            "saved_by_provider_usd",
            "saved_by_hits_usd",
            "saved_by_routing_usd",
            "hits",
            "routed",
            "saved_share",
        ),
        [(usd("1.6"), usd("0.2"), usd("0.25"), usd("0"), 1, 0, 0.2195)],
    ),
    (
        "savings",
        {"tenant": "routed"},
        (
            "spent_usd",
            "saved_by_provider_usd",
            "saved_by_hits_usd",
            "saved_by_routing_usd",
            "routed",
            "saved_all_usd",
            "saved_share",
        ),
        [(usd("0.75"), usd("0"), usd("0"), usd("0.65"), 3, usd("0.65"), 0.4643)],
    ),
    (
        "waste",
        {"tenant": "acme"},
        ("what", "why", "how_often", "in_vain_usd"),
        [
            ("run failed", "model", 1, usd("0.7")),
            ("attempt not used", "small", 1, usd("0.2")),
            ("run stopped", "model", 1, usd("0.1")),
        ],
    ),
    # On 1 February at 18:00: the day before and the two before it cost 2 each, and 27.25 days are
    # left.
    (
        "forecast",
        {"now": "2026-02-01 18:00:00"},
        ("tenant", "spent_usd", "full_days", "a_day_usd", "forecast_usd", "forecast_to_charge_usd"),
        [
            ("new", usd("1"), 0, usd("4"), usd("110"), usd("55")),
            ("old", usd("2"), 3, usd("2"), usd("56.5"), usd("56.5")),
        ],
    ),
    (
        "budget_state",
        {},
        ("tenant", "period", "budget", "reached", "spent_by_then", "stops", "used_up"),
        [("acme", "2026-11", usd("10"), usd("0.8"), usd("8.5"), True, 0)],
    ),
    (
        "sessions",
        {},
        ("session", "agents", "runs_ended", "completed", "cost_usd"),
        [("s", ["support"], 2, 1, usd("0.6")), ("t", ["support"], 1, 0, usd("0.7"))],
    ),
    ("find_runs", {"words": "Parcel WHERE"}, ("run",), [(UUID(int=1),)]),
    ("find_runs", {"words": "door"}, ("run",), [(UUID(int=3),)]),
]


@pytest.mark.parametrize("name, parameters, columns, rows", CASES, ids=[case[0] for case in CASES])
def test_a_query_about_money_gives_the_figures(filled, name, parameters, columns, rows):
    query = BY_NAME[name]
    found = filled.query(query.sql, parameters=query.parameters | parameters).named_results()
    got = [tuple(row[column] for column in columns) for row in found]
    assert [
        tuple(one.replace(tzinfo=UTC) if isinstance(one, datetime) else one for one in row)
        for row in got
    ] == rows


def test_every_query_about_money_is_tried_here():
    assert {case[0] for case in CASES} == BY_NAME.keys()
