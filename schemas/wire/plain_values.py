"""Reads a record's Avro at full speed as plain values, without building the event.

Same bytes, same schema, logical types left out: a moment is an integer of milliseconds, an id is
its text, money is bytes. Building the pydantic event costs about as much again as reading it, and a
table needs neither.
"""

import io
from typing import Any, cast

import fastavro

from schemas.events.base import Event
from schemas.wire.avro_schema import parsed_schema_of
from schemas.wire.codec import HEAD
from schemas.wire.logical_types import plain_schema_of

Plain = dict[str, Any]


def plain_of_value(kind: type[Event], value: bytes) -> Plain:
    """The fields in a record's value that was written with the class's own schema.

    Nothing is validated: right for what a step of ours wrote. Raises ValueError where bytes are
    left over, and whatever fastavro raises on bytes that are not Avro.
    """
    body = io.BytesIO(value)
    body.seek(HEAD.size)
    fields = fastavro.schemaless_reader(body, plain_schema_of(kind), None)
    if body.tell() != len(value):
        raise ValueError(f"{len(value) - body.tell()} bytes are left over after the event")
    return cast(Plain, fields)


def plain_of(event: Event) -> Plain:
    """The same of an event at hand."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed_schema_of(type(event)), event.model_dump())
    body.seek(0)
    return cast(Plain, fastavro.schemaless_reader(body, plain_schema_of(type(event)), None))
