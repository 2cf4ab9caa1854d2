"""What did it cost, what would it have at other prices, does the bill agree, and what will the
month come to?
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from confluent_kafka import KafkaException

from processors.usage import metering
from schemas.definitions.kinds import Definitions, Tenant
from schemas.events.values import Tokens
from sinks.clickhouse.queries.catalogue import by_name
from sinks.clickhouse.queries.money import SAVED
from streams.cli.output import AsJson, err, out, say_json, table
from streams.config import settings
from streams.engine import definitions_topic
from streams.engine.errors import UserError
from streams.operations import invoice_files, invoices, repricing
from streams.operations.connections import codec_of, rows_of
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
REPRICED = (
    "calls",
    "recorded_usd",
    "repriced_usd",
    "difference_usd",
    "unpriced_before",
    "unpriced_after",
)
BY_WHAT = dict(
    zip(SAVED, ("by providers' caches", "by the response cache", "by routing"), strict=True)
)
SHOWN = ("input_tokens", "cached_input_tokens", "output_tokens")
By = Annotated[str, typer.Option(help=f"Any of {', '.join((*COLUMNS, *TIMES))}; with commas.")]
From = Annotated[
    str, typer.Option("--from", help="First day or moment, UTC; else the first of this month.")
]
To = Annotated[str, typer.Option("--to", help="Day or moment at which to stop, UTC; else now.")]
TenantOf = Annotated[str, typer.Option("--tenant", help="Only this tenant's.")]


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
            f"cost is not known by {', '.join(unknown) or 'nothing'}: use {', '.join((*COLUMNS, *TIMES))}"
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
    if not as_json:
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
                f"Cost from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC",
                spelled(shown),
                [
                    [
                        usd(row[name])
                        if name.endswith("_usd")
                        else _amount(row[name])
                        if name == "charged"
                        else row[name]
                        for name in shown
                    ]
                    for row in found
                ],
                numbers=spelled(shown[len(names) : -1]),
            )
        )
        err.print(
            f"{total['calls']} calls, {usd(total['cost_usd'])}, {total['unpriced_calls']} without a price"
        )
        return err.print(
            "saved: " + ", ".join(f"{usd(total[name])} {words}" for name, words in BY_WHAT.items())
        )
    say_json({"from": begin, "to": end, "by": names, "rows": found, "total": total})


def report_sql(names: list[str]) -> str:
    """Money is added up in one currency at a time: a line a currency, where there are several."""
    groups = ", ".join(f"{TIMES[name]} AS {name}" if name in TIMES else name for name in names)
    tokens = ", ".join(f"sum(token_usage.{kind}) AS {kind}" for kind in Tokens.model_fields)
    return f"""
SELECT {groups}, count() AS calls, countIf(token_usage.cost_usd IS NULL) AS unpriced_calls, {tokens},
       sum(token_usage.cost_usd) AS cost_usd, sum(token_usage.charged_usd) AS charged_usd,
       sum(token_usage.charged) AS charged, currency, {", ".join(f"{sql} AS {name}" for name, sql in SAVED.items())},
       {" + ".join(SAVED)} AS saved_usd
FROM token_usage WHERE at >= {{begin:DateTime('UTC')}} AND at < {{end:DateTime('UTC')}}
  AND ({{tenant:String}} = '' OR tenant = {{tenant:String}})
GROUP BY {", ".join(names)}, currency ORDER BY cost_usd DESC NULLS LAST, {", ".join(names)}"""


@cost.command(
    "reprice",
    help="What the calls of the past would have cost at other prices; nothing is changed.",
)
def reprice(
    prices: Annotated[
        Path,
        typer.Option(
            help="YAML: `models: {NAME: {input: 0.2, output: 0.8}}`, or `NAME: book`.",
            exists=True,
            dir_okay=False,
        ),
    ],
    from_: From = "",
    to: To = "",
    tenant: TenantOf = "",
    as_json: AsJson = False,
) -> None:
    listed = repricing.read(prices)
    (begin, end) = span(from_, to)
    lines: dict[tuple[str, str], repricing.Line] = {}
    day = begin
    while day < end:  # a day at a time: memory stays small, however long ago it began
        until = min(end, day + timedelta(days=1))
        used = rows_of(settings(), repricing.USED, {"begin": day, "end": until, "tenant": tenant})
        repricing.reprice(used, listed, lines)
        day = until
    found = [
        {"tenant": place[0], "model": place[1], **vars(line), "difference_usd": line.difference_usd}
        for place, line in sorted(lines.items())
    ]
    total = {
        name: sum((row[name] for row in found), Decimal(0) if name.endswith("_usd") else 0)
        for name in REPRICED
    }
    if as_json:
        return say_json({"from": begin, "to": end, "rows": found, "total": total})
    columns = ("tenant", "model", *total)
    out.print(
        table(
            "Repriced",
            columns,
            [
                [
                    f"{row[name]:+.6f}"
                    if name == "difference_usd"
                    else usd(row[name])
                    if name.endswith("_usd")
                    else row[name]
                    for name in columns
                ]
                for row in found
            ],
            numbers=tuple(total),
        )
    )
    err.print(
        f"{total['calls']} calls: {usd(total['recorded_usd'])} as recorded, {usd(total['repriced_usd'])} "
        f"at these prices, {total['difference_usd']:+.6f} dollars"
    )


@cost.command(
    "reconcile", help="Compare a provider's invoice (CSV) with what was counted, by day and model."
)
def reconcile(
    invoice: Annotated[
        Path, typer.Argument(help="CSV with date, model, cost_usd.", exists=True, dir_okay=False)
    ],
    provider: Annotated[
        str, typer.Option(help="Whose invoice it is; else whoever answered for its models.")
    ] = "",
    decimal: Annotated[
        str, typer.Option(help="The decimal mark of its amounts, `.` or `,`; else what they tell.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    if decimal not in ("", ".", ","):
        raise UserError(f"--decimal {decimal} is no decimal mark: it is `.` or `,`")
    known = cache(given)
    bill = invoice_files.read(
        invoice, lambda currency, day: metering.rate_at(known(), currency, midnight(day)), decimal
    )
    begin, end = map(midnight, bill.days)
    counted = rows_of(settings(), invoices.COUNTED, {"begin": begin, "end": end})
    found = invoices.match(bill.billed, counted, provider, bill.names)
    [unknown] = rows_of(
        settings(), invoices.UNKNOWN, {"begin": begin, "end": end, "provider": provider}
    )
    off = [row for row in found if row.status != invoices.FINE]
    result = {
        "matched": len(found) - len(off),
        "not_matched": len(off),
        "invoiced_usd": sum(bill.billed.values(), Decimal(0)),
        "counted_usd": added(row.counted_usd for row in found),
        "difference_usd": sum((row.difference_usd for row in found), Decimal(0)),
        "credits_usd": bill.credits_usd,
        "converted": sorted(bill.converted),
        "repeated_lines": bill.repeated,
        **unknown,
    }
    if as_json:
        say_json(
            result | {"rows": [vars(row) | {"difference_usd": row.difference_usd} for row in found]}
        )
    else:
        columns = ("day", "model", "invoiced", "counted", "difference", "calls", "status")
        out.print(
            table(
                "Invoice",
                columns,
                [
                    (
                        row.day,
                        row.model,
                        "" if row.invoiced_usd is None else usd(row.invoiced_usd),
                        usd(row.counted_usd) if row.calls else "",
                        f"{row.difference_usd:+.6f}",
                        row.calls,
                        row.status,
                    )
                    for row in found
                ],
                numbers=columns[2:6],
            )
        )
    for words in invoices.sentences(bill, found, counted, unknown["may_be_billed"]):
        err.print(words, markup=False)
    raise typer.Exit(1 if off else 0)


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
                [
                    ""
                    if row[name] is None
                    else usd(row[name])
                    if name.endswith("_usd")
                    else row[name]
                    for name in columns
                ]
                for row in found
            ],
            numbers=spelled(columns[1:]),
        )
    )
    err.print(
        f"{usd(total['spent_usd'])} so far, {usd(total['forecast_usd'])} when the month is over"
    )


def spelled(names: Iterable[str]) -> list[str]:
    """Names of columns as words, so that a narrow window breaks them where people would."""
    return [name.replace("_", " ") for name in names]


def month_budgets() -> dict[str, Decimal]:
    """What each tenant may spend a month, by the definitions in force; none where Kafka does not
    answer.
    """
    try:
        known = definitions_in_force()
    except (UserError, KafkaException, RuntimeError, ConnectionError, httpx.HTTPError) as error:
        err.print(
            f"[dim]without budgets: the definitions could not be read ({type(error).__name__})[/dim]"
        )
        return {}
    return {
        tenant.name: tenant.budget_usd.month
        for tenant in known.in_force(Tenant)
        if tenant.budget_usd and tenant.budget_usd.month
    }


def definitions_in_force() -> Definitions:
    """The definitions in force."""
    return definitions_topic.read_all(settings(), codec_of(settings()))


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


def span(begin: str, end: str) -> tuple[datetime, datetime]:
    """From when to when. A UserError where a moment is none, or the end comes first."""
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    first = moment(begin) if begin else now.replace(day=1, hour=0, minute=0, second=0)
    last = moment(end) if end else now
    if first >= last:
        raise UserError(
            f"--from {first:%Y-%m-%d %H:%M} is not before --to {last:%Y-%m-%d %H:%M}: turn them round"
        )
    return first, last


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            f"{text!r} is no day or moment: write 2026-11-26 or 2026-11-26T12:00"
        ) from error
    if not 1970 < at.year < 2100:  # what ClickHouse has moments for
        raise UserError(
            f"{text!r} is no day on which models were called: write 2026-11-26 or 2026-11-26T12:00"
        )
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def added(amounts: Any) -> Decimal | None:
    """The sum of what is known; None where nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None


def _amount(value: Decimal | None) -> str:
    return "" if value is None else f"{value:.6f}"
