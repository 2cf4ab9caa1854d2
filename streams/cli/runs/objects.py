"""`weir objects`: bodies that are stored outside of Kafka because of their size."""

import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

import typer

from schemas.events.base import MONTH
from schemas.wire.large_bodies import MissingBodyError
from sinks.objects import ObjectStore, StoredObject
from streams.cli.output import AsJson, err, out, say_json, table
from streams.config import settings
from streams.engine.client import now
from streams.engine.errors import UserError

objects = typer.Typer(add_completion=False)
Tenant = Annotated[str, typer.Option(help="Only this tenant's.")]


@objects.callback(invoke_without_command=True)
def listed(context: typer.Context, tenant: Tenant = "", as_json: AsJson = False) -> None:
    """How many bodies are kept for each tenant, and how large; or one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    rows = [*sums(store().list_objects(tenant)).values()]
    if as_json:
        return say_json({"store": store().name, "tenants": rows})
    names = ("folder", "objects", "bytes", "oldest", "newest")
    out.print(
        table(
            f"Bodies in {store().name}",
            names,
            [
                (
                    row["folder"],
                    row["objects"],
                    f"{row['bytes']:,}",
                    f"{row['oldest']:%Y-%m-%d %H:%M}",
                    f"{row['newest']:%Y-%m-%d %H:%M}",
                )
                for row in rows
            ],
            numbers=("objects", "bytes"),
        )
    )


@objects.command()
def show(
    key: Annotated[
        str, typer.Argument(help="As an event, ./weir runs show or ClickHouse name it.")
    ],
) -> None:
    """Write one body to standard output, as it was put; a terminal obeys nothing in it."""
    try:
        body = store().get(key)
    except MissingBodyError as missing:
        raise UserError(
            f"{missing}: it was removed, or never put. `./weir objects` tells what is kept"
        ) from missing
    if sys.stdout.isatty():
        out.print(body.decode("utf-8", "replace"), soft_wrap=True)
    else:
        sys.stdout.buffer.write(body)


@objects.command()
def sweep(
    days: Annotated[
        float, typer.Option(help="Remove what nothing has named for so many days.", min=1)
    ] = MONTH.days,
    tenant: Tenant = "",
    as_json: AsJson = False,
) -> None:
    """Remove old bodies: by default those that outlived the topics that name them. To be run every
    day.
    """
    before = now() - timedelta(days=days)
    removed([one for one in store().list_objects(tenant) if one.at < before], as_json)


@objects.command()
def erase(
    tenant: Annotated[str, typer.Argument(help="Whose bodies are removed, all of them.")],
    as_json: AsJson = False,
) -> None:
    """Remove all that is kept of a tenant."""
    removed([*store().list_objects(tenant)], as_json)


def store() -> ObjectStore:
    return ObjectStore(settings().object_store())


def sums(found: Iterable[StoredObject]) -> dict[str, dict[str, Any]]:
    """By the tenant's folder."""
    rows: dict[str, dict[str, Any]] = {}
    for one in found:
        folder = one.key.partition("/")[0]
        row = rows.setdefault(
            folder, {"folder": folder, "objects": 0, "bytes": 0, "oldest": one.at, "newest": one.at}
        )
        row["objects"] = row["objects"] + 1
        row["bytes"] = row["bytes"] + one.bytes
        row["oldest"] = min(row["oldest"], one.at)
        row["newest"] = max(row["newest"], one.at)
    return rows


def removed(found: list[StoredObject], as_json: bool) -> None:
    store().remove(found)
    if as_json:
        return say_json({"removed": len(found), "bytes": sum(one.bytes for one in found)})
    err.print(f"{len(found)} bodies of {sum(one.bytes for one in found):,} bytes are removed")
