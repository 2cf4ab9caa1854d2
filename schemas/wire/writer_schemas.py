"""The schema of a record's writer: what a registry has under an id, and whether Weir reads values
of it.

A registry holds whatever anybody registered, and a record may name any id. `writer_schema_of`
accepts an Avro record with the event's name and raises UnreadableSchemaError, with a sentence for
the dead letter, for everything else.

fastavro reads in C without a limit on depth or work. A schema that contains itself lets a short
record overflow the stack, values that take no bytes let it run for hours, and so does a decimal of
a megabyte. Therefore the first two are refused, and logical types are left to
`schemas/wire/logical_types.py`, which has limits.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fastavro

from schemas.events.base import Event
from schemas.wire.avro_schema import MONEY, schema_of

AVRO = "AVRO"
NAMES = {"PROTOBUF": "Protobuf", "JSON": "JSON Schema"}
PRIMITIVE = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
CHARS_MAX = 1_000_000
JSON_DEPTH_MAX, VALUE_DEPTH_MAX = 100, 32
WORDS = 200
OPEN = -1


class UnreadableSchemaError(Exception):
    """A schema that Weir does not read events with. The message goes on after "schema 7 "."""


@dataclass(frozen=True)
class Registered:
    """A schema as its registry has it. `references`: the texts of the schemas it refers to, each
    after those that it needs itself. `missing`: a reference that the registry could not resolve.
    """

    text: str
    type: str = AVRO
    references: tuple[str, ...] = ()
    missing: str = ""


def writer_schema_of(kind: type[Event], found: Registered) -> Any:
    """The schema for fastavro, without logical types; None where it is the class's own. Raises
    UnreadableSchemaError.
    """
    if found.type != AVRO:
        raise UnreadableSchemaError(f"is {NAMES.get(found.type, found.type[:WORDS])}, not Avro")
    if found.missing:
        raise UnreadableSchemaError(
            f"refers to {found.missing[:WORDS]}, which the registry does not have"
        )
    *others, schema = [_json(text) for text in (*found.references, found.text)]
    _check_name(kind, schema)
    if schema == schema_of(kind):
        return None
    named: dict[str, Any] = {}
    try:
        for other in others:
            fastavro.parse_schema(_plain(other), named_schemas=named)
        parsed = fastavro.parse_schema(_plain(schema), named_schemas=named)
        _depth(parsed, named, {})
    except UnreadableSchemaError:
        raise
    except Exception as error:  # fastavro raises whatever it meets in a schema that is none
        raise UnreadableSchemaError(
            f"is not valid Avro: {type(error).__name__}: {error}"[:WORDS]
        ) from error
    return parsed


def _json(text: str) -> Any:
    if len(text) > CHARS_MAX:
        raise UnreadableSchemaError(f"has {len(text)} characters; Weir reads up to {CHARS_MAX}")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableSchemaError(
            f"is no JSON, so it is not valid Avro: {error}"[:WORDS]
        ) from error
    level = [schema]
    for _ in range(JSON_DEPTH_MAX):
        level = [child for value in level for child in _children(value)]
    if level:
        raise UnreadableSchemaError(f"is nested more than {JSON_DEPTH_MAX} levels deep")
    return schema


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _check_name(kind: type[Event], schema: Any) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        what = schema.get("type") if isinstance(schema, dict) else schema
        raise UnreadableSchemaError(
            "is not an Avro record but "
            f"{'a union' if isinstance(what, list) else repr(what)[:WORDS]}"
        )
    name = schema.get("name")
    if not isinstance(name, str) or name.split(".")[-1] != kind.__name__:
        raise UnreadableSchemaError(f"is of {str(name)[:WORDS]}, not {kind.__name__}")


def _plain(schema: Any) -> Any:
    """The schema without logical types. Raises UnreadableSchemaError for those that events do not
    have.
    """
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    logical = schema.get("logicalType")
    is_money = logical == MONEY["logicalType"] and schema.get("scale") == MONEY["scale"]
    if logical not in (None, "uuid", "timestamp-millis") and not is_money:
        scale = (
            f" of scale {str(schema.get('scale'))[:WORDS]}"
            if logical == MONEY["logicalType"]
            else ""
        )
        raise UnreadableSchemaError(
            f"has the logical type {str(logical)[:WORDS]}{scale}; events have uuid, "
            "timestamp-millis and "
            f"decimal of scale {MONEY['scale']}"
        )
    return {
        name: _plain(part)
        if name in ("type", "items", "values")
        else [_plain(field) for field in part]
        if name == "fields" and isinstance(part, list)
        else part
        for name, part in schema.items()
        if name != "logicalType"
    }


def _depth(
    schema: Any, named: dict[str, Any], known: dict[str, int], optional: bool = False
) -> int:
    """How deep the values of a parsed schema nest. `known` has the depth of each named type that
    was met.

    Raises UnreadableSchemaError where that has no end, and where a value takes no bytes.
    """
    if isinstance(schema, list):
        return max((_depth(branch, named, known, True) for branch in schema), default=0)
    what = schema["type"] if isinstance(schema, dict) else schema
    if not isinstance(what, str):
        return _depth(what, named, known, optional)
    if what in PRIMITIVE:
        if what == "null" and not optional:
            raise UnreadableSchemaError(
                "has a value that takes no bytes: null is allowed in a union only"
            )
        return 0
    if not isinstance(schema, dict):
        if what not in known:
            _depth(named[what], named, known)
        if known[what] == OPEN:
            raise UnreadableSchemaError(
                f"has a type that contains itself, {what[:WORDS]}: Weir does not read values "
                "without end"
            )
        return known[what]
    return _depth_of_complex(schema, what, named, known)


def _depth_of_complex(
    schema: dict[str, Any], what: str, named: dict[str, Any], known: dict[str, int]
) -> int:
    if what in ("array", "map"):
        inner = [_depth(schema["items" if what == "array" else "values"], named, known)]
    elif what in ("record", "error"):
        known[schema["name"]] = OPEN
        inner = [_depth(field["type"], named, known) for field in schema["fields"]]
    else:
        inner = [0]
    if not inner or (what == "fixed" and schema["size"] < 1):
        raise UnreadableSchemaError(f"has a value that takes no bytes: {schema['name'][:WORDS]}")
    depth = 1 + max(inner)
    if depth > VALUE_DEPTH_MAX:
        raise UnreadableSchemaError(f"has values that nest more than {VALUE_DEPTH_MAX} levels deep")
    if "name" in schema:
        known[schema["name"]] = depth
    return depth
