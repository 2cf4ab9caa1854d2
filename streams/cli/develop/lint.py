"""`weir lint`: format, lint rules, types and dead code, the same here and in CI."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.output import ROOT, err

BIN = Path(sys.executable).parent
CHECKS: dict[str, tuple[str, ...]] = {
    "format": ("ruff", "format", "--check", "--quiet"),
    "rules": ("ruff", "check", "--quiet"),
    "types": ("basedpyright",),
    "dead code": ("vulture",),
}
FIXES: dict[str, tuple[str, ...]] = CHECKS | {
    "format": ("ruff", "format", "--quiet"),
    "rules": ("ruff", "check", "--quiet", "--fix"),
}


def lint(
    fix: Annotated[
        bool, typer.Option("--fix", help="Format, and fix what can be fixed automatically.")
    ] = False,
    only: Annotated[str, typer.Option(help=f"One of: {', '.join(CHECKS)}.")] = "",
) -> None:
    """Checks format, rules, types and dead code, and prints each tool's findings."""
    chosen = {name: argv for name, argv in (FIXES if fix else CHECKS).items() if only in ("", name)}
    if not chosen:
        raise typer.BadParameter(f"no check is called {only!r}; there are {', '.join(CHECKS)}")
    failed = [name for name, argv in chosen.items() if not passes(argv)]
    for name in chosen:
        err.print(f"{'failed' if name in failed else 'ok':>6}  {name}")
    if failed:
        err.print("Run `./weir lint --fix` for what can be fixed automatically.")
        raise typer.Exit(1)


def passes(argv: tuple[str, ...]) -> bool:
    """Run one tool of the environment in the project's folder; its output is not touched."""
    return subprocess.call([BIN / argv[0], *argv[1:]], cwd=ROOT) == 0
