"""The command line `weir`; a known error is one sentence that says what to do.

A command's module is imported when the command is called: the engines' clients cost half a second
that `--help` should not.
"""

import importlib
import keyword
import logging
import signal
import sys
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from streams import __version__
from streams.docs.commands import COMMANDS
from streams.engine.errors import UserError


def print_version(wanted: bool) -> None:
    """`weir --version` prints the version and ends."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def application(only: str | None = None) -> typer.Typer:
    """The command line; with `only`, that command whole, and the others by name."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="LLM agents in production, exactly once, on Kafka.",
    )
    app.callback()(root_options)
    for name, (module, words) in COMMANDS.items():
        if only is None or name == only:
            found = getattr(importlib.import_module(module), name + "_" * keyword.iskeyword(name))
            app.add_typer(found, name=name, help=words) if isinstance(found, typer.Typer) else (
                app.command(name, help=words, context_settings=extra_of(name))(found)
            )
        else:
            app.command(name, help=words)(_never)
    return app


def root_options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Options that stand before a command."""


def extra_of(name: str) -> dict[str, Any]:
    """`test` hands its arguments on to pytest."""
    return {"allow_extra_args": True, "ignore_unknown_options": True} if name == "test" else {}


def _never() -> None:
    raise AssertionError("this command's module was not imported")


def main() -> None:
    """Runs the command; a known mistake is one sentence on stderr and exit code 1.

    SIGTERM, as `timeout` and CI send it, ends it as Ctrl-C does: a stack that it brought up is put
    away first.
    """
    silence_clients()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    called = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    try:
        application(only=called)(prog_name="weir")
    except known_mistakes() as mistake:
        from schemas.wire.codec import first_error
        from streams.cli.terminal import visible

        words = (
            f"a setting is wrong: {first_error(mistake)}"
            if isinstance(mistake, ValidationError)
            else str(mistake)
        )
        print(f"weir: {visible(words)}", file=sys.stderr)
        sys.exit(1)


def silence_clients() -> None:
    """Turns off the log lines of the engines' clients: a command tells their failure itself, once,
    as a UserError.

    Only the command line does so. A worker or the gateway that imports the same modules logs
    everything.
    """
    for name in ("clickhouse_connect", "streams.engine.kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def known_mistakes() -> tuple[type[BaseException], ...]:
    """The exceptions that carry a sentence for the user. `StackError` is known only where the
    embedded stack was imported.
    """
    service = sys.modules.get("infra.embedded.service")
    stack_errors = (service.StackError,) if service else ()
    return (ValidationError, ConnectionError, UserError, *stack_errors)


if __name__ == "__main__":
    main()
