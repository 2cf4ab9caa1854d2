"""`weir cost`: reports, repricing, reconciliation, forecasts, and mistakes in files."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from processors.usage.prices import price
from schemas.events.usage import TokensUsed
from schemas.events.values import Charge, Tokens
from schemas.money import money_text
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams import config
from streams.cli.main import application
from streams.cli.operate import cost, cost_compare
from streams.engine.errors import UserError
from streams.operations import invoices, repricing
from tests.sinks.clickhouse.test_rows import batch_of

DAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
SENT = Tokens(input_tokens=1_000, cached_input_tokens=400, output_tokens=100)


def used(
    model: str, usd: str | None, day: int = 0, provider: str = "openai", **more: Any
) -> TokensUsed:
    return TokensUsed(
        **{
            "id": uuid4(),
            "at": DAY + timedelta(days=day),
            "tenant": "acme",
            "session": "s",
            "run": UUID(int=1),
            "agent": "a",
            "agent_version": 1,
            "model": model,
            "provider": provider,
            "tokens": SENT,
            "cost_usd": usd,
            "charged_usd": usd,
            "charged": usd,
            "charge": Charge(feature="help", team="care"),
        }
        | more
    )


LATER = datetime(2026, 11, 3, tzinfo=UTC)
GPT = price(
    None, "openai", "gpt-4o", SENT, DAY
)  # 600 at 2.5, 400 at 1.25, 100 at 10 dollars a million: 0.003
EVENTS = [
    used("big", str(GPT), response_model="gpt-4o-2024-08-06"),
    used("big", str(GPT), response_model="gpt-4o-2024-08-06"),
    used(
        "big",
        "0.004",
        1,
        response_model="gpt-4o-2024-08-06",
        tenant="other",
        charged="0.0035",
        currency="EUR",
    ),
    used("small", "0.5"),
    used("odd", None, 1, "local"),
    used("elsewhere", "9", 1, source="otel"),
    used("small", "0", 1, cache_hit=True, saved_usd="0.5", tokens=Tokens()),
]


@pytest.fixture(scope="module")
def stored(clickhouse_url: str) -> Iterator[config.Settings]:
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    sink = ClickHouseSink(clickhouse_url, name)
    sink.write(sink.prepare(batch_of(*EVENTS)), "sample")
    yield config.Settings(clickhouse_url=clickhouse_url, clickhouse_database=name)


@pytest.fixture
def says(stored: config.Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The JSON that `weir cost ...` prints."""
    for command in (cost, cost_compare):
        monkeypatch.setattr(command, "settings", lambda: stored)

    def run(*words: object, code: int = 0) -> dict[str, Any]:
        done = CliRunner().invoke(application("cost"), ["cost", *map(str, words), "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout.splitlines()[-1])

    return run


def picked(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.engine
def test_a_report_by_anything_adds_up_and_says_what_is_unpriced(says):
    found = says(
        "report", "--by", "tenant,model,feature", "--from", "2026-11-01", "--to", "2026-12-01"
    )
    assert picked(
        found["rows"],
        "tenant",
        "model",
        "calls",
        "unpriced_calls",
        "cost_usd",
        "charged",
        "currency",
    ) == [
        ("acme", "elsewhere", 1, 0, "9", "9", "USD"),
        ("acme", "small", 2, 0, "0.5", "0.5", "USD"),
        ("acme", "big", 2, 0, "0.006", "0.006", "USD"),
        ("other", "big", 1, 0, "0.004", "0.0035", "EUR"),
        ("acme", "odd", 1, 1, None, None, "USD"),
    ]
    assert found["total"] == {
        "calls": 7,
        "unpriced_calls": 1,
        "cost_usd": "9.51",
        "charged_usd": "9.51",
        "saved_by_provider_usd": "0",
        "saved_by_hits_usd": "0.5",
        "saved_by_routing_usd": "0",
    }
    of_a_day = says(
        "report", "--by", "day", "--from", "2026-11-02", "--to", "2026-11-03", "--tenant", "acme"
    )
    assert picked(of_a_day["rows"], "day", "calls", "input_tokens", "cached_input_tokens") == [
        ("2026-11-02", 3, 3000, 1200)
    ]


@pytest.mark.engine
def test_history_at_other_prices_with_the_difference_and_nothing_overwritten(says, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "models:\n  small: {input: 1, cached_input: 0.5, output: 2}\n  gpt-4o: book\n"
        "  odd: {input: 10, output: 10}\n  gpt-4o-2024-08-06: book\n"
    )
    for _ in range(2):
        found = says("reprice", "--prices", prices, "--from", "2026-11-01", "--to", "2026-11-30")
    assert picked(
        found["rows"],
        "tenant",
        "model",
        "calls",
        "recorded_usd",
        "repriced_usd",
        "unpriced_before",
        "unpriced_after",
    ) == [
        ("acme", "big", 2, "0.006", "0.006", 0, 0),
        ("acme", "elsewhere", 1, "9", "9", 0, 0),
        ("acme", "odd", 1, "0", "0.011", 1, 0),
        ("acme", "small", 1, "0.5", "0.001", 0, 0),
        ("other", "big", 1, "0.004", "0.003", 0, 0),
    ]
    assert found["total"]["difference_usd"] == "-0.489"


@pytest.mark.engine
def test_an_invoice_agrees_to_the_cent_or_says_where_not(says, tmp_path):
    bill = tmp_path / "bill.csv"
    bill.write_text(
        "\ufeffModel,Date,Cost\ngpt-4o,2026-11-02,$0.01\nsmall,2026-11-02,0.51\nGPT-4o,2026-11-03,0.00\n"
        "ghost,2026-11-03,1.00\n",
        encoding="utf-8",
    )
    found = says("reconcile", bill, code=1)
    assert picked(found["rows"], "day", "model", "invoiced_usd", "counted_usd", "status") == [
        ("2026-11-02", "gpt-4o", "0.01", "0.006", "matched"),
        ("2026-11-02", "small", "0.51", "0.5", "differing"),
        ("2026-11-03", "ghost", "1", None, "only on the invoice"),
        ("2026-11-03", "gpt-4o", "0", "0.004", "matched"),
    ]
    assert (found["matched"], found["not_matched"], found["invoiced_usd"]) == (2, 2, "1.52")
    bill.write_text(
        "date,model,cost_usd\n2026-11-02,gpt-4o,0.006\n2026-11-02,small,0.50\n2026-11-03,gpt-4o,0.004\n"
    )
    assert says("reconcile", bill, code=0)["not_matched"] == 0
    local = says("reconcile", bill, "--provider", "local", code=1)
    assert ("odd", "unpriced") in picked(local["rows"], "model", "status")


@pytest.mark.engine
def test_a_forecast_is_told_with_its_sum_and_when_a_budget_is_used_up(says, monkeypatch):
    monkeypatch.setattr(cost, "month_budgets", lambda: {"acme": Decimal("0.01")})
    found = says("forecast")
    assert all((row["used_up_on"] is None) == (row["tenant"] != "acme") for row in found["rows"])
    assert found["total"]["spent_usd"] == (
        money_text(sum(Decimal(row["spent_usd"]) for row in found["rows"]))
        if found["rows"]
        else None
    )


def test_lines_of_a_day_and_model_are_added_up_and_counted_only_here_is_said():
    row = {
        "day": date(2026, 11, 2),
        "model": "big",
        "response_model": "gpt-4o-2024-08-06",
        "provider": "openai",
        "calls": 2,
        "unpriced_calls": 0,
    }
    counted = [
        row | {"cost": Decimal("0.1")},
        row | {"response_model": "gpt-4o", "cost": Decimal("0.2")},
        row | {"day": date(2026, 11, 3), "cost": Decimal(1)},
        row | {"model": "x", "response_model": "", "provider": "y", "cost": Decimal(5)},
    ]
    found = invoices.match({(date(2026, 11, 2), "gpt-4o"): Decimal("0.3049")}, counted)
    assert [(one.day.day, one.calls, one.counted_usd, one.status) for one in found] == [
        (2, 4, Decimal("0.3"), "matched"),
        (3, 2, Decimal(1), "only counted here"),
    ]
    by_our_name = invoices.match({(date(2026, 11, 2), "big"): Decimal("0.3")}, counted[:2])
    assert [(one.model, one.status) for one in by_our_name] == [("big", "matched")]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("models: {small: {input: -1, output: 2}}", "input"),
        ("models: {small: cheap}", "a price is"),
        ("[", "is no YAML"),
        ("model: {}", "model"),
    ],
)
def test_prices_that_are_none_are_told(tmp_path: Path, text, sentence):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        repricing.read(path)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["report", "--by", "colour"], "cost is not known by colour"),
        (["report", "--from", "soon"], "'soon' is no day or moment"),
        (["report", "--from", "0001-01-01"], "'0001-01-01' is no day on which models were called"),
        (["report", "--to", "9999-12-31"], "is no day on which"),
        (["report", "--from", "2026-12-01", "--to", "2026-11-01"], "is not before"),
    ],
)
def test_a_question_that_makes_no_sense_is_told(words, sentence):
    done = CliRunner().invoke(application("cost"), ["cost", *words])
    assert isinstance(done.exception, UserError)
    assert sentence in str(done.exception)


@pytest.mark.parametrize(
    "spent, a_day, forecast, budget, day",
    [
        ("10", "2", "30", None, None),
        ("10", "2", "30", "31", None),
        ("10", "2", "30", "20", date(2026, 11, 15)),
        ("10", "2", "30", "10", date(2026, 11, 10)),
        ("10", "0", "10", "9", date(2026, 11, 10)),
    ],
)
def test_a_budget_is_used_up_on_a_day(spent, a_day, forecast, budget, day):
    row = {
        "to_charge_usd": Decimal(spent),
        "to_charge_a_day_usd": Decimal(a_day),
        "forecast_to_charge_usd": Decimal(forecast),
    }
    assert (
        cost.used_up_on(row, budget and Decimal(budget), datetime(2026, 11, 10, 12, tzinfo=UTC))
        == day
    )
