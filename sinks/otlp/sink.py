"""The OTLP sink: sends the spans of runs to an OpenTelemetry collector.

They are made of the same events that ClickHouse holds, so the two cannot differ. A collector does
not remember what it has taken: a batch whose answer was lost is sent again, with the same ids. What
a collector refuses for good is logged and left out; what may pass later is sent again until it
does. Measurements are added up after their spans were sent.
"""

import gzip
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from schemas.events.base import Event
from schemas.events.tracing import OURS
from schemas.money import money_text
from schemas.wire.logical_types import money_from_bytes
from schemas.wire.plain_values import Plain
from sinks.base import Batch, EncodedBatch, decoded
from sinks.otlp.semconv import CALLS, SCHEMAS, attributes_of, content_events_of, core_of

log = logging.getLogger(__name__)
TIMEOUT_S = 10.0
REFUSED = (400, 422)
"""Statuses after which the same request would never be taken."""
NS_PER_MS = 1_000_000
Measure = Callable[[str, float, dict[str, str]], None]
"""`measure(name, value, attributes)`."""


@dataclass(frozen=True)
class Export:
    """Spans ready to be sent, and what they measure."""

    spans: list[Span]
    measured: list[tuple[str, float, dict[str, str]]]


class OtlpSink:
    """The sink. Sends Weir's own spans; those of other applications have their own collectors."""

    name = "otlp"
    epoch = "1"
    rows_max = 1_000

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        latest: bool = False,
        content: bool = False,
        measure: Measure | None = None,
        http: httpx.Client | None = None,
    ):
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        self._headers = {
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
            **(headers or {}),
        }
        self._latest = latest
        self._content = content
        self._measure = measure or (lambda *_: None)
        self._http = http or httpx.Client(timeout=TIMEOUT_S)

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        return {}

    def accepts_encoded(self, kind: type[Event]) -> bool:
        return False

    def prepare(self, batch: Batch | EncodedBatch) -> Export:
        """Raises ValueError for an event that is no span."""
        events = decoded(batch).fields
        ours = [fields for fields in events if fields["source"] == OURS]
        return Export(
            [self._span(fields) for fields in ours],
            [each for fields in ours for each in measurements(fields, self._latest)],
        )

    def group_of(self, kind: type[Event]) -> str:
        return kind.__name__

    def joined(self, prepared: Sequence[Export]) -> Export:
        return prepared[0]

    def write(self, prepared: Export, token: str) -> None:
        if prepared.spans:
            self._send(prepared.spans)
        for name, value, of in prepared.measured:
            self._measure(name, value, of)

    def _send(self, spans: list[Span]) -> None:
        answer = self._http.post(
            self._url, content=gzip.compress(self._request(spans), 1), headers=self._headers
        )
        if answer.status_code == 413 and len(spans) > 1:
            half = len(spans) // 2
            self._send(spans[:half])
            self._send(spans[half:])
        elif answer.status_code in (*REFUSED, 413):
            log.error(
                "%s refused %d spans for good (%d): %s",
                self._url,
                len(spans),
                answer.status_code,
                answer.text[:300],
            )
        elif not answer.is_success:
            raise ConnectionError(f"{self._url} answered {answer.status_code}: {answer.text[:300]}")
        elif answer.headers.get("content-type", "").startswith("application/x-protobuf"):
            partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
            if partial.rejected_spans:
                log.error(
                    "%s refused %d of %d spans: %s",
                    self._url,
                    partial.rejected_spans,
                    len(spans),
                    partial.error_message[:300],
                )

    def _request(self, spans: list[Span]) -> bytes:
        around = ResourceSpans(
            scope_spans=[ScopeSpans(spans=spans, schema_url=SCHEMAS[self._latest])]
        )
        around.resource.attributes.append(pair("service.name", "weir"))
        around.scope_spans[0].scope.name = "weir"
        return ExportTraceServiceRequest(resource_spans=[around]).SerializeToString()

    def _span(self, fields: Plain) -> Span:
        end_ms = fields["at"]
        failed = fields["status"] == "error"
        span = Span(
            trace_id=bytes.fromhex(fields["trace"]),
            span_id=bytes.fromhex(fields["span"]),
            parent_span_id=bytes.fromhex(fields["parent"] or ""),
            name=fields["name"],
            kind=Span.SPAN_KIND_CLIENT if fields["operation"] in CALLS else Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=fields["started_at"] * NS_PER_MS,
            end_time_unix_nano=end_ms * NS_PER_MS,
            attributes=pairs(attributes_of(fields, self._latest, self._content, dollars)),
        )
        if failed:
            span.status.CopyFrom(
                Status(code=Status.STATUS_CODE_ERROR, message=fields["error_type"])
            )
        if self._content and not self._latest:
            for name, attributes in content_events_of(fields):
                span.events.add(
                    name=name, time_unix_nano=end_ms * NS_PER_MS, attributes=pairs(attributes)
                )
        return span


def measurements(span: Plain, latest: bool) -> list[tuple[str, float, dict[str, str]]]:
    """What the conventions ask to be measured of an operation: its duration and, of a model call,
    its tokens; the newest ones also ask for the time to the first part of a streamed answer.
    """
    if span["operation"] not in (*CALLS, "execute_tool", "invoke_agent"):
        return []
    of = core_of(span, latest)
    made: list[tuple[str, float, dict[str, str]]] = [
        ("gen_ai.client.operation.duration", span["wait_ms"] / 1000, of)
    ]
    if span["operation"] in CALLS and span["response_model"]:
        made += [
            (
                "gen_ai.client.token.usage",
                span["tokens"][f"{kind}_tokens"],
                of | {"gen_ai.token.type": kind},
            )
            for kind in ("input", "output")
        ]
    if latest and span["operation"] in CALLS and span["first_token_ms"] is not None:
        made.append(
            ("gen_ai.client.operation.time_to_first_chunk", span["first_token_ms"] / 1000, of)
        )
    return made


def dollars(money: bytes) -> str:
    return money_text(money_from_bytes(money))


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [pair(name, value) for name, value in attributes.items()]


def pair(name: str, value: Any) -> KeyValue:
    return KeyValue(key=name, value=_value(value))


def _value(value: Any) -> AnyValue:
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    return (
        AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=str(value))
    )
