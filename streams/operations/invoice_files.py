"""Reads a provider's invoice from its CSV export.

A CSV with a line a day and model: `date`, `model` and `cost_usd`, or what OpenAI's and Anthropic's
exports call them, in any order, beside whatever else it has; with commas, semicolons, tabs or bars
between. Amounts are read with a decimal point or a decimal comma, the same throughout a file. Other
currencies become dollars at the rate of the day. What could be read in two ways is asked, not
guessed.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from streams.engine.errors import UserError

COLUMNS = {
    "date": ("date", "day", "usage_date", "usage_date_utc", "start_time_iso"),
    "model": ("model", "model_name", "sku", "line_item"),
    "cost": ("cost_usd", "cost", "amount", "amount_usd", "amount_value"),
    "currency": ("currency", "amount_currency", "currency_code"),
}
IN_CURRENCY = re.compile(r"(?:cost|amount)_([a-z]{3})")
PLAIN = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2212": "-", "\u2019": "'"})
SEPARATORS = ",;\t|"
SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}
AMOUNT = re.compile(
    r"(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<before>[$€£]|[A-Z]{3})?\s*(?P<second>-)?"
    r"(?P<number>\d[\d.,' "
    r"]{0,40}|[.,]\d{1,40})(?P<power>[eE][-+]?\d{1,2})?\s*(?P<after>[$€£]|[A-Z]{3})?"
    r"\s*(?(open)\))"
)
GROUPS = re.compile(r"\d{1,3}([,.' ])\d{3}(?:\1\d{3})*")
DATED = re.compile(r"[-@](20\d{2})-?(\d{2})-?(\d{2})$")
FIRST = date(2020, 1, 1)
LAST = date(2099, 12, 31)
Rates = Callable[[str, date], Decimal | None]


@dataclass
class Invoice:
    """Dollars by day and model; how it writes each model; credits; lines that repeat an earlier
    one; currencies.
    """

    path: Path
    billed: dict[tuple[date, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    names: dict[str, str] = field(default_factory=dict)
    credits_usd: Decimal = Decimal(0)
    repeated: list[tuple[int, int]] = field(default_factory=list)
    converted: set[str] = field(default_factory=set)

    @property
    def days(self) -> tuple[date, date]:
        days = [day for day, _ in self.billed]
        return min(days), max(days)


@dataclass(frozen=True)
class InvoiceLine:
    """A line of the file, its amount in parts: which mark is the decimal one shows when all are
    read.
    """

    number: int
    day: date
    model: str
    amount: str
    parts: dict[str, str]
    currency: str


def read(path: Path, rates: Rates, decimal: str = "") -> Invoice:
    """The invoice in a file. A UserError names the line that is wrong. `decimal`: the mark, where
    both are possible.
    """
    found = Invoice(path)
    text, skipped = _text(path)
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    lines = list(
        _lines(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator), skipped, found)
    )
    if not lines:
        raise UserError(
            f"{path} has no lines below its heading: export the invoice by day and model"
        )
    mark = decimal or _mark(path, lines, separator)
    for line in lines:
        amount, currency = _amount(f"{path}, line {line.number}", line, mark)
        if currency != "USD":
            amount *= _rate(path, line, currency, rates)
            found.converted.add(currency)
        model = known_as(line.model)
        found.billed[line.day, model] += amount
        found.names.setdefault(model, line.model)
        found.credits_usd += min(amount, Decimal(0))
    return found


def _lines(rows: csv.DictReader, skipped: int, into: Invoice) -> Iterator[InvoiceLine]:
    """The lines that hold anything. Those that repeat another in every column are told, and count
    as billed.
    """
    seen: dict[tuple[str | None, ...], int] = {}
    path = into.path
    try:
        names = _columns(path, rows.fieldnames or [])
        named = IN_CURRENCY.fullmatch(names["cost"].strip().lower())
        for row in rows:
            cells = tuple(row[name] for name in rows.fieldnames or [])
            number = rows.line_num + skipped
            if not any((cell or "").strip() for cell in cells):
                continue
            if cells in seen:
                into.repeated.append((number, seen[cells]))
            seen.setdefault(cells, number)
            currency = (row[names["currency"]] if "currency" in names else named and named[1]) or ""
            at = f"{path}, line {number}"
            amount = (row[names["cost"]] or "").translate(PLAIN).strip()
            yield InvoiceLine(
                number,
                _day(at, row[names["date"]]),
                (row[names["model"]] or "").strip(),
                amount,
                _parts(at, amount),
                currency.strip().upper(),
            )
    except csv.Error as error:
        raise UserError(f"{path} is no CSV in UTF-8 ({error}): export it anew") from error


def _text(path: Path) -> tuple[str, int]:
    """The file without Excel's first line (`sep=;`), and how many lines that took."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no CSV in UTF-8 ({error}): export it anew") from error
    head, _, rest = text.partition("\n")
    return (rest, 1) if head.strip().lower().startswith("sep=") else (text, 0)


def _columns(path: Path, header: Iterable[str]) -> dict[str, str]:
    there = {(name or "").strip().lower(): name for name in header}
    found = {
        what: next((there[name] for name in names if name in there), None)
        for what, names in COLUMNS.items()
    }
    found["cost"] = found["cost"] or next(
        (name for lower, name in there.items() if IN_CURRENCY.fullmatch(lower)), None
    )
    missing = [COLUMNS[what][0] for what in ("date", "model", "cost") if found[what] is None]
    if missing:
        raise UserError(
            f"{path}, line 1: no column {' and no column '.join(missing)} (there are: "
            f"{', '.join(there) or 'none'}): rename the columns to date, model, cost_usd"
        )
    return {what: name for what, name in found.items() if name is not None}


def _day(at: str, text: str | None) -> date:
    try:
        day = date.fromisoformat((text or "").strip()[:10])
    except ValueError as error:
        raise UserError(
            f"{at}: {text!r} is no date: write 2026-11-26, and leave out lines of totals"
        ) from error
    if not FIRST <= day <= LAST:
        raise UserError(f"{at}: {day} is no day of a model's invoice: correct it")
    return day


def _mark(path: Path, lines: list[InvoiceLine], separator: str) -> str:
    """The decimal mark of the file: what its clear amounts have, else a point. A UserError where
    that is a guess.
    """
    clear: dict[str, InvoiceLine] = {}
    unclear: InvoiceLine | None = None
    for line in lines:
        number = line.parts["number"]
        marks = [character for character in number if character in ".,"]
        if len(set(marks)) == 2:
            clear.setdefault(marks[-1], line)
        elif len(marks) > 1:
            clear.setdefault("." if marks[0] == "," else ",", line)
        elif marks and (number.startswith("0") or not GROUPS.fullmatch(number)):
            clear.setdefault(marks[0], line)
        elif marks:
            unclear = unclear or line
    if len(clear) == 2:
        raise UserError(
            f"{path}, lines {clear['.'].number} and {clear[','].number}: {clear['.'].amount!r} "
            "has a decimal point "
            f"and {clear[','].amount!r} a decimal comma: write them alike"
        )
    if (
        clear or unclear is None or separator == ","
    ):  # where commas part columns, amounts have a point
        return "," if "," in clear else "."
    one = unclear.amount.replace(",", "").replace(".", "")
    other = unclear.amount.replace(",", ".")
    raise UserError(
        f"{path}, line {unclear.number}: {unclear.amount!r} may be {one} or {other}, and no "
        "other line tells: "
        "say `--decimal .` or `--decimal ,`"
    )


def _parts(at: str, amount: str) -> dict[str, str]:
    found = AMOUNT.fullmatch(amount)
    if found is None:
        raise UserError(f"{at}: {amount!r} is no amount of money: write 12.34")
    return {name: (value or "").strip() for name, value in found.groupdict().items()}


def _amount(at: str, line: InvoiceLine, mark: str) -> tuple[Decimal, str]:
    """The amount, below zero where it is a credit (also as (12.34)), and its currency."""
    parts = line.parts
    whole, _, rest = parts["number"].partition(mark)
    if re.search(r"\D", rest) or not (whole.isdigit() or not whole or GROUPS.fullmatch(whole)):
        raise UserError(
            f"{at}: {line.amount!r} is no amount with the decimal mark {mark!r}, which other "
            "lines have: "
            "write them alike"
        )
    number = Decimal(f"{re.sub('[^0-9]', '', whole) or 0}.{rest or 0}{parts['power']}")
    named = {
        SYMBOLS.get(sign, sign) for sign in (parts["before"], parts["after"], line.currency) if sign
    }
    if len(named) > 1:
        raise UserError(f"{at}: two currencies, {' and '.join(sorted(named))}: say which one it is")
    credit = parts["open"] or "-" in parts["sign"] + parts["second"]
    return (-number if credit else number), (named or {"USD"}).pop()


def _rate(path: Path, line: InvoiceLine, currency: str, rates: Rates) -> Decimal:
    rate = rates(currency, line.day)
    if rate is None:
        raise UserError(
            f"{path}, line {line.number}: nobody knows what one {currency} was worth on "
            f"{line.day}: apply "
            f"currencies/{currency}.yaml with a rate since then, or export the invoice in USD"
        )
    return rate


@lru_cache(maxsize=10_000)
def known_as(model: str) -> str:
    """A model's name without case, date, blanks, dots, and what some bills set behind a comma
    (`gpt-4o, input`).
    """
    name = model.partition(",")[0].strip().lower()
    return DATED.sub("", name).replace(" ", "-").replace(".", "-")
