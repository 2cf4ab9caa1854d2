"""The ClickHouse sink: inserts that happen exactly once.

An insert is one block with a token of the records' exact offsets; tables and the targets of their
views remember 10,000 tokens. Without tokens 90,000 rows became 108,560 under kills; with
max(offset) read at start the views lost 4,000 for good.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lz4.frame
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from schemas.events.base import Event
from sinks.base import Batch, EncodedBatch, decoded
from sinks.clickhouse.avro_rows import AvroRows, accepts_encoded, avro_rows
from sinks.clickhouse.connection import connect
from sinks.clickhouse.retention import RetentionDays, default_days
from sinks.clickhouse.rows import ColumnBatch, column_batch, epoch

log = logging.getLogger(__name__)
EXACTLY_ONCE = {
    "async_insert": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_block_size": 1_048_449,
    "max_partitions_per_insert_block": 1_000,
}
GREATEST_OFFSETS = """
SELECT kafka_topic_id, max(kafka_offset) FROM `{table}`
WHERE kafka_topic = {{topic:String}} AND kafka_partition = {{partition:UInt32}}
    GROUP BY kafka_topic_id
"""


class ClickHouseSink:
    """The sink. Connects when it first writes, and again after an error."""

    name = "clickhouse"
    rows_max = 1_000_000

    def __init__(
        self, url: str, database: str, deduplicate: bool = True, kept: RetentionDays = default_days
    ):
        """`kept`: the retention in days, by tenant. `deduplicate=False` is the negative control:
        without tokens, repeats show.
        """
        self.epoch = epoch()
        self._url = url
        self._database = database
        self._settings = (
            EXACTLY_ONCE if deduplicate else {"async_insert": 0, "deduplicate_insert": "disable"}
        )
        self._deduplicate = deduplicate
        self._kept = kept
        self._client: Client | None = None
        self._types: dict[str, dict[str, Any]] = {}
        self._no_avro: set[str] = set()

    def accepts_encoded(self, kind: type[Event]) -> bool:
        return accepts_encoded(kind)

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        with self._connected() as client:
            rows = client.query(
                GREATEST_OFFSETS.format(table=kind.table),
                parameters={"topic": kind.topic(), "partition": partition},
            ).result_rows
        return {str(topic_id): int(offset) for topic_id, offset in rows}

    def prepare(self, batch: Batch | EncodedBatch) -> ColumnBatch | AvroRows:
        return (
            avro_rows(batch, self._kept)
            if isinstance(batch, EncodedBatch)
            else column_batch(batch, self._kept)
        )

    def group_of(self, kind: type[Event]) -> str:
        return kind.__name__

    def joined(self, prepared: Sequence[ColumnBatch | AvroRows]) -> ColumnBatch | AvroRows:
        return prepared[0]

    def write(self, prepared: ColumnBatch | AvroRows, token: str) -> None:
        settings = self._settings | (
            {"insert_deduplication_token": token} if self._deduplicate else {}
        )
        with self._connected() as client:
            if isinstance(prepared, AvroRows):
                self._insert_bytes(client, prepared, settings)
            else:
                self._insert(client, prepared, settings)

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        """The one connection. Making one takes several queries, and a first start asks about every
        partition.
        """
        client = self._client = self._client or connect(self._url, self._database)
        try:
            yield client
        except Exception:
            self._client = None
            self._types.clear()
            client.close()
            raise

    def _insert(self, client: Client, made: ColumnBatch, settings: dict[str, Any]) -> None:
        types = self._types_of(client, made.table)
        client.insert(
            made.table,
            made.values,
            column_names=made.names,
            column_oriented=True,
            column_types=[types[name] for name in made.names],
            settings=settings,
        )

    def _insert_bytes(self, client: Client, made: AvroRows, settings: dict[str, Any]) -> None:
        """Inserts as Avro; where the server refuses that, the same rows as columns, under the same
        token.

        A server that refused Avro and took the columns is not asked with Avro again.
        """
        if made.table not in self._no_avro:
            try:
                client.raw_insert(
                    made.table,
                    column_names=made.names,
                    insert_block=lz4.frame.compress(made.file),
                    settings=settings,
                    fmt="Avro",
                    compression="lz4",
                )
                return
            except OperationalError:
                raise  # it did not answer: that says nothing of Avro
            except DatabaseError as error:
                log.warning(
                    "%s refused Avro, tried again as columns: %s", made.table, str(error)[:300]
                )
        self._insert(client, column_batch(decoded(made.bodies), self._kept), settings)
        self._no_avro.add(made.table)

    def _types_of(self, client: Client, table: str) -> dict[str, Any]:
        if table not in self._types:
            described = client.query(f"DESCRIBE TABLE `{self._database}`.`{table}`").result_rows
            self._types[table] = {row[0]: get_from_name(row[1]) for row in described}
        return self._types[table]
