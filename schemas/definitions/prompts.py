"""Prompts, their variables and tests, and the aliases that choose a version.

A prompt is versioned as every definition is. An alias names versions (`prod: 3`), and a share of
the runs that ask for its first name may get another one (`canary: 0.1`); which one a run gets
follows from its id and never changes.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from schemas.definitions.base import Definition
from schemas.events.base import Value
from schemas.events.values import Name

PROD = "prod"
Given = str | int | float | bool


class Variable(Value):
    """What a template may name. Without a default it has to be given: by the agent, or in the
    request's metadata.
    """

    type: Literal["string", "number", "boolean"] = "string"
    default: Given | None = None
    description: str = ""


class PromptTest(Value):
    """What a prompt made of these values must say, must not say, and may cost. Run by `weir
    check`.
    """

    name: str = ""
    given: dict[str, Given] = {}
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    tokens_max: Annotated[int, Field(ge=1)] | None = None


class Prompt(Definition):
    """Three parts, kept apart: `policy` holds what always holds, `task` what is to be done, `data`
    what is known.

    Each is a Jinja template, rendered in a sandbox. What `data` renders to is marked for the model
    as data.
    """

    kind: ClassVar[str] = "prompt"
    policy: str = ""
    task: str
    data: str = ""
    variables: dict[Name, Variable] = {}
    tests: tuple[PromptTest, ...] = ()

    @property
    def parts(self) -> dict[str, str]:
        """The templates that are there, by the name of their part."""
        return {name: text for name in ("policy", "task", "data") if (text := getattr(self, name))}


class Alias(Definition):
    """Names for versions of the prompt of the same name; `shares` sends part of the runs of `prod`
    elsewhere.
    """

    kind: ClassVar[str] = "alias"
    versions: dict[Name, Annotated[int, Field(ge=1)]]
    shares: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}

    @model_validator(mode="after")
    def _fits(self) -> "Alias":
        unknown = sorted(self.shares.keys() - self.versions.keys())
        if unknown:
            raise ValueError(
                f"shares name {', '.join(unknown)}, which versions does not: add a version, or "
                "remove the share"
            )
        if sum(self.shares.values()) > 1:
            raise ValueError("the shares are more than 1 in sum: lower them")
        return self


class PromptUse(Value):
    """An agent's prompt, by reference: `{use: support}` is what the alias `prod` says, or the
    newest without one.
    """

    use: Name
    alias: Name = PROD
    version: Annotated[int, Field(ge=1)] | None = None
    given: dict[str, Any] = {}
