"""Checks whether model providers would accept a tool, and rewrites a looser schema so that they do.

Providers refuse a whole request for one bad tool, so all of this is told when the tool is applied.
The names are those that OpenAI and Anthropic both take; arguments are one object, told apart by
nothing at its top (no oneOf, anyOf, allOf, enum or not); lists say what is in them; names of
arguments have letters, digits, `_`, `.` and `-`, and at most 64 of them; a description has 1,024
characters or fewer.

`written` puts schemas of other origins into that form: Python's names of types (`dict`, `float`,
`tuple`, `list`, `set`, `str`, `int`, `bool`, `any`, `None`) become JSON Schema's; lists that say
nothing of their items take anything; `optional: true` takes an argument out of `required`; a schema
without a type at its top is an object; what `$ref` points at inside the schema stands in its place,
and where it would stand inside itself, anything may. `renamed` gives arguments whose names
providers refuse others (`año` becomes `ano`), which are put back when the tool is called.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ARGUMENT = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
PERCENT = re.compile("%([0-7][0-9A-Fa-f])")
DESCRIPTION_CHARS = 1_024
FORBIDDEN_AT_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
TYPES = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "list": "array",
    "set": "array",
    "str": "string",
    "int": "integer",
    "bool": "boolean",
    "double": "number",
    "none": "null",
}
ANYTHING = ("any", "typing.any")
ONE, MANY, NAMED = (
    (
        "items",
        "additionalProperties",
        "not",
        "contains",
        "propertyNames",
        "if",
        "then",
        "else",
        "unevaluatedItems",
        "unevaluatedProperties",
    ),
    ("anyOf", "oneOf", "allOf", "prefixItems"),
    ("properties", "patternProperties", "dependentSchemas"),
)
NODES_MAX = 20_000
Path = tuple[str | int, ...]


class UnresolvableReferenceError(Exception):
    """A `$ref` that leads nowhere, or a schema that would become too large."""


def name_error(name: str) -> str | None:
    """Why providers would refuse a tool of this name; None where they take it."""
    if NAME.fullmatch(name):
        return None
    fit = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]
    return (
        f"model providers refuse a tool called {name!r}: 1 to 64 letters, digits, _ and - are "
        "allowed; call it "
        f"{fit!r}"
    )


def provider_errors(schema: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """What providers would refuse in a tool's parameters: where, and a sentence."""
    if schema.get("type") != "object":
        yield (
            (("type",) if "type" in schema else ()),
            "the arguments of a tool are one object: set `type: object`",
        )
    for keyword in FORBIDDEN_AT_TOP:
        if keyword in schema:
            yield (
                (keyword,),
                (
                    f"model providers refuse {keyword!r} at the top of a tool's parameters: put it "
                    "inside "
                    "a property, or make two tools"
                ),
            )
    for path, part in parts(schema):
        kinds = part.get("type")
        if "array" in (kinds if isinstance(kinds, list) else [kinds]) and "items" not in part:
            yield path, "model providers refuse a list that does not say what is in it: add `items`"
        for name in part.get("properties", ()) if isinstance(part.get("properties"), dict) else ():
            if not ARGUMENT.fullmatch(str(name)):
                yield (
                    (*path, "properties", name),
                    (
                        f"model providers refuse an argument called {name!r}: 1 to 64 letters, "
                        "digits, _, . and - are "
                        "allowed: rename it"
                    ),
                )


def parts(schema: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The schema and all schemas inside it, with their paths."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword in ONE:
        yield from parts(schema.get(keyword), (*path, keyword))
    for keyword in MANY:
        inner = schema.get(keyword)
        for nth, part in enumerate(inner if isinstance(inner, list) else ()):
            yield from parts(part, (*path, keyword, nth))
    for keyword in (*NAMED, "$defs", "definitions"):
        inner = schema.get(keyword)
        for name, part in (inner if isinstance(inner, dict) else {}).items():
            yield from parts(part, (*path, keyword, name))


def written(schema: dict[str, Any]) -> dict[str, Any]:
    """A tool's parameters as providers take them. Raises UnresolvableReferenceError."""
    made = Writer(schema).write(
        {name: value for name, value in schema.items() if name not in ("$defs", "definitions")}
    )
    if "type" not in made and not any(keyword in made for keyword in FORBIDDEN_AT_TOP):
        made = {"type": "object"} | made
    return {"properties": {}} | made if made.get("type") == "object" else made


def renamed(schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters with names of arguments that providers take, and for each that is new the
    tool's own.
    """
    inner = schema.get("properties")
    if not isinstance(inner, dict) or all(ARGUMENT.fullmatch(name) for name in inner):
        return schema, {}
    names = {name: name for name in inner if ARGUMENT.fullmatch(name)}
    for name in (name for name in inner if name not in names.values()):
        names[free_name(name, names)] = name
    new = {own: name for name, own in names.items()}
    made = schema | {"properties": {new[name]: part for name, part in inner.items()}}
    if isinstance(schema.get("required"), list):
        made["required"] = [new.get(name, name) for name in schema["required"]]
    return made, {name: own for name, own in names.items() if name != own}


def free_name(name: str, taken: Collection[str]) -> str:
    """A name like this one that providers take, and that is not taken."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-zA-Z0-9_.-]+", "_", plain).strip("_")[:60] or "argument"
    if plain not in taken:
        return plain
    return next(
        f"{plain}_{nth}" for nth in range(2, len(taken) + 3) if f"{plain}_{nth}" not in taken
    )


class Writer:
    """Writes schemas of one document anew. `clean` changes the keywords of each before anything
    else is done.
    """

    def __init__(self, document: Any):
        self._document, self._nodes = document, 0

    def write(self, schema: Any, above: tuple[str, ...] = ()) -> Any:
        """The schema with every reference replaced and every type by its name. `above` are the
        references around it.
        """
        if not isinstance(schema, dict):
            return schema
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise UnresolvableReferenceError(
                f"it has more than {NODES_MAX:,} parts once its references are followed: leave "
                "some out"
            )
        reference = schema.get("$ref")
        if isinstance(reference, str):
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            if reference in above:
                return {name: value for name, value in rest.items() if name == "description"}
            target = self.found(reference)
            target = target | rest if isinstance(target, dict) else target
            return self.write(target, (*above, reference))
        return self._inside(self.clean(schema), above)

    def clean(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The keywords of one schema in JSON Schema's words."""
        made = dict(schema)
        kinds = made.get("type")
        named = [
            TYPES.get(str(kind).lower(), kind)
            for kind in (kinds if isinstance(kinds, list) else [kinds])
        ]
        if "type" in made and any(str(kind).lower() in ANYTHING for kind in named):
            del made["type"]
        elif "type" in made:
            made["type"] = named if isinstance(kinds, list) else named[0]
        if "array" in named:
            made.setdefault("items", {})
        return made

    def _inside(self, schema: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
        made = dict(schema)
        for keyword in ONE:
            if keyword in made:
                made[keyword] = self.write(made[keyword], above)
        for keyword in MANY:
            if isinstance(made.get(keyword), list):
                made[keyword] = [self.write(part, above) for part in made[keyword]]
        for keyword in NAMED:
            if isinstance(made.get(keyword), dict):
                made[keyword] = {
                    name: self.write(part, above) for name, part in made[keyword].items()
                }
        if isinstance(made.get("properties"), dict):
            optional = {
                name
                for name, part in made["properties"].items()
                if isinstance(part, dict) and part.pop("optional", None) is True
            }
            if optional and isinstance(made.get("required"), list):
                made["required"] = [name for name in made["required"] if name not in optional]
        return made

    def found(self, reference: str) -> Any:
        """What a reference into the document points at. Raises UnresolvableReferenceError."""
        if not reference.startswith("#"):
            raise UnresolvableReferenceError(
                f"$ref {reference!r} points out of the document, and nothing is fetched from "
                "elsewhere: "
                "bundle it into one file"
            )
        at = self._document
        for step in reference[1:].split("/")[1:]:
            step = PERCENT.sub(lambda code: chr(int(code[1], 16)), step)
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                at = at[int(step)] if isinstance(at, list) else at[step]
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise UnresolvableReferenceError(
                    f"$ref {reference!r} points at nothing in the document: correct it"
                ) from error
        return at
