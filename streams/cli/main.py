"""What can be asked of `./weir`? Every command, and how a mistake is answered: one sentence that
says what to do.

A command's module is imported when the command is called: the engines' clients cost half a second
that `--help` should not.
"""

import importlib
import keyword
import signal
import sys
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from streams import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "streams.cli.operate.demo",
        "Start everything, send twenty requests, show what became of them.",
    ),
    "test": ("streams.cli.develop.tests", "Run every test, on the embedded engines."),
    "lint": ("streams.cli.develop.lint", "Check format, rules, types and dead code."),
    "up": ("streams.cli.operate.stack", "Start the stack in the background."),
    "down": ("streams.cli.operate.stack", "Stop it; its data stays."),
    "status": ("streams.cli.operate.stack", "Which services run, since when, how often restarted."),
    "reset": ("streams.cli.operate.stack", "Stop it and forget its data."),
    "deploy": ("streams.cli.operate.stack", "Make topics, schemas, tables and the collection."),
    "apply": ("streams.cli.operate.stack", "Apply a folder of definitions and documents."),
    "check": (
        "streams.cli.develop.check",
        "Check a folder of definitions, and run the tests beside its prompts.",
    ),
    "prompts": (
        "streams.cli.develop.prompts",
        "List the prompts in force, show a version, compare two.",
    ),
    "try": ("streams.cli.develop.try_out", "Talk to an agent in memory, before anybody else does."),
    "send": ("streams.cli.runs.ask", "Send one request and wait for its outcome."),
    "objects": (
        "streams.cli.runs.objects",
        "What is too large for an event: list it, show it, remove what is old.",
    ),
    "runs": ("streams.cli.runs.runs", "List the newest runs; show, fork, cancel, approve or deny."),
    "traces": (
        "streams.cli.runs.traces",
        "List the newest traces, whoever told them; show one as a tree.",
    ),
    "show": ("streams.cli.runs.runs", "Show one run, step by step."),
    "follow": ("streams.cli.runs.follow", "Read what a model says while it says it."),
    "feedback": ("streams.cli.runs.ask", "Say what somebody thinks of a run."),
    "signal": ("streams.cli.runs.approvals", "Tell a workflow that waits what happened outside."),
    "approvals": ("streams.cli.runs.approvals", "List the calls that wait for somebody's word."),
    "cost": (
        "streams.cli.operate.cost",
        "What it cost, would have cost, will cost, and whether the bill agrees.",
    ),
    "balance": (
        "streams.cli.operate.balance",
        "Whether all that was produced has landed, once, and who is behind.",
    ),
    "query": ("streams.cli.operate.query", "Ask ClickHouse: SQL, or a ready query."),
    "topics": ("streams.cli.operate.query", "List the topics."),
    "schema": ("streams.cli.operate.query", "Print an event's Avro schema."),
    "keys": ("streams.cli.operate.keys", "Make, list and revoke API keys of the gateway."),
    "webhooks": (
        "streams.cli.operate.webhooks",
        "See webhooks and their deliveries, send again what was given up.",
    ),
    "dlq": ("streams.cli.operate.dlq", "List, show and replay dead letters."),
    "top": ("streams.cli.develop.describe", "The last hour, live."),
    "describe": (
        "streams.cli.develop.describe",
        "Diagram, topics, settings, AsyncAPI, out of the code.",
    ),
    "replay": (
        "streams.cli.develop.replay",
        "Play recorded conversations, compare message by message.",
    ),
    "load": ("streams.cli.develop.replay", "Replay real arrivals, compare the sums."),
    "bench": ("streams.cli.develop.bench", "Measure the engine beside its peers."),
    "chaos": ("streams.cli.develop.bench", "Kill everything at random, then count."),
}
"""Command, its module, its help line. `./weir COMMAND --help` has the rest."""


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
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    called = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    try:
        application(only=called)(prog_name="weir")
    except known_mistakes() as mistake:
        from schemas.wire.codec import first_error

        words = (
            f"a setting is wrong: {first_error(mistake)}"
            if isinstance(mistake, ValidationError)
            else str(mistake)
        )
        print(f"weir: {words}", file=sys.stderr)
        sys.exit(1)


def known_mistakes() -> tuple[type[BaseException], ...]:
    """The exceptions that carry a sentence for the user, of the modules that were imported."""
    names = {
        "streams.cli.output": "Problem",
        "infra.embedded.service": "StackError",
        "streams.lab.replay.recording": "BadRecording",
        "streams.lab.replay.recorded_runs": "BadHistory",
        "streams.lab.replay.traffic": "BadTrace",
        "streams.definitions.folder": "BadCompany",
        "streams.lab.bench_engine.broker": "Unmeasured",
    }
    loaded = [
        getattr(sys.modules[module], name)
        for module, name in names.items()
        if hasattr(sys.modules.get(module), name)
    ]
    return (ValidationError, ConnectionError, *loaded)


if __name__ == "__main__":
    main()
