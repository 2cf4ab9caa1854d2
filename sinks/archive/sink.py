"""The archive sink: every event is stored whole, as the bytes that it was on the log.

Measured on the embedded ClickHouse, 20,000 events of 43 classes: Avro takes 94 bytes an event on
disk and 18 to 22 ms of ClickHouse's processor time an insert of 2,000 (9 to 11 ms of 200); JSON
takes 100 bytes and 26 to 30 ms (12 to 13 ms), and each event would have to be decoded for it. Avro
segments in an object store, compressed by zstd, take 95 bytes too, and would need an index of their
own that lands exactly once. So: Avro, in a table, which has the index, the tokens and the retention
already.

A batch is one insert, whatever classes it holds. Rows are Avro themselves: ClickHouse reads it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lz4.frame
from clickhouse_connect.driver.client import Client

from schemas.events.base import Event
from schemas.wire.decoder import long_at
from sinks.base import Batch, EncodedBatch
from sinks.clickhouse.avro_rows import file, number, text
from sinks.clickhouse.connection import connect
from sinks.clickhouse.retention import tenant_of
from sinks.clickhouse.sink import EXACTLY_ONCE, GREATEST_OFFSETS

TABLE = "events"
GROUP = "events"
COLUMNS = {
    "kafka_topic": "string",
    "kafka_topic_id": "string",
    "type": "string",
    "kafka_partition": "long",
    "kafka_offset": "long",
    "seq": "long",
    "retention_days": "long",
    "at": "long",
    "tenant": "string",
    "key": "string",
    "id": "string",
    "event": "bytes",
}
"""The columns in the order of their bytes, with their Avro types."""
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": TABLE,
        "fields": [{"name": name, "type": type_} for name, type_ in COLUMNS.items()],
    }
).encode()
ID_END = 1 + 36
EPOCH = "1"
ArchiveDays = Callable[[type[Event], str], int]
"""For how many days the archive keeps a class of a tenant."""


@dataclass(frozen=True)
class ArchiveRows:
    """Rows of the archive as Avro: how many, and their bytes."""

    count: int
    block: bytes


class ArchiveSink:
    """The sink. Connects when it first writes, and again after an error."""

    name = "archive"
    rows_max = 100_000
    epoch = EPOCH

    def __init__(self, url: str, database: str, days: ArchiveDays, deduplicate: bool = True):
        """`deduplicate=False` is the negative control: tokens off, so that repeats show."""
        self._url, self._database, self._days = url, database, days
        self._deduplicate = deduplicate
        self._client: Client | None = None

    def accepts_encoded(self, kind: type[Event]) -> bool:
        return True

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        found = self._asked(
            lambda client: client.query(
                GREATEST_OFFSETS.format(table=TABLE),
                parameters={"topic": kind.topic(), "partition": partition},
            )
        )
        return dict(found.result_rows)

    def prepare(self, batch: Batch | EncodedBatch) -> ArchiveRows:
        """The rows of a batch; what is read of an event are its id, time and tenant."""
        facts = (
            [_facts_of(value) for value in batch.values]
            if isinstance(batch, EncodedBatch)
            else [(str(f["id"]).encode(), f["at"], f["tenant"].encode()) for f in batch.fields]
        )
        kind = batch.kind
        about = b"".join(
            text(each.encode()) for each in (kind.topic(), batch.topic_id, kind.__name__)
        )
        days = {each: self._days(kind, each.decode()) for each in {each for _, _, each in facts}}
        parts: list[bytes] = []
        records = zip(
            batch.partitions,
            batch.offsets,
            batch.seqs,
            batch.keys,
            batch.records,
            facts,
            strict=True,
        )
        for partition, offset, seq, key, record, (identity, at_ms, tenant) in records:
            parts += about, number(partition), number(offset), number(seq), number(days[tenant])
            parts += number(at_ms), text(tenant), text(key), text(identity), text(record)
        return ArchiveRows(len(facts), b"".join(parts))

    def group_of(self, kind: type[Event]) -> str:
        return GROUP

    def joined(self, prepared: Sequence[ArchiveRows]) -> ArchiveRows:
        return ArchiveRows(
            sum(each.count for each in prepared), b"".join(each.block for each in prepared)
        )

    def write(self, prepared: ArchiveRows, token: str) -> None:
        settings: dict[str, Any] = {"async_insert": 0, "deduplicate_insert": "disable"}
        if self._deduplicate:
            settings = EXACTLY_ONCE | {"insert_deduplication_token": token}
        content = lz4.frame.compress(file(SCHEMA, prepared.count, prepared.block))
        self._asked(
            lambda client: client.raw_insert(
                TABLE,
                column_names=list(COLUMNS),
                insert_block=content,
                settings=settings,
                fmt="Avro",
                compression="lz4",
            )
        )

    def _asked(self, question: Callable[[Client], Any]) -> Any:
        client = self._client = self._client or connect(self._url, self._database)
        try:
            return question(client)
        except Exception:
            self._client = None
            client.close()
            raise


def _facts_of(value: bytes) -> tuple[bytes, int, bytes]:
    """Id, time and tenant of an event in Avro: its first three fields."""
    at_ms, _ = long_at(value, ID_END)
    return value[1:ID_END], at_ms >> 1, tenant_of(value)
