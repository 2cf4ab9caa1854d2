"""What can be asked of `./weir`? Every command, and how a mistake is answered: one sentence that says what to do.

A command's module is imported when the command is called: the engines' clients cost half a second that `--help`
should not.
"""

import importlib
import keyword
import signal
import sys
from typing import Any

import typer
from pydantic import ValidationError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("streams.commands.demo", "Start everything, send twenty requests, show what became of them."),
    "test": ("streams.commands.test", "Run every test, on the embedded engines."),
    "up": ("streams.commands.stack", "Start the stack in the background."),
    "down": ("streams.commands.stack", "Stop it; its data stays."),
    "status": ("streams.commands.stack", "Which services run, since when, how often restarted."),
    "reset": ("streams.commands.stack", "Stop it and forget its data."),
    "deploy": ("streams.commands.stack", "Make topics, schemas, tables and the collection."),
    "apply": ("streams.commands.stack", "Apply a folder of definitions and documents."),
    "check": ("streams.commands.check", "Check a folder of definitions, and run the tests beside its prompts."),
    "prompts": ("streams.commands.prompting", "List the prompts in force, show a version, compare two."),
    "try": ("streams.commands.try_out", "Talk to an agent in memory, before anybody else does."),
    "send": ("streams.commands.ask", "Send one request and wait for its outcome."),
    "objects": ("streams.commands.objects", "What is too large for an event: list it, show it, remove what is old."),
    "runs": ("streams.commands.runs", "List the newest runs; show, fork, cancel, approve or deny."),
    "traces": ("streams.commands.traces", "List the newest traces, whoever told them; show one as a tree."),
    "show": ("streams.commands.runs", "Show one run, step by step."),
    "follow": ("streams.commands.along", "Read what a model says while it says it."),
    "feedback": ("streams.commands.ask", "Say what somebody thinks of a run."),
    "signal": ("streams.commands.people", "Tell a workflow that waits what happened outside."),
    "approvals": ("streams.commands.people", "List the calls that wait for somebody's word."),
    "cost": ("streams.commands.cost", "What it cost, would have cost, will cost, and whether the bill agrees."),
    "balance": ("streams.commands.balance", "Whether all that was produced has landed, once, and who is behind."),
    "query": ("streams.commands.look", "Ask ClickHouse: SQL, or a ready query."),
    "topics": ("streams.commands.look", "List the topics."),
    "schema": ("streams.commands.look", "Print an event's Avro schema."),
    "keys": ("streams.commands.keys", "Make, list and revoke API keys of the edge."),
    "webhooks": ("streams.commands.webhooks", "See webhooks and their deliveries, send again what was given up."),
    "dlq": ("streams.commands.letters", "List, show and replay dead letters."),
    "top": ("streams.commands.picture", "The last hour, live."),
    "describe": ("streams.commands.picture", "Diagram, topics, settings, AsyncAPI, out of the code."),
    "replay": ("streams.commands.evidence", "Play recorded conversations, compare message by message."),
    "load": ("streams.commands.evidence", "Replay real arrivals, compare the sums."),
    "bench": ("streams.commands.measure", "Measure the engine beside its peers."),
    "chaos": ("streams.commands.measure", "Kill everything at random, then count."),
}
"""Command, its module, its help line. `./weir COMMAND --help` has the rest."""


def application(only: str | None = None) -> typer.Typer:
    """The command line; with `only`, that command whole, and the others by name."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None,
                      pretty_exceptions_enable=False, help="LLM agents in production, exactly once, on Kafka.")
    for name, (module, words) in COMMANDS.items():
        if only is None or name == only:
            found = getattr(importlib.import_module(module), name + "_" * keyword.iskeyword(name))
            app.add_typer(found, name=name, help=words) if isinstance(found, typer.Typer) else (
                app.command(name, help=words, context_settings=extra_of(name))(found))
        else:
            app.command(name, help=words)(_never)
    return app


def extra_of(name: str) -> dict[str, Any]:
    """`test` hands its arguments on to pytest."""
    return {"allow_extra_args": True, "ignore_unknown_options": True} if name == "test" else {}


def _never() -> None:
    raise AssertionError("this command's module was not imported")


def main() -> None:
    """Runs the command; a known mistake is one sentence on stderr and exit code 1.

    SIGTERM, as `timeout` and CI send it, ends it as Ctrl-C does: a stack that it brought up is put away first.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    called = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    try:
        application(only=called)(prog_name="weir")
    except known_mistakes() as mistake:
        from schemas.codec import first_error  # noqa: PLC0415 - only where something is wrong

        words = f"a setting is wrong: {first_error(mistake)}" if isinstance(mistake, ValidationError) else str(mistake)
        print(f"weir: {words}", file=sys.stderr)
        sys.exit(1)


def known_mistakes() -> tuple[type[BaseException], ...]:
    """The exceptions that carry a sentence for the user, of the modules that were imported."""
    names = {"streams.commands.common": "Problem", "infra.embedded.service": "StackError",
             "streams.replay.recording": "BadRecording", "streams.replay.recorded_runs": "BadHistory",
             "streams.replay.traffic": "BadTrace", "streams.definitions.company": "BadCompany", "streams.bench.ground": "Unmeasured"}
    loaded = [getattr(sys.modules[module], name) for module, name in names.items()
              if hasattr(sys.modules.get(module), name)]
    return (ValidationError, ConnectionError, *loaded)


if __name__ == "__main__":
    main()
