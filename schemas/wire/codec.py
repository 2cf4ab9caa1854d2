"""Encodes events as Kafka records and decodes records as events.

The wire is the registry's framing: a zero byte, the schema's id in four bytes, Avro. Headers carry
the W3C trace context and the CloudEvents attributes. Parsed schemas are cached by id; writer and
reader are resolved only where they differ. Where they are the same, code of the class reads and
writes the bytes (`schemas/wire/decoder.py`, `schemas/wire/encoder.py`), and the class validates
what was read. Bytes that this code is not sure of are read again as plain values
(`schemas/wire/logical_types.py`), which says what is wrong with them.
"""

import io
import json
import struct
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol, TypeVar, cast

import fastavro
from fastavro.read import SchemaResolutionError
from pydantic import ValidationError

from schemas.events.base import Event
from schemas.events.operations import Reason
from schemas.wire.avro_schema import schema_of
from schemas.wire.decoder import reader_of
from schemas.wire.encoder import Write, id_text, writer_of
from schemas.wire.large_bodies import (
    EVENT_BYTES_MAX,
    MISSING,
    MissingBodyError,
    Objects,
    ObjectStoreError,
    joined,
    parted,
)
from schemas.wire.logical_types import Fields, LogicalTypeError, from_plain, plain_schema_of
from schemas.wire.record_types import TYPE, type_name
from schemas.wire.writer_schemas import Registered, UnreadableSchemaError, writer_schema_of

HEAD = struct.Struct(">bI")
E = TypeVar("E", bound=Event)
Headers = list[tuple[str, str | bytes | None]]
CE_VERSION = ("ce_specversion", b"1.0")
DETAIL_CHARS = 500


class DecodeError(Exception):
    """A record that is no event of its topic. `reason` is one of DeadLettered's; `event` is what
    can be read of it.
    """

    def __init__(self, reason: Reason, detail: str, event: Event | None = None):
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail
        self.event = event


class Ids(Protocol):
    """Where schema ids come from: the registry, or a table in tests."""

    def id_of(self, kind: type[Event]) -> int:
        """The id under which the class's schema is registered."""
        ...

    def schema_with(self, schema_id: int) -> Registered | None:
        """The schema of an id; None where the registry says that there is none. Raises when it is
        away.
        """


class LocalIds:
    """Ids without a registry, for tests and for runs in memory: a checksum of the class's name, so
    that two processes agree whatever else each of them has loaded.
    """

    def __init__(self, classes: Mapping[str, type[Event]]):
        self._classes = {local_id(kind): kind for kind in classes.values()}

    def id_of(self, kind: type[Event]) -> int:
        return local_id(kind)

    def schema_with(self, schema_id: int) -> Registered | None:
        kind = self._classes.get(schema_id)
        return None if kind is None else Registered(json.dumps(schema_of(kind)))


def local_id(kind: type[Event]) -> int:
    """The id of a class for `LocalIds`."""
    return zlib.crc32(kind.__name__.encode()) & 0x7FFFFFFF


class Codec:
    """Bytes to events and back. One a process; not safe for two threads at once.

    With `objects`, where bodies are kept, no event is larger than Kafka should carry, and each is
    whole when it was read; without, one that is in parts stays so: the beginnings of long fields
    will do for a table.
    """

    def __init__(self, ids: Ids, objects: Objects | None = None):
        self._ids, self._objects = ids, objects
        self._own: dict[type[Event], tuple[bytes, Write]] = {}
        self._writers: dict[tuple[type[Event], int], Any] = {}
        """The writer's schema by class and id: None for the class's own, a UnreadableSchemaError
        where it cannot be used.
        """

    def encode(self, event: Event) -> bytes:
        """The event as a record's value. Text that UTF-8 cannot hold is repaired, never refused.
        Raises ObjectStoreError.
        """
        kind = type(event)
        own = self._own.get(kind)
        if own is None:
            own = self._own[kind] = HEAD.pack(0, self._ids.id_of(kind)), writer_of(kind)
        head, write = own
        value = head + write(event)
        if (
            len(value) > EVENT_BYTES_MAX
            and self._objects is not None
            and "bodies" in kind.model_fields
        ):
            value = head + write(parted(event, self._objects.put))
        return value

    def decode(self, kind: type[E], value: bytes | None, key: bytes | None = None) -> E:
        """The event in a record's value. Raises DecodeError, with the reason that a dead letter
        gives, and ObjectStoreError.

        Whatever the bytes and the schema of their id are, nothing else is raised, but for what the
        registry raises while it is away.
        """
        if value is None or len(value) < HEAD.size or value[0] != 0:
            raise DecodeError(
                "not_avro", "the value does not begin with a zero byte and a schema id"
            )
        writer = self._writer(kind, int.from_bytes(value[1 : HEAD.size], "big"))
        try:
            event = _event(kind, value, writer)
            if key is not None and key != event.partition_key().encode():
                wanted = event.partition_key()
                raise DecodeError("wrong_key", f"the key should be {wanted!r}, it is {key[:200]!r}")
        except DecodeError:
            raise
        except (
            Exception
        ) as error:  # whatever foreign bytes set off must not end the worker that reads them
            raise DecodeError(
                "invalid", f"{type(error).__name__}: {error}"[:DETAIL_CHARS]
            ) from error
        if self._objects is None or not getattr(event, "bodies", ""):
            return event
        try:
            return joined(event, self._objects.get)
        except ObjectStoreError:
            raise
        except MissingBodyError as missing:
            raise DecodeError(MISSING, f"{missing}", event) from missing

    def is_own(self, kind: type[Event], schema_id: int) -> bool:
        """Whether a schema is the class's own, as it is now. Raises DecodeError where it is of
        something else.
        """
        return self._writer(kind, schema_id) is None

    def _writer(self, kind: type[Event], schema_id: int) -> Any:
        """The writer's schema; None where it is the class's own. Raises DecodeError, and what the
        registry raises.
        """
        if (kind, schema_id) not in self._writers:
            found = self._ids.schema_with(schema_id)
            if found is None:
                raise DecodeError("unknown_schema", f"the registry has no schema {schema_id}")
            self._writers[kind, schema_id] = _usable(kind, found)
        known = self._writers[kind, schema_id]
        if isinstance(known, UnreadableSchemaError):
            raise DecodeError("unknown_schema", f"schema {schema_id} {known}")
        return known


def _usable(kind: type[Event], found: Registered) -> Any:
    """The writer's schema, None for the class's own, or why it cannot be used."""
    try:
        return writer_schema_of(kind, found)
    except UnreadableSchemaError as why:
        return why


def _event(kind: type[E], value: bytes, writer: Any) -> E:
    fields = _read_fast(kind, value) if writer is None else None
    if fields is None:
        fields = _read(kind, value, writer)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise DecodeError("invalid", first_error(error)) from error


def _read_fast(kind: type[Event], value: bytes) -> Fields | None:
    """The fields of a value written with the class's own schema; None where that has to be looked
    at slowly.
    """
    try:
        fields, end = reader_of(kind)(value, HEAD.size)
    except (IndexError, ValueError, struct.error):
        return None
    return fields if end == len(value) else None


def _read(kind: type[Event], value: bytes, writer: Any) -> Fields:
    body = io.BytesIO(value)
    body.seek(HEAD.size)
    own = plain_schema_of(kind)
    try:
        fields = fastavro.schemaless_reader(
            body, own if writer is None else writer, None if writer is None else own
        )
    except SchemaResolutionError as error:  # its message holds both schemas whole
        schema_id = int.from_bytes(value[1 : HEAD.size], "big")
        raise DecodeError(
            "unknown_schema",
            f"schema {schema_id} is another {kind.__name__}: a field has another type, "
            "or one without a default is missing",
        ) from error
    except Exception as error:  # fastavro raises whatever its C code meets in foreign bytes
        raise DecodeError("not_avro", f"{type(error).__name__}: {error}"[:DETAIL_CHARS]) from error
    if body.tell() != len(value):
        raise DecodeError(
            "not_avro", f"{len(value) - body.tell()} bytes are left over after the event"
        )
    try:
        return from_plain(kind, cast(Fields, fields))
    except LogicalTypeError as error:
        raise DecodeError("invalid", str(error)) from error


def first_error(error: ValidationError) -> str:
    """What is wrong, in one line: the field, what it should be, what it was."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the event"
    return f"{where}: {first['msg']} (was {str(first.get('input'))[:100]!r})"


def headers_of(event: Event, traceparent: str | None = None) -> Headers:
    """The Kafka headers of an event: W3C trace context, CloudEvents attributes."""
    return [
        ("traceparent", (traceparent or traceparent_of(event)).encode()),
        CE_VERSION,
        ("ce_id", id_text(event.id).encode()),
        _type_header(type(event)),
        ("ce_source", f"/weir/{event.tenant}".encode()),
        ("ce_time", event.at.isoformat(timespec="milliseconds").encode()),
    ]


@cache
def _type_header(kind: type[Event]) -> tuple[str, bytes]:
    return TYPE, type_name(kind).encode()


def traceparent_of(event: Event, trace: str | None = None) -> str:
    """A W3C traceparent: the run is the trace unless another is given, the event is the span."""
    span = id_text(event.id)
    if trace is None:
        run = getattr(event, "run", None)
        trace = (span if run is None else id_text(run)).replace("-", "")
    return f"00-{trace}-{span[:8]}{span[9:13]}{span[14:18]}-01"


def trace_of(headers: Headers | None) -> str | None:
    """The trace id in a record's traceparent; None where there is none or it is malformed."""
    for name, value in headers or ():
        if name == "traceparent" and value:
            text = value if isinstance(value, str) else value.decode("ascii", "replace")
            parts = text.split("-")
            if len(parts) == 4 and len(parts[1]) == 32 and set(parts[1]) <= set("0123456789abcdef"):
                return parts[1] if parts[1] != "0" * 32 else None
    return None


def to_json(event: Event) -> str:
    """An event as people read it, on one line."""
    return event.model_dump_json()


def from_json(kind: type[Event], text: str) -> Event:
    """An event out of JSON, as in `schemas/examples`. Raises DecodeError with a sentence."""
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        raise DecodeError("invalid", first_error(error)) from error
    except json.JSONDecodeError as error:
        raise DecodeError("invalid", f"not JSON: {error}") from error
