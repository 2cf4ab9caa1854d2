"""`weir cost`: reports, forecasts, other prices and invoices."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import httpx
import typer
from confluent_kafka import KafkaException

from schemas.definitions.kinds import Tenant
from schemas.events.values import Tokens
from sinks.clickhouse.queries.catalogue import by_name
from sinks.clickhouse.queries.money import SAVED
from streams.cli.operate.cost_compare import definitions_in_force, reconcile, reprice
from streams.cli.operate.cost_options import From, TenantOf, To, added, span, spelled
from streams.cli.output import AsJson, err, out, say_json, table
from streams.config import settings
from streams.engine.errors import UserError
from streams.operations.connections import rows_of
from streams.operations.figures import usd

cost = typer.Typer(no_args_is_help=True, add_completion=False)
TIMES = {
    "month": "formatDateTime(at, '%Y-%m', 'UTC')",
    "day": "toDate(at, 'UTC')",
    "hour": "toStartOfHour(at, 'UTC')",
}
COLUMNS = (
    "tenant",
    "agent",
    "agent_version",
    "model",
    "provider",
    "response_model",
    "service_tier",
    "user",
    "feature",
    "team",
    "session",
    "run",
    "source",
    "wasted",
    "cache_hit",
)
BY_WHAT = dict(
    zip(SAVED, ("by providers' caches", "by the response cache", "by routing"), strict=True)
)
SHOWN = ("input_tokens", "cached_input_tokens", "output_tokens")
By = Annotated[str, typer.Option(help=f"Any of {', '.join((*COLUMNS, *TIMES))}; with commas.")]


@cost.command("report", help="What calls cost, by whatever you name; what is unpriced is said.")
def report(
    by: By = "tenant,agent,model",
    from_: From = "",
    to: To = "",
    tenant: TenantOf = "",
    as_json: AsJson = False,
) -> None:
    names = [name.strip() for name in by.split(",") if name.strip()]
    unknown = [name for name in names if name not in COLUMNS and name not in TIMES]
    if unknown or not names:
        raise UserError(
            f"cost is not known by {', '.join(unknown) or 'nothing'}: use "
            f"{', '.join((*COLUMNS, *TIMES))}"
        )
    begin, end = span(from_, to)
    found = rows_of(settings(), report_sql(names), {"begin": begin, "end": end, "tenant": tenant})
    total = {
        "calls": sum(row["calls"] for row in found),
        "unpriced_calls": sum(row["unpriced_calls"] for row in found),
        "cost_usd": added(row["cost_usd"] for row in found),
        "charged_usd": added(row["charged_usd"] for row in found),
    }
    total |= {name: added(row[name] for row in found) for name in SAVED}
    if as_json:
        return say_json({"from": begin, "to": end, "by": names, "rows": found, "total": total})
    print_report(names, found, f"Cost from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    err.print(
        f"{total['calls']} calls, {usd(total['cost_usd'])}, "
        f"{total['unpriced_calls']} without a price"
    )
    err.print(
        "saved: " + ", ".join(f"{usd(total[name])} {words}" for name, words in BY_WHAT.items())
    )


def print_report(names: list[str], found: list[dict[str, Any]], title: str) -> None:
    shown = (
        *names,
        "calls",
        "unpriced_calls",
        *SHOWN,
        "cost_usd",
        "saved_usd",
        "charged_usd",
        "charged",
        "currency",
    )
    out.print(
        table(
            title,
            spelled(shown),
            [[_cell(name, row[name]) for name in shown] for row in found],
            numbers=spelled(shown[len(names) : -1]),
        )
    )


def _cell(name: str, value: Any) -> Any:
    """A value of a report's column."""
    if name.endswith("_usd"):
        return usd(value)
    return _amount(value) if name == "charged" else value


def report_sql(names: list[str]) -> str:
    """Money is added up in one currency at a time: a line a currency, where there are several."""
    groups = ", ".join(f"{TIMES[name]} AS {name}" if name in TIMES else name for name in names)
    tokens = ", ".join(f"sum(token_usage.{kind}) AS {kind}" for kind in Tokens.model_fields)
    saved = ", ".join(f"{sql} AS {name}" for name, sql in SAVED.items())
    return f"""
SELECT {groups}, count() AS calls, countIf(token_usage.cost_usd IS NULL) AS unpriced_calls,
       {tokens},
       sum(token_usage.cost_usd) AS cost_usd, sum(token_usage.charged_usd) AS charged_usd,
       sum(token_usage.charged) AS charged, currency, {saved},
       {" + ".join(SAVED)} AS saved_usd
FROM token_usage WHERE at >= {{begin:DateTime('UTC')}} AND at < {{end:DateTime('UTC')}}
  AND ({{tenant:String}} = '' OR tenant = {{tenant:String}})
GROUP BY {", ".join(names)}, currency ORDER BY cost_usd DESC NULLS LAST, {", ".join(names)}"""


@cost.command("forecast", help="What each tenant will have spent when the month is over.")
def forecast(
    days: Annotated[int, typer.Option(help="Full days whose mean goes on.", min=1, max=365)] = 28,
    tenant: TenantOf = "",
    as_json: AsJson = False,
) -> None:
    query = by_name("forecast")
    found = rows_of(settings(), query.sql, query.parameters | {"days": days, "tenant": tenant})
    budgets = month_budgets()
    now = datetime.now(UTC)
    for row in found:
        budget = budgets.get(row["tenant"])
        row |= {"budget_usd": budget, "used_up_on": used_up_on(row, budget, now)}
    total = {name: added(row[name] for row in found) for name in ("spent_usd", "forecast_usd")}
    if as_json:
        return say_json({"rows": found, "total": total})
    columns = (
        "tenant",
        "spent_usd",
        "a_day_usd",
        "full_days",
        "without_price",
        "forecast_usd",
        "forecast_to_charge_usd",
        "budget_usd",
        "used_up_on",
    )
    out.print(
        table(
            "To the end of the month",
            spelled(columns),
            [
                ["" if row[name] is None else _cell(name, row[name]) for name in columns]
                for row in found
            ],
            numbers=spelled(columns[1:]),
        )
    )
    err.print(
        f"{usd(total['spent_usd'])} so far, {usd(total['forecast_usd'])} when the month is over"
    )


def month_budgets() -> dict[str, Decimal]:
    """What each tenant may spend a month, by the definitions in force; none where Kafka does not
    answer.
    """
    try:
        known = definitions_in_force()
    except (UserError, KafkaException, RuntimeError, ConnectionError, httpx.HTTPError) as error:
        err.print(
            f"without budgets: the definitions could not be read ({type(error).__name__})",
            style="dim",
        )
        return {}
    return {
        tenant.name: tenant.budget_usd.month
        for tenant in known.in_force(Tenant)
        if tenant.budget_usd and tenant.budget_usd.month
    }


def used_up_on(row: dict[str, Any], budget: Decimal | None, now: datetime) -> date | None:
    """The day of this month on which a budget is used up, if it goes on like this; None where it
    lasts. A budget counts what the tenant is charged by its contract.
    """
    if budget is None or row["forecast_to_charge_usd"] < budget:
        return None
    left = max(budget - row["to_charge_usd"], Decimal(0))
    return (
        (now + timedelta(days=float(left / row["to_charge_a_day_usd"]))).date()
        if left
        else now.date()
    )


def _amount(value: Decimal | None) -> str:
    return "" if value is None else f"{value:.6f}"


for command, words in (
    (reprice, "What the calls of the past would have cost at other prices; nothing is changed."),
    (reconcile, "Compare a provider's invoice (CSV) with what was counted, by day and model."),
):
    cost.command(command.__name__, help=words)(command)
