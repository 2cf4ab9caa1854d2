"""What are an event's fields as plain Avro values, and the other way round?

Moments are integers of milliseconds, ids are text, money is the bytes of an integer of 10^-12 dollars.
fastavro makes the same bytes out of datetime, UUID and Decimal by itself, at about 3 microseconds a value;
here it is 0.3.
"""

import re
import types
import typing
from collections.abc import Callable
from datetime import datetime
from decimal import Context, Decimal
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import fastavro
from pydantic import BaseModel

from schemas.avsc import MONEY, schema_of
from schemas.base import EPOCH, MILLISECOND, Event, milliseconds

Fields = dict[str, Any]
Convert = Callable[[Any], Any]
SCALE, BYTES_MAX = MONEY["scale"], 16
SURROGATES = re.compile("[\ud800-\udfff]")
EXACT = Context(prec=MONEY["precision"] + SCALE)

text_of = lru_cache(maxsize=20_000)(str)
"""An id as text. The same ids come again and again: a run's in all its events, a cause's in what it causes."""


class Unreadable(ValueError):
    """Plain values that no event can have."""


@cache
def plain_schema_of(kind: type[Event]) -> Any:
    """The class's schema without logical types, parsed. Only for reading and writing with itself: no
    defaults.
    """
    return fastavro.parse_schema(_without_logical_types(schema_of(kind)))


def to_plain(event: Event) -> Fields:
    """The event's fields as fastavro writes them under the plain schema."""
    return _to_record(event, _writers_of(type(event)))


def from_plain(kind: type[Event], fields: Fields) -> Fields:
    """The fields for the class's validation, changed in place. Raises Unreadable where a value is out of
    all range.
    """
    return _from_record(fields, _readers_of(kind))


def repaired(plain: Any) -> Any:
    """Plain values with lone surrogates replaced: half a character, which JSON can hold and UTF-8 cannot.

    Models and tools do answer such text, e.g. where an emoji was cut in two.
    """
    if isinstance(plain, str):
        return SURROGATES.sub("\N{REPLACEMENT CHARACTER}", plain)
    if isinstance(plain, dict):
        return {repaired(name): repaired(value) for name, value in plain.items()}
    return [repaired(value) for value in plain] if isinstance(plain, list | tuple) else plain


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return schema["type"]
    return {name: _without_logical_types(part) if name in ("type", "fields", "items", "values") else part
            for name, part in schema.items() if name != "default"}


def _money_to_bytes(money: Decimal) -> bytes:
    units = int(money.scaleb(SCALE, EXACT))
    return units.to_bytes((units.bit_length() + 8) >> 3, "big", signed=True)


def _money_from_bytes(units: bytes) -> Decimal:
    if len(units) > BYTES_MAX:
        raise Unreadable(f"an amount of {len(units)} bytes; {MONEY['precision']} digits fit into {BYTES_MAX}")
    return Decimal(int.from_bytes(units, "big", signed=True)).scaleb(-SCALE, EXACT)


def _moment(at_ms: int) -> datetime:
    try:
        return EPOCH + at_ms * MILLISECOND
    except OverflowError as error:
        raise Unreadable(f"a moment {at_ms} ms from 1970, which no calendar has") from error


def _to_record(value: BaseModel, writers: tuple[tuple[str, Convert], ...]) -> Fields:
    if not writers:
        return value.__dict__
    fields = value.__dict__.copy()
    for name, convert in writers:
        if (part := fields[name]) is not None:
            fields[name] = convert(part)
    return fields


def _from_record(fields: Fields, readers: tuple[tuple[str, Convert], ...]) -> Fields:
    for name, convert in readers:
        if (part := fields[name]) is not None:
            fields[name] = convert(part)
    return fields


@cache
def _writers_of(kind: type[BaseModel]) -> tuple[tuple[str, Convert], ...]:
    found = ((name, _writer(info.annotation)) for name, info in kind.model_fields.items())
    return tuple((name, convert) for name, convert in found if convert is not None)


@cache
def _readers_of(kind: type[BaseModel]) -> tuple[tuple[str, Convert], ...]:
    found = ((name, _reader(info.annotation)) for name, info in kind.model_fields.items())
    return tuple((name, convert) for name, convert in found if convert is not None)


def _writer(hint: Any) -> Convert | None:
    """How a value of that type is written; None where it is written as it is."""
    hint, inner = _bare(hint)
    plain = {UUID: text_of, datetime: milliseconds, Decimal: _money_to_bytes}.get(hint)
    if plain is not None:
        return plain
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        writers = _writers_of(hint)
        return lambda value: _to_record(value, writers)
    return _each(hint, inner, _writer)


def _reader(hint: Any) -> Convert | None:
    """How a value of that type is read; None where validation takes it as it is."""
    hint, inner = _bare(hint)
    plain = {datetime: _moment, Decimal: _money_from_bytes}.get(hint)
    if plain is not None:
        return plain
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        readers = _readers_of(hint)
        return (lambda fields: _from_record(fields, readers)) if readers else None
    return _each(hint, inner, _reader)


def _each(hint: Any, inner: tuple, converter: Callable[[Any], Convert | None]) -> Convert | None:
    convert = converter(inner[0] if hint is tuple else inner[1]) if hint in (tuple, dict) and inner else None
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
