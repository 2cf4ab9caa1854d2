"""The ClickHouse sink: inserts that happen exactly once, and the migrations of its tables.

An insert is one block with a token of the records' exact offsets; tables and the targets of their
views remember 10,000 tokens. Without tokens 90,000 rows became 108,560 under kills; with
max(offset) read at start the views lost 4,000 for good.
"""

import logging
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import lz4.frame
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from schemas.events.base import Event
from sinks.base import Batch, EncodedBatch, decoded
from sinks.clickhouse.avro_rows import AvroRows, accepts_encoded, avro_rows
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
WHERE kafka_topic = {{topic:String}} AND kafka_partition = {{partition:UInt32}} GROUP BY kafka_topic_id
"""
MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    name String COMMENT 'File name of the migration',
    sha256 FixedString(64) COMMENT 'SHA-256 of the file when it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied'
)
ENGINE = MergeTree ORDER BY name
COMMENT 'Which numbered SQL files have been applied; an applied file never changes'
"""


class MigrationError(Exception):
    """The SQL files and the database do not fit together. The message says what to do."""


def connect(url: str, database: str, **more: Any) -> Client:
    """A client of a ClickHouse at `http(s)://[user:password@]host[:port]`. Raises where it does not
    answer.

    No session, because a session allows one query at a time; no retries, because the runtime
    retries.
    """
    at = urlsplit(url)
    if not at.hostname or at.scheme not in ("http", "https"):
        raise ValueError(
            f"{at.scheme}://{at.hostname or ''} is no URL of a ClickHouse: "
            "write http(s)://user:password@host:port"
        )
    secure = at.scheme == "https"
    return clickhouse_connect.get_client(
        **(
            {
                "host": at.hostname,
                "port": at.port or (8443 if secure else 8123),
                "secure": secure,
                "username": unquote(at.username or "default"),
                "password": unquote(at.password or ""),
                "database": database,
                "compress": "lz4",
                "autogenerate_session_id": False,
                "query_retries": 0,
                "send_receive_timeout": 60,
                "connect_timeout": 5,
            }
            | more
        )
    )


def migrate(url: str, database: str, folder: Path, variables: Mapping[str, Any]) -> list[str]:
    """Applies the numbered files that were not applied yet, in order, and returns their names.

    `${name}` in a file is replaced from `variables`. Every statement may be applied twice (IF NOT
    EXISTS), so a migration that was cut off is started again. Raises MigrationError where an
    applied file has changed or is gone.
    """
    with connect(url, "default") as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    with connect(url, database) as client:
        return _migrate(client, folder, variables)


def _migrate(client: Client, folder: Path, variables: Mapping[str, Any]) -> list[str]:
    client.command(MIGRATIONS_TABLE)
    rows = client.query("SELECT name, any(sha256) FROM schema_migrations GROUP BY name").result_rows
    applied = {_text(name): _text(digest) for name, digest in rows}
    files = {path.name: path.read_text() for path in sorted(folder.glob("[0-9][0-9][0-9]_*.sql"))}
    _check_unchanged(applied, files)
    done = []
    for name, text in files.items():
        if name not in applied:
            for statement in statements(string.Template(text).substitute(variables)):
                client.command(statement)
            client.insert(
                "schema_migrations", [[name, _digest(text)]], column_names=["name", "sha256"]
            )
            done.append(name)
    return done


def append_rows(
    url: str, database: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Adds rows to a table of figures; none are no insert. A repeat is not removed: the table's
    queries have to allow for it.
    """
    if rows:
        with connect(url, database) as client:
            client.insert(table, rows, column_names=list(names))


def statements(text: str) -> list[str]:
    """The statements of a file. Each ends with a semicolon at the end of a line."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    parts = "\n".join(lines).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


def _check_unchanged(applied: dict[str, str], files: dict[str, str]) -> None:
    for name, digest in sorted(applied.items()):
        if name not in files:
            raise MigrationError(
                f"{name} was applied to this database and is gone from the folder: this is an "
                "older Weir than the database. Use the newer one."
            )
        if _digest(files[name]) != digest:
            raise MigrationError(
                f"{name} was changed after it was applied. Put it back as it was, and write the "
                "change as a new file with the next number."
            )
    behind = [name for name in files if name not in applied and applied and name < max(applied)]
    if behind:
        raise MigrationError(
            f"{behind[0]} comes before {max(applied)}, which is applied already: give it a "
            "higher number."
        )


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


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
            return dict(
                client.query(
                    GREATEST_OFFSETS.format(table=kind.table),
                    parameters={"topic": kind.topic(), "partition": partition},
                ).result_rows
            )

    def prepare(self, batch: Batch | EncodedBatch) -> ColumnBatch | AvroRows:
        return (
            avro_rows(batch, self._kept)
            if isinstance(batch, EncodedBatch)
            else column_batch(batch, self._kept)
        )

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
