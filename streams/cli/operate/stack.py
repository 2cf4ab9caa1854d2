"""`weir up`, `down`, `status`, `reset`, `deploy` and `apply`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException

from infra.embedded import stack as embedded
from streams import app
from streams.cli.output import AsJson, err, out, progress, say_json, table
from streams.config import Settings, settings
from streams.engine.errors import UserError
from streams.lab.isolated_stack import resident_mb

Slots = Annotated[int, typer.Option(min=1, max=16, help="Workers a stage and call runners.")]


def start_with_progress(chosen: Settings, slots: int = 1) -> None:
    """Starts the stack, one step of the bar a service that is ready."""
    with progress("starting the stack") as update:
        app.start(
            chosen, lambda done, total, words: update(done, words, total), slots=slots, train=True
        )


@contextmanager
def running_with_progress(chosen: Settings) -> Iterator[None]:
    """The stack for the length of a block; started, with a bar, where it is not up."""
    with ExitStack() as opened:
        with progress("starting the stack") as update:
            opened.enter_context(
                app.running(chosen, lambda done, total, words: update(done, words, total))
            )
        yield


def up(slots: Slots = 1) -> None:
    """Starts the stack in the background and returns when it is ready."""
    if app.is_up(settings()):
        raise UserError(
            f"the stack in {settings().home.resolve()} is up already: `./weir status`, or "
            "`./weir down` first"
        )
    start_with_progress(settings(), slots)
    print_ports(settings())


def print_ports(chosen: Settings) -> None:
    rows = [
        (
            "gateway",
            f"http://{chosen.gateway_host}:{chosen.gateway_port}/v1",
            "OpenAI's and Anthropic's clients; /openapi.json",
        ),
        ("Kafka", chosen.bootstrap(), "any Kafka client"),
        ("schema registry", chosen.registry(), "Confluent-compatible"),
        (
            "ClickHouse",
            chosen.clickhouse(),
            f"HTTP protocol, database {chosen.clickhouse_database}",
        ),
        ("Qdrant", chosen.qdrant(), f"REST, collection {chosen.qdrant_collection}"),
        ("live views", f"http://127.0.0.1:{chosen.live_port}/api/live", "`./weir top`"),
        (
            "scripted model and tools",
            f"http://127.0.0.1:{chosen.services_port}",
            "OpenAI-compatible, /v1",
        ),
    ]
    err.print(table("Open ports", ("what", "where", "how"), rows))


def down() -> None:
    """Stops the stack; its data stays."""
    if not app.is_up(settings()):
        raise UserError(
            f"no stack is up in {settings().home.resolve()}; start one with `./weir up`"
        )
    with err.status("stopping: workers finish what they have begun"):
        app.stop(settings())
    err.print("the stack is down; its data stays in " + str(settings().home))


def status(as_json: AsJson = False) -> None:
    """Says which services run, since when, how often they were restarted."""
    found = embedded.status(settings().home.resolve())
    if as_json:
        return say_json(found)
    if not app.is_up(settings()):
        raise UserError(
            f"no stack is up in {settings().home.resolve()}; start one with `./weir up`"
        )
    out.print(
        table(
            "Services",
            ("service", "state", "pid", "port", "restarts", "MB"),
            [service_row(name, service) for name, service in found["services"].items()],
            numbers=("pid", "port", "restarts", "MB"),
        )
    )
    for words in topics_made_anew(settings()) if found["state"] == "ready" else ():
        err.print(words, markup=False)


def topics_made_anew(chosen: Settings) -> list[str]:
    """What is to be said of topics that are others now than those that a sink worker has written
    offsets of.
    """
    from streams.operations.balance import earlier_offsets
    from streams.operations.connections import KAFKA_S

    try:
        found = earlier_offsets(chosen, KAFKA_S)
    except KafkaException as error:
        return [f"whether topics were made anew is not known: Kafka says {error.args[0].str()}"]
    return [
        f"{topic} was deleted and made anew: {consumer} still has offsets of the topic before. "
        "It takes the new one from "
        "its first record when it starts; nothing is to be set by hand. Its log and `./weir "
        "balance` tell more"
        for consumer, topic in found
    ]


def service_row(name: str, service: dict[str, Any]) -> tuple[Any, ...]:
    return (
        name,
        service["state"],
        service.get("pid"),
        service.get("port"),
        service.get("restarts"),
        None if (held := resident_mb(service.get("pid"))) is None else int(held),
    )


def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stops the stack and forgets all its data."""
    if not yes and not typer.confirm(f"Forget all data in {settings().home.resolve()}?", err=True):
        raise UserError("nothing was forgotten")
    if app.is_up(settings()):
        app.stop(settings())
    app.reset(settings())
    err.print("all data is forgotten; the downloaded jars stay")


def deploy() -> None:
    """Makes topics, schemas, tables and the collection, wherever the settings point."""
    from streams.operations.deploy import deploy as do

    do(settings(), lambda words: err.print(words))


def apply(
    folder: Annotated[Path, typer.Argument(help="Folder of YAML definitions and documents.")],
) -> None:
    """Applies a company's definitions and documents; only what changed becomes a new version."""
    from streams.definitions.folder import load
    from streams.operations.deploy import apply as do

    company = load(folder)
    for warning in company.warnings:
        err.print(f"warning: {warning}")
    changed = do(settings(), company)
    err.print("\n".join(changed) if changed else "nothing has changed")
