"""Queries of the gateway to ClickHouse, which may be down when the gateway starts."""

import threading
from typing import Any

from sinks.clickhouse import connection
from streams.config import Settings

TIMEOUT_S = 10


class ClickHouseReader:
    """The rows of a query, each by column name. Connects at the first query, and again after an
    error.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = threading.Lock()
        self._client = None

    def __call__(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            return list(self._connected().query(sql, parameters=parameters).named_results())
        except Exception:
            self._client = None
            raise

    def _connected(self) -> Any:
        """One client for all threads: it keeps no session, and has its own pool of connections."""
        with self._lock:
            if self._client is None:
                self._client = connection.connect(
                    self._settings.clickhouse(),
                    self._settings.clickhouse_database,
                    send_receive_timeout=TIMEOUT_S,
                    connect_timeout=2,
                )
            return self._client
