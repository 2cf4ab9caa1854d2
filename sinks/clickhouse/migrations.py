"""The tables of ClickHouse come from numbered SQL files, applied once and in order.

Each domain has a folder of its own with numbers of its own (`usage/0001_tokens.sql`); no file
depends on another domain's. An applied file never changes: what changes is a new file with the
next number. Every statement may be repeated (IF NOT EXISTS), so that a migration that was cut off
is begun again.
"""

import re
import string
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from sinks.clickhouse.connection import connect

FOLDER = Path(__file__).parents[2] / "infra" / "clickhouse"
FILE_NAME = re.compile(r"[a-z_]+/\d{4}_[a-z0-9_]+\.sql")
SINGLE = {
    "replicated": "",
    "deduplication": "non_replicated_deduplication_window = 10000",
    "database_engine": "",
}
"""What the files' variables are on one server."""
REPLICATED = {
    "replicated": "Replicated",
    "deduplication": (
        "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000"
    ),
    "database_engine": " ENGINE = Replicated('/clickhouse/databases/{database}', '{{shard}}', "
    "'{{replica}}')",
}
"""What they are on several replicas of one shard: the database's engine carries the statements to
each replica, and tokens are remembered in Keeper for as long as the log is.
"""
MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    name String COMMENT 'Domain and file name of the migration',
    sha256 FixedString(64) COMMENT 'SHA-256 of the file when it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied'
)
ENGINE = ${replicated}MergeTree ORDER BY name
COMMENT 'Which numbered SQL files have been applied; an applied file never changes'
"""


class MigrationError(Exception):
    """The SQL files and the database do not fit together. The message says what to do."""


def make_tables(
    url: str, database: str, retention_days: int, replicated: bool = False
) -> list[str]:
    """Brings Weir's database to the newest edition of its tables; returns the files applied.

    `retention_days`: how long rows are kept where no tenant says otherwise. `replicated`: the
    server is one of several replicas with a Keeper. Raises MigrationError.
    """
    variables = {"retention_days": retention_days} | (REPLICATED if replicated else SINGLE)
    return migrate(url, database, FOLDER, variables)


def migrate(url: str, database: str, folder: Path, variables: Mapping[str, Any]) -> list[str]:
    """Applies a folder's files that were not applied yet, in order; returns their names.

    `${name}` in a file is replaced from `variables`. Raises MigrationError where a file has
    another form of name, where an applied file has changed or is gone, or where a new one stands
    before one that is applied.
    """
    variables = SINGLE | dict(variables)
    with connect(url, "default") as client:
        engine = variables["database_engine"].format(database=database)
        client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`{engine}")
    with connect(url, database) as client:
        return _migrate(client, files_in(folder), variables)


def files_in(folder: Path) -> dict[str, str]:
    """The text of each file by its name, e.g. `usage/0001_tokens.sql`, in order.

    Raises MigrationError for a name of another form, or a number that stands twice in a domain.
    """
    files = {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.sql")
    }
    numbers: dict[str, str] = {}
    for name in sorted(files):
        if not FILE_NAME.fullmatch(name):
            raise MigrationError(
                f"{name} is no name of a migration: call it domain/0001_what_it_makes.sql"
            )
        number = name[: name.index("/") + 5]
        if number in numbers:
            raise MigrationError(
                f"{name} has the number of {numbers[number]}: give one of them the next free number"
            )
        numbers[number] = name
    return dict(sorted(files.items()))


def statements(text: str) -> list[str]:
    """The statements of a file. Each ends with a semicolon at the end of a line."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    parts = "\n".join(lines).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


def _migrate(client: Client, files: dict[str, str], variables: Mapping[str, Any]) -> list[str]:
    client.command(string.Template(MIGRATIONS_TABLE).substitute(variables))
    rows = client.query("SELECT name, any(sha256) FROM schema_migrations GROUP BY name").result_rows
    applied = {_text(name): _text(digest) for name, digest in rows}
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
    newest = {_domain(name): name for name in sorted(applied)}
    for name in files:
        last = newest.get(_domain(name), "")
        if name not in applied and name < last:
            raise MigrationError(
                f"{name} comes before {last}, which is applied already: give it a higher number."
            )


def _domain(name: str) -> str:
    return name.partition("/")[0]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value
