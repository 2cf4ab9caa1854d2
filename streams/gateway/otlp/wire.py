"""Decoding of OTLP exports, in protobuf and in JSON.

Both become the same messages; in JSON each span is read by itself, so that an invalid one is
rejected alone. Nothing is decompressed beyond the limit.
"""

import base64
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from processors.common.text import clean, cut
from streams.gateway.limits import EXPORT_BYTES_MAX, EXPORT_TOO_LARGE

M = TypeVar("M", bound=Message)
VALUE_CHARS = 64_000
ATTRIBUTES_MAX = 1_000
PROTOBUF_ERRORS = (ParseError, ValueError, TypeError, RecursionError, OverflowError, SystemError)
"""What protobuf raises for an invalid message; the last two for an infinite number and for half a
surrogate pair.
"""


class ExportError(Exception):
    """An export that cannot be read. `status` is the answer's, the sentence says what to do."""

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status = status


class RejectedItemError(Exception):
    """A span, or a log record, that cannot be accepted; the others of its export are."""


@dataclass(frozen=True)
class ExportItem:
    """A span or log record, with its resource as JSON and the name of its scope."""

    item: Message | RejectedItemError
    resource: str
    scope: str


def decompressed(body: bytes, encoding: str) -> bytes:
    """The body, decompressed. Raises ExportError; never decompresses beyond the limit."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise ExportError(
            415, f"Content-Encoding {encoding!r} is not known here: send gzip, deflate or nothing"
        )
    unpack = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    try:
        text = unpack.decompress(body, EXPORT_BYTES_MAX + 1)
    except zlib.error as error:
        raise ExportError(
            400,
            f"the body says that it is {encoding} and is not ({error}): send what Content-Encoding "
            "says",
        ) from error
    if len(text) > EXPORT_BYTES_MAX:
        raise too_large()
    if not unpack.eof:
        raise ExportError(400, f"the {encoding} body breaks off before its end: send it whole")
    if unpack.unused_data:
        raise ExportError(
            400, f"the {encoding} body goes on after its end: send one {encoding} stream"
        )
    return text


def too_large() -> ExportError:
    """The error of an export above the limit."""
    return ExportError(413, EXPORT_TOO_LARGE)


def spans_of(body: bytes, is_json: bool) -> Iterator[ExportItem]:
    """The spans of an export of traces. Raises ExportError before the first."""
    return _items(
        body, is_json, ExportTraceServiceRequest, Span, ("resource_spans", "scope_spans", "spans")
    )


def logs_of(body: bytes, is_json: bool) -> Iterator[ExportItem]:
    """The records of an export of logs. Raises ExportError before the first."""
    return _items(
        body,
        is_json,
        ExportLogsServiceRequest,
        LogRecord,
        ("resource_logs", "scope_logs", "log_records"),
    )


def _items(
    body: bytes, is_json: bool, request: type, kind: type, names: tuple[str, str, str]
) -> Iterator[ExportItem]:
    outer, middle, inner = names
    if is_json:
        return _parts_of_json(_object(body, _camel(outer)), kind, *map(_camel, names))
    try:
        export = request.FromString(body)
    except DecodeError as error:
        raise ExportError(
            400,
            f"the body is not an {request.__name__} of OTLP in protobuf: check the exporter's "
            "protocol (http/protobuf) and address",
        ) from error
    return _parts_of_protobuf(export, outer, middle, inner)


def _parts_of_protobuf(export: Any, outer: str, middle: str, inner: str) -> Iterator[ExportItem]:
    for each in getattr(export, outer):
        resource = as_json(values(each.resource.attributes))
        for scoped in getattr(each, middle):
            for item in getattr(scoped, inner):
                yield ExportItem(item, resource, scoped.scope.name)


def _parts_of_json(
    export: dict[str, Any], kind: type, outer: str, middle: str, inner: str
) -> Iterator[ExportItem]:
    for each in _dicts(export.get(outer)):
        resource = _message(each.get("resource") or {}, Resource)
        around = (
            "{}"
            if isinstance(resource, RejectedItemError)
            else as_json(values(resource.attributes))
        )
        for scoped in _dicts(each.get(middle)):
            scope = scoped.get("scope")
            name = scope.get("name") if isinstance(scope, dict) else ""
            items = scoped.get(inner) or []
            for item in items if isinstance(items, list) else [items]:
                yield ExportItem(
                    _message(item, kind), around, name if isinstance(name, str) else ""
                )


def _message(item: Any, kind: type[M]) -> M | RejectedItemError:
    """One message out of JSON. OTLP writes ids as hex, where protobuf's own JSON has base64."""
    if not isinstance(item, dict):
        return RejectedItemError(f"a {kind.__name__} is a JSON object, this is {str(item)[:50]!r}")
    try:
        links = [_with_ids(link) for link in _dicts(item.get("links"))]
        return ParseDict(
            _with_ids(item) | ({"links": links} if links else {}),
            kind(),
            ignore_unknown_fields=True,
        )
    except PROTOBUF_ERRORS as error:
        return RejectedItemError(
            f"{item.get('spanId', 'one without a spanId')}: {clean(str(error))[:200]}"
        )


def _with_ids(item: dict[str, Any]) -> dict[str, Any]:
    made = dict(item)
    for name in ("traceId", "spanId", "parentSpanId"):
        if isinstance(made.get(name), str):
            try:
                made[name] = base64.b64encode(bytes.fromhex(made[name])).decode()
            except ValueError as error:
                raise ValueError(
                    f"{name} should be hex digits, it is {made[name][:40]!r}"
                ) from error
    return made


def _object(body: bytes, member: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ExportError(
            400, f"the body is not JSON ({error}): check the exporter's protocol (http/json)"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get(member, []), list):
        raise ExportError(
            400, f"the body is not an export of OTLP: it should be an object with a list {member!r}"
        )
    return found


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


def values(pairs: Any, repaired: list[str] | None = None) -> dict[str, Any]:
    """Attributes as JSON values. What had to be cut is noted in `repaired`."""
    notes = [] if repaired is None else repaired
    found: dict[str, Any] = {}
    for pair in pairs:
        if len(found) == ATTRIBUTES_MAX:
            notes.append("attributes_cut")
            break
        found[pair.key] = value(pair.value, notes)
    return found


def value(given: AnyValue, repaired: list[str]) -> Any:
    kind = given.WhichOneof("value")
    if kind == "string_value":
        text = given.string_value
        if len(text) > VALUE_CHARS:
            repaired.append("texts_cut")
        return cut(text, VALUE_CHARS)
    if kind == "array_value":
        return [value(each, repaired) for each in given.array_value.values[:ATTRIBUTES_MAX]]
    if kind == "kvlist_value":
        return values(given.kvlist_value.values, repaired)
    if kind == "bytes_value":
        return base64.b64encode(given.bytes_value).decode()
    if kind == "double_value" and not math.isfinite(given.double_value):
        return str(given.double_value)
    return None if kind is None else getattr(given, kind)


def as_json(value: Any) -> str:
    return orjson.dumps(value).decode()
