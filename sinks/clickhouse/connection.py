"""Connections to a ClickHouse server over HTTP."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client


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


def append_rows(
    url: str, database: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Adds rows to a table of figures; none are no insert. A repeat is not removed: the table's
    queries have to allow for it.
    """
    if rows:
        with connect(url, database) as client:
            client.insert(table, rows, column_names=list(names))
