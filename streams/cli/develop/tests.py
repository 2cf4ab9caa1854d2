"""`weir test`: runs all tests."""

import subprocess
import sys

import typer

from streams.cli.output import ROOT


def test(context: typer.Context) -> None:
    """Runs pytest in the project; arguments are handed on (`./weir test tests/streams -x`)."""
    raise typer.Exit(subprocess.call([sys.executable, "-m", "pytest", *context.args], cwd=ROOT))
