"""What Avro schema does an event class have? Generated from the class, so that no field is written down twice."""

import types
import typing
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import fastavro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemas.base import PERSONAL, Event

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}
PLAIN: dict[Any, Any] = {
    str: "string", int: "long", float: "double", bool: "boolean", bytes: "bytes",
    UUID: {"type": "string", "logicalType": "uuid"},
    datetime: {"type": "long", "logicalType": "timestamp-millis"},
    Decimal: MONEY,
}


def schema_of(kind: type[Event]) -> dict[str, Any]:
    """The Avro schema of an event class, as JSON values (what stands in `schemas/avro/<Event>.avsc`)."""
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
        raise TypeError(f"{hint}: no Avro type is known for it; add one to schemas/avsc.py")
    return PLAIN[hint]


def _default(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _default(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, tuple):
        return [_default(item) for item in value]
    return value


def _is_personal(info: FieldInfo) -> bool:
    return PERSONAL in info.metadata or PERSONAL in str(info.annotation)
