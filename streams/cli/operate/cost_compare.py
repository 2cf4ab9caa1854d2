"""`weir cost reprice` and `weir cost reconcile`: other prices, and a provider's invoice."""

from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from processors.usage import metering
from schemas.definitions.kinds import Definitions
from streams.cli.operate.cost_options import From, TenantOf, To, added, midnight, span
from streams.cli.output import AsJson, err, out, say_json, table
from streams.config import settings
from streams.engine import definitions_topic
from streams.engine.errors import UserError
from streams.operations import invoice_files, invoices, repricing
from streams.operations.connections import codec_of, rows_of
from streams.operations.figures import usd

REPRICED = (
    "calls",
    "recorded_usd",
    "repriced_usd",
    "difference_usd",
    "unpriced_before",
    "unpriced_after",
)


def definitions_in_force() -> Definitions:
    """The definitions in force."""
    return definitions_topic.read_all(settings(), codec_of(settings()))


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
    lines: dict[tuple[str, str], repricing.RepricedLine] = {}
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
            [[_repriced(name, row[name]) for name in columns] for row in found],
            numbers=tuple(total),
        )
    )
    err.print(
        f"{total['calls']} calls: {usd(total['recorded_usd'])} as recorded, "
        f"{usd(total['repriced_usd'])} "
        f"at these prices, {total['difference_usd']:+.6f} dollars"
    )


def _repriced(name: str, value: Any) -> Any:
    """A value of a column of repriced calls."""
    if name == "difference_usd":
        return f"{value:+.6f}"
    return usd(value) if name.endswith("_usd") else value


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
    known = cache(definitions_in_force)
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
        print_invoice(found)
    for words in invoices.sentences(bill, found, counted, unknown["may_be_billed"]):
        err.print(words, markup=False)
    raise typer.Exit(1 if off else 0)


def print_invoice(found: list[invoices.Matched]) -> None:
    columns = ("day", "model", "invoiced", "counted", "difference", "calls", "status")
    rows = [
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
    ]
    out.print(table("Invoice", columns, rows, numbers=columns[2:6]))
