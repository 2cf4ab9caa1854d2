"""Does every event that lands become the row that its fields say?"""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schemas.catalogue import landed_classes
from schemas.events.base import Event
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens, Took
from schemas.wire.codec import from_json
from schemas.wire.plain_values import plain_of
from sinks.base import Batch
from sinks.clickhouse.retention import DEFAULT_DAYS
from sinks.clickhouse.rows import RowShape, column_batch, epoch, row_of

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"
LANDED = [
    (kind, path)
    for kind in landed_classes()
    for path in sorted((EXAMPLES / kind.__name__).glob("*.json"))
]
PLACE = (
    "kafka_topic",
    "kafka_topic_id",
    "kafka_partition",
    "kafka_offset",
    "seq",
    "retention_days",
)


def batch_of(*events: Event, partition: int = 3, first: int = 100) -> Batch:
    offsets = list(range(first, first + len(events)))
    return Batch(
        type(events[0]),
        [partition] * len(events),
        offsets,
        [2 * offset for offset in offsets],
        [plain_of(e) for e in events],
        "made1",
    )


def expected(event: Event) -> dict[str, Any]:
    """The row by the event's own fields, worked out another way than the code does."""
    table = row_of(type(event))
    row = {}
    for name, value in event.model_dump().items():
        known = {**type(event).model_fields, **Took.model_fields}
        for column, each in (
            value.items() if name in ("tokens", "charge", "total") else [(name, value)]
        ):
            row[table.renamed.get(column, column)] = in_column(each, known.get(column))
    row |= {name: row[source] for name, source in table.copies.items()} | table.constants
    return {name: value for name, value in row.items() if name not in table.without}


def in_column(value: Any, field: Any) -> Any:
    match value:
        case UUID():
            return value.int
        case tuple():
            return list(value)
        case datetime():
            return round(value.timestamp() * 1000)
        case None if any(
            number in str(field.annotation) for number in ("Decimal", "[int", "[float")
        ):
            return None
        case None if "UUID" in str(field.annotation):
            return 0
        case None:
            return b"" if "bytes" in str(field.annotation) else ""
    return value


@pytest.mark.parametrize(
    "kind, path", LANDED, ids=lambda at: at.stem if isinstance(at, Path) else at.__name__
)
def test_an_example_becomes_its_row(kind, path):
    event = from_json(kind, path.read_text())
    made = column_batch(batch_of(event))
    row = {name: values[0] for name, values in zip(made.names, made.values, strict=True)}
    assert [row.pop(name) for name in PLACE] == [kind.topic(), "made1", 3, 100, 200, DEFAULT_DAYS]
    assert row == expected(event)
    assert made.table == kind.table


def test_rows_stay_in_order_and_columns_are_equally_long():
    events = [from_json(kind, path.read_text()) for kind, path in LANDED if kind is TokensUsed]
    made = column_batch(batch_of(*events))
    assert {len(values) for values in made.values} == {len(events)}
    assert made.values[made.names.index("id")] == [event.id.int for event in events]


def test_money_is_exact_to_the_last_decimal():
    event = used().model_copy(update={"cost_usd": Decimal("123456789.000000000001")})
    made = column_batch(batch_of(event))
    assert made.values[made.names.index("cost_usd")] == [Decimal("123456789.000000000001")]


@pytest.mark.parametrize(
    "broken",
    [
        {"agent_version": -1},
        {"tokens": {**Tokens().model_dump(), "input_tokens": -5}},
        {"run": "not a uuid"},
        {"id": "f" * 40},
        {"agent_version": 2**63},
    ],
    ids=str,
)
def test_a_value_that_no_column_holds_is_refused(broken):
    fields = plain_of(used()) | broken
    with pytest.raises((ValueError, OverflowError)):
        column_batch(Batch(TokensUsed, [0], [0], [0], [fields]))


def test_the_epoch_changes_with_the_way_rows_are_made():
    assert epoch.__wrapped__() == epoch()
    assert epoch(lambda kind: RowShape(constants={"status": "new"})) != epoch()


def used() -> TokensUsed:
    return from_json(TokensUsed, (EXAMPLES / "TokensUsed" / "full.json").read_text())
