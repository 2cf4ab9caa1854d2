"""`weir prompts`: lists, shows and compares versions of prompts."""

import difflib
from typing import Annotated

import typer

from processors.prompts.render import tokens_in
from schemas.definitions.kinds import Definitions
from schemas.definitions.prompts import Prompt
from streams.cli.output import AsJson, out, say_json, table
from streams.config import settings
from streams.engine.definitions_topic import read_all
from streams.engine.errors import UserError
from streams.operations.connections import codec_of

prompts = typer.Typer(no_args_is_help=True, add_completion=False)


@prompts.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every prompt: its versions, the aliases of each, and about how many tokens its templates
    have.
    """
    definitions = read_all(settings(), codec_of(settings()))
    found = [
        {
            "prompt": f"{name}@{version}",
            "aliases": aliases_of(definitions, name, version),
            "tokens": {part: tokens_in(text) for part, text in prompt.parts.items()},
        }
        for (kind, name, version), prompt in sorted(
            definitions.bodies.items(), key=lambda item: item[0]
        )
        if kind == "prompt" and isinstance(prompt, Prompt)
    ]
    if as_json:
        return say_json(found)
    out.print(
        table(
            "Prompts",
            ("prompt", "aliases", "tokens, about"),
            [
                (
                    row["prompt"],
                    ", ".join(row["aliases"]),
                    ", ".join(f"{part} {n}" for part, n in row["tokens"].items()),
                )
                for row in found
            ],
        )
    )


@prompts.command()
def diff(
    old: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")],
    new: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")],
) -> None:
    """What changed between two versions, part by part."""
    definitions = read_all(settings(), codec_of(settings()))
    before, after = (lines_of(found(definitions, place)) for place in (old, new))
    changed = list(difflib.unified_diff(before, after, old, new, lineterm=""))
    out.print("\n".join(changed) if changed else "nothing changed", markup=False, soft_wrap=True)


@prompts.command()
def show(place: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]) -> None:
    """The templates of one version."""
    definitions = read_all(settings(), codec_of(settings()))
    out.print("\n".join(lines_of(found(definitions, place))), markup=False, soft_wrap=True)


def found(definitions: Definitions, place: str) -> Prompt:
    """The prompt at NAME, NAME@VERSION or NAME@ALIAS. Raises UserError."""
    name, _, which = place.partition("@")
    alias = definitions.alias(name)
    named = alias.versions if alias else {}
    version = (
        int(which)
        if which.isdecimal()
        else named.get(which or "prod") or definitions.version("prompt", name)
    )
    prompt = (
        None
        if version is None or (which and not which.isdecimal() and which not in named)
        else definitions.prompt(name, version)
    )
    if prompt is None:
        raise UserError(
            f"there is no prompt {place!r}: `./weir prompts list` shows those that are applied"
        )
    return prompt


def aliases_of(definitions: Definitions, name: str, version: int) -> list[str]:
    alias = definitions.alias(name)
    if alias is None:
        return ["prod"] if definitions.version("prompt", name) == version else []
    return [
        f"{one} {share:.0%}" if (share := alias.shares.get(one)) else one
        for one, at in alias.versions.items()
        if at == version
    ]


def lines_of(prompt: Prompt) -> list[str]:
    lines = [f"{name}: {variable.type}" for name, variable in prompt.variables.items()]
    for part, text in prompt.parts.items():
        lines += [f"[{part}]", *text.rstrip().splitlines()]
    return lines
