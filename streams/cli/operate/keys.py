"""`weir keys`: adds, lists and revokes API keys of the gateway."""

import secrets
from datetime import timedelta
from typing import Annotated, cast

import typer

from schemas.definitions.api_keys import SCOPES, ApiKey, Scope
from schemas.definitions.kinds import Definitions
from streams.cli.output import AsJson, err, out, say_json, table
from streams.config import settings
from streams.engine import definitions_topic
from streams.engine.client import now
from streams.engine.errors import UserError
from streams.gateway.auth import new_key
from streams.operations.connections import codec_of

keys = typer.Typer(no_args_is_help=True, add_completion=False)


@keys.command(
    "add", help="Make a key. It is printed once, and kept nowhere but with whoever has it."
)
def add(
    tenant: Annotated[
        str, typer.Option(help="Whose key it is: all that it asks is this tenant's.")
    ],
    scope: Annotated[
        list[str], typer.Option(help=f"What it may do, any of: {', '.join(SCOPES)}.")
    ] = ["request", "read", "feedback"],
    role: Annotated[
        list[str], typer.Option(help="Roles of those whose approvals come with it.")
    ] = [],
    subject: Annotated[
        str,
        typer.Option(
            help="The person whose key it is: their word on approvals counts as this "
            "name's; without one, as the key's."
        ),
    ] = "",
    name: Annotated[
        str, typer.Option(help="Its name in lists and records; without one, a random one.")
    ] = "",
    days: Annotated[float, typer.Option(help="Days until it expires; 0: never.", min=0)] = 0,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    codec = codec_of(settings())
    definitions = definitions_topic.read_all(settings(), codec)
    name = name or f"{tenant.replace('_', '-').lower()[:80]}-{secrets.token_hex(3)}"
    check_new(definitions, tenant, scope, name)
    text, key = new_key(
        name,
        tenant,
        cast(tuple[Scope, ...], tuple(scope)),
        now() + timedelta(days=days) if days else None,
        roles=tuple(role),
        subject=subject,
        description=description,
    )
    definitions_topic.publish(settings(), codec, definitions_topic.plan(definitions, [key]))
    err.print(f"key {name} of tenant {tenant} may: {', '.join(key.scopes)}. It is shown this once:")
    if as_json:
        return say_json(
            {
                "name": name,
                "key": text,
                "tenant": tenant,
                "scopes": list(key.scopes),
                "expires": key.expires,
            }
        )
    out.print(text, markup=False, soft_wrap=True)


def check_new(given: Definitions, tenant: str, scopes: list[str], name: str) -> None:
    """Raises UserError where a key cannot be made."""
    if given.tenant(tenant) is None:
        raise UserError(
            f"no tenant {tenant!r} is defined: apply one (`weir apply FOLDER`), or correct the name"
        )
    wrong = set(scopes) - set(SCOPES)
    if wrong:
        raise UserError(f"{sorted(wrong)[0]!r} is no scope: use {', '.join(SCOPES)}")
    if given.key(name) is not None:
        raise UserError(
            f"there is a key {name!r} already: revoke it (`weir keys revoke {name}`), or choose "
            "another name"
        )


@keys.command("list", help="List the keys that are valid.")
def listed(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "", as_json: AsJson = False
) -> None:
    found = [
        key
        for key in valid(definitions_topic.read_all(settings(), codec_of(settings())))
        if tenant in ("", key.tenant)
    ]
    if as_json:
        return say_json([key.model_dump(mode="json", exclude={"salt", "sha256"}) for key in found])
    out.print(
        table(
            "Keys",
            ("name", "tenant", "whose", "scopes", "expires", "what for"),
            [
                (
                    key.name,
                    key.tenant,
                    key.subject,
                    ", ".join(key.scopes),
                    key.expires or "never",
                    key.description,
                )
                for key in found
            ],
        )
    )


@keys.command("revoke", help="Take a key back; the gateway refuses it within a second.")
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    codec = codec_of(settings())
    definitions = definitions_topic.read_all(settings(), codec)
    try:
        gone = definitions_topic.removal(definitions, "key", name, now())
    except KeyError as error:
        raise UserError(
            f"there is no key named {name!r}: `weir keys list` shows those that there are"
        ) from error
    definitions_topic.publish(settings(), codec, [gone])
    err.print(f"the key {name} is revoked")


def valid(definitions: Definitions) -> list[ApiKey]:
    """The keys in force, by name, expired ones left out."""
    return [
        key for key in definitions.in_force(ApiKey) if not (key.expires and key.expires <= now())
    ]
