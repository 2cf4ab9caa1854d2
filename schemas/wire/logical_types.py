"""Converts plain Avro values (moments, ids, money) to the fields of an event and back.

Moments are integers of milliseconds, ids are text, money is the bytes of an integer of 10^-12
dollars. fastavro makes datetime, UUID and Decimal of the same bytes by itself, at about 3
microseconds a value; here it is 0.3.
"""

import types
import typing
from collections.abc import Callable
from datetime import datetime
from decimal import Context, Decimal
from functools import cache
from typing import Any

import fastavro
from pydantic import BaseModel

from schemas.events.base import EPOCH, MILLISECOND, Event
from schemas.wire.avro_schema import MONEY, schema_of

Fields = dict[str, Any]
Convert = Callable[[Any], Any]
SCALE, BYTES_MAX = MONEY["scale"], 16
EXACT = Context(prec=MONEY["precision"] + SCALE)


class LogicalTypeError(ValueError):
    """Plain values that no event can have."""


@cache
def plain_schema_of(kind: type[Event]) -> Any:
    """The class's schema without logical types, parsed, with the defaults of fields that a writer
    did not know.
    """
    return fastavro.parse_schema(_without_logical_types(schema_of(kind)))


def from_plain(kind: type[Event], fields: Fields) -> Fields:
    """The fields for the class's validation, changed in place. Raises LogicalTypeError where a
    value is out of all range.
    """
    return _from_record(fields, _readers_of(kind))


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return schema["type"]
    return {
        name: _without_logical_types(part)
        if name in ("type", "fields", "items", "values")
        else part
        for name, part in schema.items()
    }


def money_from_bytes(units: bytes) -> Decimal:
    if len(units) > BYTES_MAX:
        raise LogicalTypeError(
            f"an amount of {len(units)} bytes; {MONEY['precision']} digits fit into {BYTES_MAX}"
        )
    return Decimal(int.from_bytes(units, "big", signed=True)).scaleb(-SCALE, EXACT)


def moment(at_ms: int) -> datetime:
    try:
        return EPOCH + at_ms * MILLISECOND
    except OverflowError as error:
        raise LogicalTypeError(f"a moment {at_ms} ms from 1970, which no calendar has") from error


def _from_record(fields: Fields, readers: tuple[tuple[str, Convert], ...]) -> Fields:
    for name, convert in readers:
        if (part := fields[name]) is not None:
            fields[name] = convert(part)
    return fields


@cache
def _readers_of(kind: type[BaseModel]) -> tuple[tuple[str, Convert], ...]:
    found = ((name, _reader(info.annotation)) for name, info in kind.model_fields.items())
    return tuple((name, convert) for name, convert in found if convert is not None)


def _reader(hint: Any) -> Convert | None:
    """How a value of that type is read; None where validation takes it as it is."""
    hint, inner = _bare(hint)
    plain = {datetime: moment, Decimal: money_from_bytes}.get(hint)
    if plain is not None:
        return plain
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        readers = _readers_of(hint)
        return (lambda fields: _from_record(fields, readers)) if readers else None
    return _each(hint, inner, _reader)


def _each(hint: Any, inner: tuple, converter: Callable[[Any], Convert | None]) -> Convert | None:
    convert = (
        converter(inner[0] if hint is tuple else inner[1])
        if hint in (tuple, dict) and inner
        else None
    )
    if convert is None:
        return None
    if hint is tuple:
        return lambda items: [convert(item) for item in items]
    return lambda values: {name: convert(value) for name, value in values.items()}


def _bare(hint: Any) -> tuple[Any, tuple]:
    """The type without Annotated and `| None`, and its arguments."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _bare(inner[0])
    if origin in (typing.Union, types.UnionType):
        return _bare(next(arg for arg in inner if arg is not type(None)))
    return (origin, inner) if origin in (tuple, dict) else (hint, ())
