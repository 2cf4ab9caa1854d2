"""How do records become an insert without being read: their own Avro bytes, under a schema that has
a table's names?

ClickHouse reads Avro itself. A record's bytes hold no names, and a part that is a record has no
mark of its own, so the same bytes are rows once the file's schema calls the fields by their
columns' names and lays the parts flat. What no event knows, the record's place and how long it is
kept, stands before its bytes. 3 microseconds a row, against 30 by way of Python values.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.events.base import Event
from schemas.wire.avro_schema import schema_of
from schemas.wire.codec import HEAD
from schemas.wire.plain_values import plain_of_value
from schemas.wire.validator import walk_of
from sinks.base import Batch, Bodies
from sinks.clickhouse.retention import Kept, days_of, usual
from sinks.clickhouse.rows import row_of

PLACE = (
    ("kafka_topic", "string"),
    ("kafka_topic_id", "string"),
    ("kafka_partition", "long"),
    ("kafka_offset", "long"),
    ("seq", "long"),
    ("retention_days", "long"),
)
MAGIC = b"Obj\x01"


@dataclass(frozen=True)
class AvroRows:
    """Rows as an Avro file: what one insert holds. `bodies` is what they were made of."""

    table: str
    names: list[str]
    file: bytes
    bodies: Bodies


@cache
def takes(kind: type[Event]) -> bool:
    """Whether a class's bytes are rows as they are: nothing is left out, constant or in two
    columns.
    """
    row = row_of(kind)
    return not (row.without or row.constants or row.copies) and walk_of(kind) is not None


def avro_rows(bodies: Bodies, kept: Kept = usual) -> AvroRows:
    """The rows of a batch whose class is one that `takes` names."""
    before = (
        text(bodies.kind.topic().encode())
        + text(bodies.topic_id.encode())
        + number(bodies.partition)
    )
    parts: list[bytes] = []
    days = days_of(bodies.values, kept)
    for offset, seq, kept_days, body in zip(
        bodies.offsets, bodies.seqs, days, bodies.values, strict=True
    ):
        parts += before, number(offset), number(seq), number(kept_days), body
    names, schema = schema_of_rows(bodies.kind)
    return AvroRows(
        bodies.kind.table, names, file(schema, len(bodies.values), b"".join(parts)), bodies
    )


def read(bodies: Bodies) -> Batch:
    """The same batch as values."""
    return Batch(
        bodies.kind,
        bodies.partition,
        bodies.offsets,
        bodies.seqs,
        [plain_of_value(bodies.kind, bytes(HEAD.size) + value) for value in bodies.values],
        bodies.topic_id,
    )


@cache
def schema_of_rows(kind: type[Event]) -> tuple[list[str], bytes]:
    """The columns in the order of their bytes, and the file's schema."""
    renamed = row_of(kind).renamed
    fields = [{"name": name, "type": type_} for name, type_ in PLACE]
    fields += [
        {"name": renamed.get(each["name"], each["name"]), "type": each["type"]}
        for each in _flat(schema_of(kind)["fields"])
    ]
    schema = {"type": "record", "name": kind.__name__, "fields": fields}
    return [each["name"] for each in fields], json.dumps(schema).encode()


def file(schema: bytes, count: int, block: bytes) -> bytes:
    """An Avro object container file of one block."""
    mark = secrets.token_bytes(16)
    properties = {b"avro.schema": schema, b"avro.codec": b"null"}
    head = number(len(properties)) + b"".join(
        text(name) + text(value) for name, value in properties.items()
    )
    return b"".join((MAGIC, head, number(0), mark, number(count), number(len(block)), block, mark))


def number(value: int) -> bytes:
    """A number that is not negative, as Avro writes it."""
    value <<= 1
    if value < 128:
        return SMALL[value]
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def text(value: bytes) -> bytes:
    return number(len(value)) + value


def _flat(fields: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for each in fields:
        kind = each["type"]
        if isinstance(kind, dict) and kind["type"] == "record":
            yield from _flat(kind["fields"])
        else:
            yield each


SMALL = [bytes((value,)) for value in range(128)]
