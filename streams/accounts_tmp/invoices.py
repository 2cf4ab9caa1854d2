"""Does a provider's invoice say what we counted, day by day and model by model, to the cent?

The invoice is a CSV with a line a day and model: `date`, `model` and `cost_usd` (or `cost`, or `amount`), in any order,
beside whatever else it has. Days are UTC. A model is the same with and without the date in its name, because providers
bill `gpt-4o` where they answer as `gpt-4o-2024-08-06`.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from streams.commands.common import Problem

COLUMNS = {"date": ("date", "day", "usage_date"), "model": ("model", "model_name", "sku"),
           "cost": ("cost_usd", "cost", "amount", "amount_usd")}
DATED = re.compile(r"[-@](20\d{2})-?(\d{2})-?(\d{2})$")
HALF_A_CENT = Decimal("0.005")
FINE = "matched"
COUNTED = """
SELECT toDate(at, 'UTC') AS day, model, response_model, provider, count() AS calls,
       countIf(cost_usd IS NULL) AS unpriced_calls, sum(cost_usd) AS cost
FROM token_usage WHERE at >= {begin:DateTime('UTC')} AND at < {end:DateTime('UTC')} + INTERVAL 1 DAY AND source = 'weir'
  AND NOT cache_hit
GROUP BY day, model, response_model, provider"""
"""What was called through Weir. What other applications told of is on their own bills."""


@dataclass(frozen=True)
class Matched:
    """A day and model. `status`: matched, differing, unpriced, only on the invoice, only counted here."""

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


def read(path: Path) -> dict[tuple[date, str], Decimal]:
    """The invoice: dollars by day and model. A Problem names the line that is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = _columns(path, rows.fieldnames or [])
            billed: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
            for row in rows:
                at = f"{path}, line {rows.line_num}"
                model = known_as(row[names["model"]] or "")
                billed[_day(at, row[names["date"]]), model] += _usd(at, row[names["cost"]])
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(f"{path} is no CSV in UTF-8 ({error}): export it anew") from error
    if not billed:
        raise Problem(f"{path} has no lines below its heading: export the invoice by day and model")
    return dict(billed)


def _columns(path: Path, header: Iterable[str]) -> dict[str, str]:
    there = {(name or "").strip().lower(): name for name in header}
    found = {what: next((there[name] for name in names if name in there), None) for what, names in COLUMNS.items()}
    missing = [COLUMNS[what][0] for what, name in found.items() if name is None]
    if missing:
        raise Problem(f"{path}, line 1: no column {' and no column '.join(missing)} (there are: "
                      f"{', '.join(there) or 'none'}): rename the columns to date, model, cost_usd")
    return {what: name for what, name in found.items() if name is not None}


def _day(at: str, text: str | None) -> date:
    try:
        return date.fromisoformat((text or "").strip()[:10])
    except ValueError as error:
        raise Problem(f"{at}: {text!r} is no date: write 2026-11-26") from error


def _usd(at: str, text: str | None) -> Decimal:
    try:
        usd = Decimal((text or "").strip().lstrip("$").replace(",", ""))
    except InvalidOperation as error:
        raise Problem(f"{at}: {text!r} is no amount in US dollars: write 12.34") from error
    if not usd.is_finite():
        raise Problem(f"{at}: {text!r} is no amount in US dollars: write 12.34")
    return usd


def known_as(model: str) -> str:
    """A model's name without case and date."""
    return DATED.sub("", model.strip().lower())


def match(
    billed: dict[tuple[date, str], Decimal], counted: Iterable[dict[str, Any]], provider: str = ""
) -> list[Matched]:
    """Every day and model of either side. `counted` are rows of COUNTED.

    Without a provider, those count that answered for a model of the invoice: another provider's usage is not missing.
    """
    models = {model for _, model in billed}
    rows = [row | {"name": _name(row, models)} for row in counted]
    providers = {provider} if provider else {row["provider"] for row in rows if row["name"] in models}
    ours: dict[tuple[date, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["provider"] in providers:
            ours[row["day"], row["name"]].append(row)
    return [_matched(place, billed.get(place), ours.get(place, [])) for place in sorted(billed.keys() | ours.keys())]


def _name(row: dict[str, Any], models: set[str]) -> str:
    """What the provider calls the model, or what we do where the invoice does."""
    theirs, ours = known_as(row["response_model"]), known_as(row["model"])
    return ours if not theirs or ours in models and theirs not in models else theirs


def _matched(place: tuple[date, str], invoiced: Decimal | None, rows: list[dict[str, Any]]) -> Matched:
    calls, unpriced = sum(row["calls"] for row in rows), sum(row["unpriced_calls"] for row in rows)
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
