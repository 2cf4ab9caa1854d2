"""Output shared by all commands: tables, progress, JSON.

Messages and progress go to stderr, results to stdout; with `--json` one JSON object is stdout's
last line.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from schemas.money import money_text
from streams.cli.terminal import PlainConsole

WIDTH = None if sys.stdout.isatty() else 160
"""A file or a program that reads is no narrow window."""

out = PlainConsole(width=WIDTH)
err = PlainConsole(stderr=True, width=None if sys.stderr.isatty() else 160)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")]
ROOT = Path(__file__).parents[2]


def plain(value: Any) -> Any:
    """A value as JSON has it: money and ids as text, moments in ISO format."""
    if isinstance(value, Decimal):
        return money_text(value)
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def say_json(value: dict[str, Any] | list[Any]) -> None:
    sys.stdout.write(json.dumps(value, default=plain) + "\n")
    sys.stdout.flush()


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[str] = ()
) -> Table:
    """A table; `numbers` names the columns that are aligned to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(
            column, justify="right" if column in set(numbers) else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*map(shown, row))
    return made


def shown(value: Any) -> str:
    """A value in a table: money without an exponent and without idle zeros, moments to the
    millisecond in UTC.
    """
    if isinstance(value, Decimal):
        return money_text(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(
            " ", "milliseconds" if value.microsecond else "seconds"
        )
    return "" if value is None else str(value)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Any]:
    """A progress bar on stderr; yields `update(done, words=None)`."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as bar:
        task = bar.add_task(what, total=total)

        def update(done: float, words: str | None = None, total: int | None = None) -> None:
            if total is not None:
                bar.update(task, total=total)
            bar.update(task, completed=done, description=words or what)

        yield update


def short(text: str | None, length: int = 100) -> str:
    """The beginning of a text, on one line."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"
