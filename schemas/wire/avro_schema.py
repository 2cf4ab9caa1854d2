"""What Avro schema does an event class have? Generated from the class, so that no field is written
down twice.

`python -m schemas.wire.avro_schema --write` writes them all to `schemas/avro/`, for producers and
consumers in other languages; `--check` says which of those files differ from the classes.
"""

import argparse
import json
import sys
import types
import typing
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemas.catalogue import event_classes
from schemas.events.base import PERSONAL, Event

FOLDER = Path(__file__).parents[1] / "avro"

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}
PLAIN: dict[Any, Any] = {
    str: "string",
    int: "long",
    float: "double",
    bool: "boolean",
    bytes: "bytes",
    UUID: {"type": "string", "logicalType": "uuid"},
    datetime: {"type": "long", "logicalType": "timestamp-millis"},
    Decimal: MONEY,
}


def schema_of(kind: type[Event]) -> dict[str, Any]:
    """The Avro schema of an event class, as JSON values (what stands in
    `schemas/avro/<Event>.avsc`).
    """
    return _record(kind, set())


@cache
def parsed_schema_of(kind: type[Event]) -> Any:
    """The same, parsed by fastavro."""
    return fastavro.parse_schema(schema_of(kind))


def _record(kind: type[BaseModel], seen: set[str]) -> Any:
    space = f"weir.{kind.family}" if issubclass(kind, Event) else "weir.values"
    full_name = f"{space}.{kind.__name__}"
    if full_name in seen:
        return full_name
    seen.add(full_name)
    fields = [_field(name, info, seen) for name, info in kind.model_fields.items()]
    record = {"type": "record", "name": kind.__name__, "namespace": space, "fields": fields}
    return record | ({"doc": " ".join(kind.__doc__.split())} if kind.__doc__ else {})


def _field(name: str, info: FieldInfo, seen: set[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "type": _type(info.annotation, seen)}
    default = info.get_default(call_default_factory=True)
    if default is not PydanticUndefined:
        made["default"] = _default(default)
    if _is_personal(info):
        made[PERSONAL] = True
    return made


def _type(hint: Any, seen: set[str]) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _type(inner[0], seen)
    if origin is typing.Literal:
        return "string"
    if origin in (typing.Union, types.UnionType):
        rest = [arg for arg in inner if arg is not type(None)]
        if len(rest) != 1 or len(inner) != 2:
            raise TypeError(f"{hint}: an event's field may be one type, or that type or None")
        return ["null", _type(rest[0], seen)]
    if origin is tuple:
        return {"type": "array", "items": _type(inner[0], seen)}
    if origin is dict:
        return {"type": "map", "values": _type(inner[1], seen)}
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return _record(hint, seen)
    if hint not in PLAIN:
        raise TypeError(
            f"{hint}: no Avro type is known for it; add one to schemas/wire/avro_schema.py"
        )
    return PLAIN[hint]


def _default(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _default(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, tuple):
        return [_default(item) for item in value]
    return value


def _is_personal(info: FieldInfo) -> bool:
    return PERSONAL in info.metadata or PERSONAL in str(info.annotation)


def text_of_schema(kind: type[Event]) -> str:
    """What stands in the class's file."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


def stale(folder: Path = FOLDER) -> dict[Path, str | None]:
    """The files of the folder that differ from the classes, and what they should hold; None: no
    class has them.
    """
    wanted: dict[Path, str | None] = {
        folder / f"{name}.avsc": text_of_schema(kind) for name, kind in event_classes().items()
    }
    there = {path: path.read_text(encoding="utf-8") for path in folder.glob("*.avsc")}
    return {
        path: wanted.get(path)
        for path in sorted(wanted.keys() | there.keys())
        if wanted.get(path) != there.get(path)
    }


def write(folder: Path = FOLDER) -> list[Path]:
    """Makes the folder as the classes are; returns the files that were changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale(folder)
    for path, text in changed.items():
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")
    return list(changed)


def main() -> int:
    """The command line. Exit code 1 where `--check` found a difference."""
    parser = argparse.ArgumentParser(
        "python -m schemas.wire.avro_schema", description="Avro schemas of all event classes."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write schemas/avro/*.avsc")
    what.add_argument(
        "--check", action="store_true", help="say which of them differ from the classes"
    )
    changed = write() if (writes := parser.parse_args().write) else list(stale())
    for path in changed:
        print(
            f"{path.name} "
            f"{'written' if writes else 'differs: run python -m schemas.wire.avro_schema --write'}"
        )
    return 1 if changed and not writes else 0


if __name__ == "__main__":
    sys.exit(main())
