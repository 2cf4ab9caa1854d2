"""Owns one embedded ClickHouse engine and runs many requests on it at once.

The engine (`chdb`) takes any number of handles on one data folder and runs their queries side by
side. Opening one and setting a request's database and settings on it costs 0.5 to 0.7 ms, so a
handle is used again where a request asks for exactly the same ones, and nothing leaks from one
request into the next. Only a session that really keeps state (SET, USE, temporary tables) keeps a
handle of its own.
"""

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import chdb
from chdb.state.sqlitelike import Connection

from infra.embedded.clickhouse.protocol import Insert, Request, StatementRefusedError

SESSION_IDLE_S = 600
IDLE_HANDLES = 16
# Sized for two cores that the broker, the registry and the workers share. `async_insert` is off
# because an acknowledged insert must be on disk (its default became 1 in 26.x).
OPTIONS = {
    "log-level": "none",
    "implicit_select": 0,  # on in a local engine, off on a server
    "max_server_memory_usage": 1_600_000_000,
    "max_memory_usage": 1_000_000_000,
    "max_threads": 2,
    "max_insert_threads": 1,
    "async_insert": 0,
    "background_pool_size": 2,
    "background_schedule_pool_size": 4,
    "background_common_pool_size": 2,
    "background_move_pool_size": 1,
    "background_fetches_pool_size": 1,
    "mark_cache_size": 67_108_864,
    "index_mark_cache_size": 16_777_216,
    "uncompressed_cache_size": 0,
    "primary_index_cache_size": 67_108_864,
    "mmap_cache_size": 0,
    "compiled_expression_cache_size": 16_777_216,
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Answer:
    """What a statement returned. Rows and bytes are the engine's own counts."""

    body: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    result_rows: int
    elapsed_ns: int


@dataclass
class EngineSession:
    """A connection that keeps what SET, USE and temporary tables did, one request at a time."""

    handle: Connection
    lock: threading.Lock = field(default_factory=threading.Lock)
    used_at_s: float = 0.0

    def is_idle(self, now_s: float) -> bool:
        return now_s - self.used_at_s > SESSION_IDLE_S and not self.lock.locked()


class Engine:
    """One data folder, opened. Safe to call from many threads."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._address = f"{folder}?{urlencode(OPTIONS)}"
        self._root = chdb.connect(self._address)  # keeps the engine open between requests
        self._sessions: dict[str, EngineSession] = {}
        # (database and settings, a connection prepared with them), oldest first
        self._idle: list[tuple[tuple, Connection]] = []
        self._guard = threading.Lock()
        self.timezone = (
            self._root.query("SELECT timezone()", "TabSeparatedRaw").bytes().decode().strip()
        )
        self.version = (
            self._root.query("SELECT version()", "TabSeparatedRaw").bytes().decode().strip()
        )

    def run(self, request: Request) -> Answer:
        """Run one statement. Raises RuntimeError with ClickHouse's own text, or
        `StatementRefusedError`.
        """
        with self._handle(request) as handle:
            if request.insert is None:
                return _answer(
                    handle.query(request.sql, request.format, params=request.bound or None)
                )
            with _in_memory(request.insert.data) as path:
                return _answer(
                    handle.query(
                        infile_sql(request.insert, path), "Null", params=request.bound or None
                    )
                )

    def close(self) -> None:
        """Close every handle; the last one closes the engine."""
        for handle in [session.handle for session in self._sessions.values()] + [
            handle for _, handle in self._idle
        ]:
            handle.close()
        self._root.close()

    @contextmanager
    def _handle(self, request: Request) -> Iterator[Connection]:
        session = self._session(request)
        if session is not None:
            with self._in_session(session, request):
                yield session.handle
            return
        key = (request.database, tuple(sorted(request.settings.items())))
        handle = self._prepared(key, request)
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        closing = [handle] if request.keeps_state else self._put_back(key, handle)
        for each in closing:
            each.close()

    def _prepared(self, key: tuple, request: Request) -> Connection:
        with self._guard:
            found = next(
                (at for at in reversed(range(len(self._idle))) if self._idle[at][0] == key), None
            )
            if found is not None:
                return self._idle.pop(found)[1]
        handle = chdb.connect(self._address)
        try:
            _prepare(handle, request.database, request.settings)
        except BaseException:
            handle.close()
            raise
        return handle

    def _put_back(self, key: tuple, handle: Connection) -> list[Connection]:
        """Keep a connection for the next request like this; returns surplus ones, to be closed."""
        with self._guard:
            self._idle.append((key, handle))
            closing = self._idle[:-IDLE_HANDLES]
            self._idle = self._idle[-IDLE_HANDLES:]
            return [handle for _, handle in closing]

    def _session(self, request: Request) -> EngineSession | None:
        if not request.session_id or "readonly" in request.settings:
            # readonly cannot be taken back from a handle, so it never touches one that stays
            return None
        with self._guard:
            now_s = time.monotonic()
            for name in [n for n, s in self._sessions.items() if s.is_idle(now_s)]:
                self._sessions.pop(name).handle.close()
            session = self._sessions.get(request.session_id)
            if session is None and request.keeps_state:
                session = self._sessions[request.session_id] = EngineSession(
                    chdb.connect(self._address)
                )
            if session is not None:
                session.used_at_s = now_s
            return session

    @contextmanager
    def _in_session(self, session: EngineSession, request: Request) -> Iterator[None]:
        if not session.lock.acquire(blocking=False):
            raise StatementRefusedError(
                373,
                f"Session {request.session_id} is locked by a concurrent client: wait for its "
                "query, or use another session_id. (SESSION_IS_LOCKED)",
            )
        try:
            before = _current(session.handle, request.settings)
            try:
                _prepare(session.handle, request.database, request.settings)
                yield
            finally:
                _prepare(session.handle, "", before)
        finally:
            session.lock.release()


def infile_sql(insert: Insert, path: str) -> str:
    """The statement that reads an insert's rows from a file: only this way raises all errors."""
    source = f"FROM INFILE {quoted(path)} COMPRESSION 'none'"
    return f"{insert.head} {source} {insert.settings} FORMAT {insert.format}"


def quoted(text: str) -> str:
    """A string literal of ClickHouse's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def set_sql(settings: Mapping[str, str | None]) -> list[str]:
    """The SET statements for settings (None: the default); `readonly` last as it forbids more."""
    for name in settings:
        if not _NAME.fullmatch(name):
            raise StatementRefusedError(
                115,
                f"Unknown setting {name!r}: remove it from the URL's parameters. (UNKNOWN_SETTING)",
            )
    changes = {
        name: "DEFAULT" if value is None else quoted(value) for name, value in settings.items()
    }
    last = changes.pop("readonly", None)
    first = (
        ["SET " + ", ".join(f"{name} = {value}" for name, value in changes.items())]
        if changes
        else []
    )
    return first + ([f"SET readonly = {last}"] if last else [])


def _prepare(handle: Connection, database: str, settings: Mapping[str, str | None]) -> None:
    if database:
        handle.query("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`", "Null")
    for statement in set_sql(settings):
        handle.query(statement, "Null")


def _current(handle: Connection, names: Iterable[str]) -> dict[str, str | None]:
    """The values that a session's SET statements gave to settings; None where there is none."""
    found: dict[str, str | None] = dict.fromkeys(names)
    if found:
        listed = ", ".join(quoted(name) for name in found)
        rows = handle.query(
            f"SELECT name, value FROM system.settings WHERE changed AND name IN ({listed})",
            "TabSeparatedRaw",
        )
        found |= dict(line.split("\t", 1) for line in rows.bytes().decode().splitlines())
    return found


def _answer(result) -> Answer:
    read_rows = result.storage_rows_read() or 0
    return Answer(
        body=result.bytes() or b"",
        read_rows=read_rows,
        read_bytes=result.storage_bytes_read() or 0,
        written_rows=result.rows_written() or 0,
        written_bytes=result.bytes_written() or 0,
        result_rows=result.rows_read() or 0,
        elapsed_ns=int((result.elapsed() or 0) * 1e9),
    )


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path that reads as the data, without touching the disk where the system can do that."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("insert"), "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
