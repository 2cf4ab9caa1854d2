"""Reconciles a provider's invoice with the counted usage, by day and model.

Days are UTC. A model is the same with and without the date in its name, because providers bill
`gpt-4o` where they answer as `gpt-4o-2024-08-06`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from streams.operations.figures import usd
from streams.operations.invoice_files import DATED, Invoice, known_as

HALF_A_CENT = Decimal("0.005")
FINE = "matched"
LISTED = 5
COUNTED = """
SELECT toDate(at, 'UTC') AS day, model, response_model, provider, count() AS calls,
       countIf(cost_usd IS NULL) AS unpriced_calls, sum(cost_usd) AS cost
FROM token_usage WHERE at >= {begin:DateTime('UTC')}
  AND at < {end:DateTime('UTC')} + INTERVAL 1 DAY AND source = 'weir'
  AND NOT cache_hit
GROUP BY day, model, response_model, provider"""
"""Calls through Weir; other applications' calls are on their own invoices."""
UNKNOWN = """
SELECT count() AS may_be_billed FROM attempts
WHERE at >= {begin:DateTime('UTC')}
  AND at < {end:DateTime('UTC')} + INTERVAL 1 DAY AND cost_usd IS NULL AND wasted
  AND ({provider:String} = '' OR provider = {provider:String})"""
"""Requests that were given up before their usage was known."""


@dataclass(frozen=True)
class Matched:
    """A day and model. `status`: matched, differing, unpriced, only on the invoice, only counted
    here.
    """

    day: date
    model: str
    invoiced_usd: Decimal | None
    counted_usd: Decimal | None
    calls: int
    unpriced_calls: int
    status: str

    @property
    def difference_usd(self) -> Decimal:
        return (self.invoiced_usd or Decimal(0)) - (self.counted_usd or Decimal(0))


def match(
    billed: Mapping[tuple[date, str], Decimal],
    counted: Iterable[dict[str, Any]],
    provider: str = "",
    names: Mapping[str, str] | None = None,
) -> list[Matched]:
    """Every day and model of either side. `counted` are rows of COUNTED, `names` how the invoice
    writes its models.

    Without a provider, those count that answered for a model of the invoice: another provider's
    usage is not missing.
    """
    models = {model for _, model in billed}
    rows: list[dict[str, Any]] = [row | {"name": _name(row, models)} for row in counted]
    providers = (
        {provider} if provider else {row["provider"] for row in rows if row["name"] in models}
    )
    ours: dict[tuple[date, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["provider"] in providers:
            ours[row["day"], row["name"]].append(row)
    written = [name for row in rows for name in (row["response_model"], row["model"])] + [
        *(names or {}).values()
    ]
    shown = {known_as(name): DATED.sub("", name) for name in written}
    return [
        _matched((place[0], shown.get(place[1], place[1])), billed.get(place), ours.get(place, []))
        for place in sorted(billed.keys() | ours.keys())
    ]


def _name(row: dict[str, Any], models: set[str]) -> str:
    """What the provider calls the model, or what we do where the invoice does."""
    theirs = known_as(row["response_model"])
    ours = known_as(row["model"])
    return ours if not theirs or (ours in models and theirs not in models) else theirs


def _matched(
    place: tuple[date, str], invoiced: Decimal | None, rows: list[dict[str, Any]]
) -> Matched:
    calls = sum(row["calls"] for row in rows)
    unpriced = sum(row["unpriced_calls"] for row in rows)
    known = [row["cost"] for row in rows if row["cost"] is not None]
    counted = sum(known, Decimal(0)) if known else None
    if not rows:
        status = "only on the invoice"
    elif abs((invoiced or Decimal(0)) - (counted or Decimal(0))) <= HALF_A_CENT and not unpriced:
        status = FINE
    elif unpriced:
        status = "unpriced"
    else:
        status = "only counted here" if invoiced is None else "differing"
    return Matched(*place, invoiced, counted, calls, unpriced, status)


def sentences(
    bill: Invoice, found: list[Matched], counted: list[dict[str, Any]], may_be_billed: int
) -> list[str]:
    """The outcome in words, and what of the file or of the count may explain a difference."""
    matched = sum(row.status == FINE for row in found)
    known = [row.counted_usd for row in found if row.counted_usd is not None]
    said = [
        f"{matched} of {len(found)} days and models agree to the cent: "
        f"{usd(sum(bill.billed.values(), Decimal(0)))} "
        f"on the invoice, {usd(sum(known)) if known else 'nothing'} counted"
    ]
    if bill.credits_usd:
        said.append(f"credits of {usd(-bill.credits_usd)} are taken off")
    if bill.converted:
        said.append(
            f"converted from {', '.join(sorted(bill.converted))} at the rates of each day in "
            "currencies/"
        )
    said += [
        f"line {line} says what line {first} says, in every column: both count as billed; remove "
        "one if the export "
        "repeats itself"
        for line, first in bill.repeated[:LISTED]
    ]
    if len(bill.repeated) > LISTED:
        said.append(f"and {len(bill.repeated) - LISTED} more lines that repeat another")
    if not counted:
        first, last = bill.days
        said.append(
            f"nothing at all was counted from {first} to {last}: is it the invoice of another "
            "month, or of "
            "another installation?"
        )
    if may_be_billed and matched < len(found):
        said.append(
            f"{may_be_billed} requests were given up on in these days and may be on the bill: "
            "`./weir query --named waste_by_model`"
        )
    return said
