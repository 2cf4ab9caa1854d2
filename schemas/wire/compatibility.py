"""Compares an event's schemas: what a change breaks, and who has to be deployed first.

Full compatibility, as the registry demands it: readers of the new schema read old records, and
readers of the old one read new records, so that services can be deployed in any order. A change
that breaks is a new event class.
"""

from typing import Any

Schema = Any
Names = dict[str, Schema]
PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
READERS_FIRST = (
    "readers of the old schema cannot read new records; deploy all readers before any producer"
)
PRODUCERS_FIRST = (
    "readers of the new schema cannot read old records; deploy producers first, and readers only "
    "when the last old record is gone from the topic"
)


def breaks(old: Schema, new: Schema) -> list[str]:
    """What in `new` is not fully compatible with `old`: a sentence each, empty where nothing is."""
    backward = [f"{what}: {PRODUCERS_FIRST}" for what in unreadable(old, new)]
    forward = [f"{what}: {READERS_FIRST}" for what in unreadable(new, old)]
    return backward + forward


def unreadable(writer: Schema, reader: Schema) -> list[str]:
    """Why records of the writer's schema cannot be read with the reader's: a phrase each."""
    written, read = _names(writer), _names(reader)
    return _differences(writer, reader, written, read, "", frozenset())


def _names(schema: Schema) -> Names:
    """All records in a schema, by full name and by the name alone."""
    if isinstance(schema, list):
        return {name: found for branch in schema for name, found in _names(branch).items()}
    if not isinstance(schema, dict):
        return {}
    found = {}
    if schema.get("type") == "record":
        found = {schema["name"]: schema, f"{schema.get('namespace', '')}.{schema['name']}": schema}
        for field in schema["fields"]:
            found |= _names(field["type"])
    for part in ("items", "values", "type"):
        if isinstance(schema.get(part), dict | list):
            found |= _names(schema[part])
    return found


def _differences(
    writer: Schema,
    reader: Schema,
    written: Names,
    read: Names,
    path: str,
    seen: frozenset[tuple[str, str]],
) -> list[str]:
    writer, reader = _resolved(writer, written), _resolved(reader, read)
    if isinstance(writer, list):
        return [
            what
            for branch in writer
            for what in _differences(branch, reader, written, read, path, seen)
        ]
    if isinstance(reader, list):
        tried = [_differences(writer, branch, written, read, path, seen) for branch in reader]
        if [] in tried:
            return []
        same = [
            found
            for branch, found in zip(reader, tried, strict=True)
            if _type(_resolved(branch, read)) == _type(writer)
        ]
        unexpected = (
            f"{path or 'the event'} may be {_named(writer)}, which its reader does not expect"
        )
        return same[0] if same else [unexpected]
    if _type(writer) == _type(reader) == "record":
        return _record_differences(writer, reader, written, read, path, seen)
    if _type(writer) == _type(reader) and _type(writer) in ("array", "map"):
        part = "items" if _type(writer) == "array" else "values"
        return _differences(writer[part], reader[part], written, read, f"{path}[]", seen)
    return _scalar_differences(writer, reader, path)


def _record_differences(
    writer: Schema,
    reader: Schema,
    written: Names,
    read: Names,
    path: str,
    seen: frozenset[tuple[str, str]],
) -> list[str]:
    pair = writer["name"], reader["name"]
    if pair in seen:
        return []
    if pair[0] != pair[1]:
        return [f"{path or 'the event'} is written as {pair[0]} and read as {pair[1]}"]
    path = path or writer["name"]
    theirs, found = {field["name"]: field for field in writer["fields"]}, []
    for field in reader["fields"]:
        place = f"{path}.{field['name']}"
        if field["name"] in theirs:
            their = theirs[field["name"]]["type"]
            found += _differences(their, field["type"], written, read, place, seen | {pair})
        elif "default" not in field:
            found.append(f"{place} is not written, and its reader has no default for it")
    return found


def _scalar_differences(writer: Schema, reader: Schema, path: str) -> list[str]:
    if writer == "null" != reader:
        return [f"{path} may be null, which its reader does not expect"]
    if _type(writer) != _type(reader) and _type(reader) not in PROMOTED.get(_type(writer), ()):
        return [f"{path} is written as {_named(writer)} and read as {_named(reader)}"]
    meant = [_meaning(writer), _meaning(reader)]
    if meant[0] != meant[1] and {"uuid"} != {m[0] for m in meant if m[0]}:
        return [f"{path} is written as {_named(writer)} and read as {_named(reader)}"]
    return []


def _resolved(schema: Schema, names: Names) -> Schema:
    return names.get(schema, schema) if isinstance(schema, str) else schema


def _type(schema: Schema) -> str:
    return schema["type"] if isinstance(schema, dict) else schema


def _meaning(schema: Schema) -> tuple:
    """What changes the sense of the same bytes. An id is text, whether it says so or not."""
    if not isinstance(schema, dict):
        return (None, None, None)
    return schema.get("logicalType"), schema.get("scale"), schema.get("precision")


def _named(schema: Schema) -> str:
    if not isinstance(schema, dict):
        return str(schema)
    details = [str(part) for part in _meaning(schema) if part is not None]
    return " ".join([schema.get("name", _type(schema)), *details])
