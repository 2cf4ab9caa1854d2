"""The response cache: a SQLite file of answers that all call runners of a machine share.

It never fails a call: a file that is locked, full or broken is a miss and a line in the log. Keys
contain the tenant already (`processors/models/response_cache.py`); it is compared once more here.
"""

import json
import logging
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from schemas.events.values import Tokens
from schemas.ports import ChatAnswer, Kept

log = logging.getLogger(__name__)
LOCK_S = 0.2
ROWS_MAX = 100_000
SWEEP_EVERY = 200
TABLE = """CREATE TABLE IF NOT EXISTS responses
(key TEXT PRIMARY KEY, tenant TEXT NOT NULL, expires_at REAL NOT NULL,
    answer TEXT NOT NULL) WITHOUT ROWID"""
INDEX = "CREATE INDEX IF NOT EXISTS by_expiry ON responses (expires_at)"
FIELDS = (
    "endpoint",
    "provider",
    "response_model",
    "content",
    "finish_reason",
    "service_tier",
    "usage_known",
)


class ResponseCache:
    """Opened when it is first used; one for a process and its one thread of calls."""

    def __init__(self, path: Path):
        self._path = path
        self._db = None
        self._stored = 0

    def find(self, kept: Kept, now: datetime) -> ChatAnswer | None:
        """The cached answer, as of now and without attempts; None where there is none that has not
        expired.
        """
        found = self._safely(
            lambda db: db.execute(
                "SELECT answer FROM responses WHERE key = ? AND tenant = ? AND expires_at > ?",
                (kept.key, kept.tenant, now.timestamp()),
            ).fetchone()
        )
        if not found:
            return None
        fields = json.loads(found[0])
        return ChatAnswer(
            **{name: fields[name] for name in FIELDS if name in fields},
            tokens=Tokens(**fields["tokens"]),
            tool_calls=(),
            started_at=now,
            at=now,
            attempts=0,
            cache_hit=True,
        )

    def store(self, kept: Kept, answer: ChatAnswer, now: datetime) -> None:
        """Stores an answer that is complete: it ended by itself and called no tool."""
        if answer.finish_reason != "stop" or answer.tool_calls or not answer.content:
            return
        fields = {name: getattr(answer, name) for name in FIELDS} | {
            "tokens": answer.tokens.model_dump()
        }
        row = kept.key, kept.tenant, now.timestamp() + kept.ttl_s, json.dumps(fields)
        self._safely(
            lambda db: db.execute("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?)", row)
        )
        self._stored += 1
        if self._stored % SWEEP_EVERY == 1:
            self._safely(lambda db: self._sweep(db, now))

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    @staticmethod
    def _sweep(db: sqlite3.Connection, now: datetime) -> None:
        """Removes what has expired, and what expires next where there are too many."""
        db.execute("DELETE FROM responses WHERE expires_at <= ?", (now.timestamp(),))
        db.execute(
            "DELETE FROM responses WHERE key IN (SELECT key FROM responses ORDER BY expires_at "
            "DESC LIMIT -1 "
            "OFFSET ?)",
            (ROWS_MAX,),
        )

    def _safely(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            return work(self._opened())
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as error:
            log.warning(
                "the response cache %s was not used: %s: %s",
                self._path,
                type(error).__name__,
                error,
            )
            self.close()
            return None

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._db = sqlite3.connect(
                self._path, timeout=LOCK_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(TABLE)
            self._db.execute(INDEX)
        return self._db
