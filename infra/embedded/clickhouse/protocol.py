"""Parses requests of ClickHouse's HTTP protocol.

Pure functions: bytes, headers and URL parameters in, a `Request` out. The facts they hold to: an
insert's data begins right behind the first newline after its FORMAT (a binary block may itself
begin with a newline byte, 10 columns); an lz4 body is several frames one after another; settings
travel beside transport parameters that the engine does not know; a long query comes as a multipart
form.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from itertools import pairwise

import lz4.frame
import zstandard

# Parameters of the transport: the engine would call one of these an unknown setting.
TRANSPORT = frozenset(
    (
        "query",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "user",
        "password",
        "quota_key",
        "role",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "stacktrace",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "enable_http_compression",
        "http_zlib_compression_level",
        "cancel_http_readonly_queries_on_client_close",
        "close_session",
        "http_write_exception_in_output_format",
    )
)
CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}
# Engines that talk to another system in the background: with one of them the folder cannot be
# opened again.
REFUSED_ENGINES = frozenset(("KAFKA", "RABBITMQ", "NATS", "AZUREQUEUE", "S3QUEUE"))
_TOKEN = re.compile(
    rb"""\s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/
    | (?P<quoted>'(?:\\.|[^'\\])*' | `(?:\\.|[^`\\])*` | "(?:\\.|[^"\\])*")
    | (?P<word>\w+) | (?P<mark>.)""",
    re.S | re.X,
)
_DATA_BEGINS = re.compile(rb"[ \t\f]*(?:;[ \t]*)?\r?\n?")
_TRAILING_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^']*)?;?\s*$", re.I)


class StatementRefusedError(Exception):
    """A request that cannot be served here, with ClickHouse's error number and what to do."""

    def __init__(self, code: int, message: str):
        super().__init__(f"Code: {code}. DB::Exception: {message}")


@dataclass(frozen=True)
class Insert:
    """An insert whose rows travel behind it. `settings` is its own SETTINGS clause, or nothing."""

    head: str
    settings: str
    format: str
    data: bytes


@dataclass(frozen=True)
class Request:
    """One statement to run. With an `insert`, whose rows came along, `sql` is its head alone."""

    sql: str
    insert: Insert | None
    database: str
    format: str
    settings: dict[str, str]
    bound: dict[str, str]
    query_id: str
    session_id: str
    keeps_state: bool


def parse(params: Mapping[str, str], body: bytes, readonly: bool) -> Request:
    """The request in URL parameters and a decompressed body. Raises `StatementRefusedError`."""
    if params.get("compress", "0") != "0" or params.get("decompress", "0") != "0":
        raise StatementRefusedError(
            48,
            "Blocks of the native protocol's compression are not supported here: leave out "
            "compress=1 and decompress=1, and use Content-Encoding: lz4, zstd or gzip. "
            "(NOT_IMPLEMENTED)",
        )
    query = params.get("query", "").encode()
    words = _words(query if query.strip() else body)
    refuse_engines(words)
    insert = split_insert(query, body) if words[:1] == ["INSERT"] else None
    sql = (
        insert.head
        if insert
        else (query + b"\n" + body if query and body else query or body).decode()
    )
    settings = {
        name: value
        for name, value in params.items()
        if name not in TRANSPORT and name[:6] != "param_"
    }
    if readonly:
        settings.setdefault("readonly", "2")
    return Request(
        sql=sql,
        insert=insert,
        database=params.get("database", ""),
        format=output_format(sql, params.get("default_format", "TabSeparated")),
        settings=settings,
        bound={name[6:]: value for name, value in params.items() if name[:6] == "param_"},
        query_id=params.get("query_id", ""),
        session_id=params.get("session_id", ""),
        keeps_state=words[:1] in (["SET"], ["USE"])
        or words[:2] in (["CREATE", "TEMPORARY"], ["DROP", "TEMPORARY"]),
    )


def split_insert(query: bytes, body: bytes) -> Insert | None:
    """Cut an INSERT from its rows; None where they are part of the SQL or come from a SELECT."""
    text = query or body
    settings_at = format_at = None
    for kind, word, start, end in _tokens(text):
        if kind != "word":
            continue
        if format_at is not None:
            blank = _DATA_BEGINS.match(text, end)
            data_at = blank.end() if blank else end
            cut = min(settings_at or format_at, format_at)
            data = text[data_at:] + (body if query else b"")
            return Insert(text[:cut].decode(), text[cut:format_at].decode(), word.decode(), data)
        match word.upper():
            case b"FORMAT":
                format_at = start
            case b"SETTINGS":
                settings_at = start
            case b"SELECT" | b"WITH" | b"INFILE":
                return None
            case b"VALUES":
                return (
                    Insert(text[:start].decode(), "", "Values", body)
                    if query and body.strip()
                    else None
                )
    if query and body:
        return Insert(query.decode().rstrip().rstrip(";"), "", "Values", body)
    return None


def output_format(sql: str, default: str) -> str:
    """The format that a query's own FORMAT clause names, or the request's default."""
    found = _TRAILING_FORMAT.search(sql[-400:])
    return found.group(1) if found else default


def refuse_engines(words: list[str]) -> None:
    """Raise `StatementRefusedError` for an engine that would make the data folder unopenable."""
    if words[:1] not in (["CREATE"], ["ATTACH"], ["REPLACE"]):
        return
    for before, engine in pairwise(words):
        if before == "ENGINE" and engine in REFUSED_ENGINES:
            raise StatementRefusedError(
                48,
                f"Table engine {engine} is not available in the embedded ClickHouse, because a "
                "folder that holds such a table cannot be opened again. Let a Weir sink write the "
                "rows, or point Weir at a ClickHouse server. (NOT_IMPLEMENTED)",
            )


def decompressed(body: bytes, encoding: str) -> bytes:
    """The body behind its Content-Encoding, every frame of it. Raises `StatementRefusedError` on
    bad bytes.
    """
    try:
        match encoding.strip().lower():
            case "" | "identity":
                return body
            case "lz4":
                return b"".join(_frames(body, lz4.frame.LZ4FrameDecompressor))
            case "zstd":
                return b"".join(_frames(body, lambda: zstandard.ZstdDecompressor().decompressobj()))
            case "gzip" | "x-gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
    except (RuntimeError, EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise StatementRefusedError(
            271,
            f"The body is not valid {encoding}: {error}. Send it again whole. (CANNOT_DECOMPRESS)",
        ) from error
    raise StatementRefusedError(
        1,
        f"Content-Encoding {encoding} is not supported: send lz4, zstd, gzip or none. "
        "(UNSUPPORTED_METHOD)",
    )


def _frames(body: bytes, decompressor: Callable) -> Iterator[bytes]:
    while body:
        frame = decompressor()
        yield frame.decompress(body)
        if not frame.eof:
            raise EOFError("its last frame is cut short")
        body = frame.unused_data or b""


def form_fields(body: bytes, content_type: str) -> dict[str, str]:
    """A multipart form's fields: the query and its parameters. Raises `StatementRefusedError` on
    files.
    """
    parts = message_from_bytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    ).walk()
    fields = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if part.get_filename():
            raise StatementRefusedError(
                48,
                "External data in a form is not supported: insert it into a table first. "
                "(NOT_IMPLEMENTED)",
            )
        if name is not None:
            payload = part.get_payload(decode=True)
            fields[str(name)] = payload.decode() if isinstance(payload, bytes) else str(payload)
    return fields


def _tokens(sql: bytes) -> Iterator[tuple[str, bytes, int, int]]:
    """Words, quoted strings and marks of a statement with their offsets, without comments."""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup:
            yield match.lastgroup, match.group(), match.start(), match.end()


def _words(sql: bytes) -> list[str]:
    """The bare words of the first 64 KiB, in capitals: enough for any DDL, without insert rows."""
    words = []
    for kind, word, _, _ in _tokens(sql[:65536]):
        if kind == "word":
            words.append(word.decode().upper())
            if words[0] in ("INSERT", "SELECT", "WITH", "SET", "USE"):
                break
    return words
