"""An event as a row of its class's table.

The columns are the event's own fields: a nested record is flattened, a text that may be missing is
empty, an unknown price is NULL. Only differences from that are declared here. The table is named on
the class; the types are declared in `infra/clickhouse/*.sql` alone.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from hashlib import sha256
from typing import Any

from schemas.catalogue import landed_classes
from schemas.events.agent.approvals import ApprovalAsked, ApprovalRefused
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event
from schemas.events.webhooks import WebhookDelivered, WebhookDropped, WebhookFailed
from schemas.wire.avro_schema import MONEY, schema_of
from schemas.wire.plain_values import Plain
from sinks.base import Batch
from sinks.clickhouse.retention import RetentionDays, default_days

Values = list[Any]
SCALE = -12
UUID_END = 2**128
COUNT_END = 2**63


@dataclass(frozen=True)
class RowShape:
    """How a class's row differs from its fields. `renamed` maps fields to columns, `without` are
    fields that no column holds, `constants` columns of one value, `copies` columns with another's
    values.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)


AS_IT_IS = RowShape()
QUESTION = {"text": "question"}
ROWS: dict[type[Event], RowShape] = {
    RunFinished: RowShape(renamed=QUESTION),
    RequestRefused: RowShape(
        renamed=QUESTION,
        without=("retry_after_ms",),
        constants={"outcome": "refused", "cost_usd": Decimal(0)},
        copies={"started_at": "at"},
    ),
    ApprovalAsked: RowShape(constants={"status": "asked"}, copies={"approval": "id"}),
    ApprovalRefused: RowShape(constants={"status": "refused"}),
    WebhookDelivered: RowShape(
        renamed={"status": "http_status"}, constants={"status": "delivered"}
    ),
    WebhookFailed: RowShape(without=("body", "hopeless"), constants={"status": "failed"}),
    WebhookDropped: RowShape(constants={"status": "dropped"}, copies={"started_at": "at"}),
}
"""The classes whose rows are not simply their fields."""


def row_of(kind: type[Event]) -> RowShape:
    """How a class's row differs from its fields."""
    return ROWS.get(kind, AS_IT_IS)


@dataclass(frozen=True)
class ColumnBatch:
    """Rows by column: the content of one insert."""

    table: str
    names: list[str]
    values: list[Values]


@dataclass(frozen=True)
class ColumnMapping:
    """One column: its name, the path to it in a record's fields, and how the values are converted."""

    name: str
    path: tuple[str, ...]
    convert: Callable[[Values], Values]


def column_batch(batch: Batch, kept: RetentionDays = default_days) -> ColumnBatch:
    """The rows of a batch. Raises ValueError, TypeError or OverflowError for a value that no column
    can hold.
    """
    row = row_of(batch.kind)
    size = len(batch.fields)
    made: dict[str, Values] = {}
    for column in columns_of(batch.kind):
        made[column.name] = column.convert(_values_at(column.path, batch.fields))
    made |= {name: made[source] for name, source in row.copies.items()}
    made |= {name: [value] * size for name, value in row.constants.items()}
    made |= {
        "kafka_topic": [batch.kind.topic()] * size,
        "kafka_topic_id": [batch.topic_id] * size,
        "kafka_partition": batch.partitions,
        "kafka_offset": batch.offsets,
        "seq": batch.seqs,
        "retention_days": [kept(fields["tenant"]) for fields in batch.fields],
    }
    return ColumnBatch(batch.kind.table, list(made), list(made.values()))


@cache
def columns_of(kind: type[Event]) -> tuple[ColumnMapping, ...]:
    """The columns that an event's own fields fill, in the order of its schema."""
    row = row_of(kind)
    return tuple(
        replace(column, name=row.renamed.get(column.name, column.name))
        for column in _flat(schema_of(kind)["fields"], ())
        if column.name not in row.without
    )


@cache
def epoch(rows: Callable[[type[Event]], RowShape] = row_of) -> str:
    """A name for the way from events to rows as it is now: it changes when a column comes, goes or
    is filled anew.
    """
    ways: dict[str, Any] = {
        kind.__name__: [
            kind.table,
            sorted(map(str, rows(kind).constants.items())),
            rows(kind).copies,
            [[c.name, c.path, c.convert.__name__] for c in columns_of(kind)],
        ]
        for kind in landed_classes()
    }
    ways["every row"] = [
        "kafka_topic",
        "kafka_topic_id",
        "kafka_partition",
        "kafka_offset",
        "seq",
        "retention_days",
    ]
    return sha256(json.dumps(ways, sort_keys=True).encode()).hexdigest()[:8]


def _flat(fields: list[dict[str, Any]], path: tuple[str, ...]) -> list[ColumnMapping]:
    made: list[ColumnMapping] = []
    for each in fields:
        kind = each["type"]
        here = (*path, each["name"])
        if isinstance(kind, dict) and kind["type"] == "record":
            made.extend(_flat(kind["fields"], here))
        else:
            made.append(ColumnMapping(each["name"], here, _conversion(kind)))
    return made


def _conversion(kind: Any) -> Callable[[Values], Values]:
    optional = isinstance(kind, list)
    plain = kind[1] if optional else kind
    if plain == MONEY:
        return _money
    if plain == "long":
        return _known_counts if optional else _counts
    if isinstance(plain, dict) and plain.get("logicalType") == "uuid":
        return _ids
    if optional and plain in ("string", "bytes"):
        return _texts if plain == "string" else _blobs
    return _as_they_are


def _values_at(path: tuple[str, ...], fields: list[Plain]) -> Values:
    if len(path) == 1:
        name = path[0]
        return [each[name] for each in fields]
    outer, inner = path
    return [each[outer][inner] for each in fields]


def _as_they_are(values: Values) -> Values:
    return values


def _texts(values: Values) -> Values:
    return [value or "" for value in values]


def _blobs(values: Values) -> Values:
    return [value or b"" for value in values]


def _ids(values: Values) -> Values:
    ids = [int(value.replace("-", ""), 16) if value else 0 for value in values]
    if not 0 <= min(ids, default=0) <= max(ids, default=0) < UUID_END:
        raise ValueError("an id is no UUID")
    return ids


def _counts(values: Values) -> Values:
    if not 0 <= min(values, default=0) <= max(values, default=0) < COUNT_END:
        raise ValueError(f"a count is negative: {min(values)}")
    return values


def _known_counts(values: Values) -> Values:
    _counts([value for value in values if value is not None])
    return values


def _money(values: Values) -> Values:
    return [
        None if value is None else Decimal(int.from_bytes(value, "big", signed=True)).scaleb(SCALE)
        for value in values
    ]
