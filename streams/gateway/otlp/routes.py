"""Takes traces and logs of other applications, by OTLP over HTTP.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8080
    OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20weir_…

Accepted means that Kafka has the spans. A span that cannot be accepted is counted and named in the
answer (partial success), and the others are accepted. An export that is sent again, because its
answer was lost, is counted once all the same.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.code_pb2 import INVALID_ARGUMENT, UNAVAILABLE
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from processors.common.text import clean
from schemas.events.tracing import SpanReceived
from streams.engine.client import now
from streams.gateway.auth import Caller, TelemetrySender
from streams.gateway.context import Gateway, GatewayOf
from streams.gateway.errors import ProblemError, media_type
from streams.gateway.limits import EXPORT_BYTES_MAX
from streams.gateway.openapi import PROBLEMS
from streams.gateway.otlp.spans import log_event, span_event
from streams.gateway.otlp.wire import (
    ExportError,
    ExportItem,
    RejectedItemError,
    decompressed,
    logs_of,
    spans_of,
    too_large,
)

router = APIRouter(tags=["telemetry"])
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
AT_ONCE = 500
"""Spans read and published before other requests have their turn."""
REASONS_MAX = 100
NAMED = 3
"""How many reasons are counted, and how many an answer names."""
BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {
                "schema": {"type": "string", "format": "binary"}
                if kind == PROTOBUF
                else {"type": "object"}
            }
            for kind in (PROTOBUF, JSON)
        },
    }
}
BYTES = {"schema": {"type": "string", "format": "binary"}}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Taken, or taken in part: what was not is counted and named",
        "content": {
            PROTOBUF: BYTES,
            JSON: {
                "schema": {"type": "object"},
                "example": {
                    "partialSuccess": {
                        "rejectedSpans": "1",
                        "errorMessage": "1 of 512 were not taken: 00f067aa0ba902b7 has neither "
                        "start nor end",
                    }
                },
            },
        },
    },
    **{
        status: PROBLEMS[status]
        | {
            "content": PROBLEMS[status]["content"]
            | {
                PROTOBUF: BYTES,
                JSON: {
                    "schema": {"type": "object", "description": "google.rpc.Status, as OTLP asks"}
                },
            }
        }
        for status in ("4XX", "503")
    },
}
Read = Callable[[ExportItem, str, datetime, datetime], SpanReceived]


@router.post(
    "/v1/traces",
    summary="Take spans of another application (OTLP)",
    openapi_extra=BODIES,
    responses=ANSWERS,
)
async def traces(request: Request, gateway: GatewayOf, caller: TelemetrySender) -> Response:
    done = await _answered(request, gateway, caller, "traces", spans_of, span_event)
    if isinstance(done, Response):
        return done
    count, words = done
    partial = ExportTracePartialSuccess(rejected_spans=count, error_message=words)
    return _response(
        ExportTraceServiceResponse(partial_success=partial)
        if count
        else ExportTraceServiceResponse(),
        200,
        _is_json(request),
    )


@router.post(
    "/v1/logs",
    summary="Take GenAI events of another application (OTLP)",
    openapi_extra=BODIES,
    responses=ANSWERS,
)
async def logs(request: Request, gateway: GatewayOf, caller: TelemetrySender) -> Response:
    done = await _answered(request, gateway, caller, "logs", logs_of, log_event)
    if isinstance(done, Response):
        return done
    count, words = done
    partial = ExportLogsPartialSuccess(rejected_log_records=count, error_message=words)
    return _response(
        ExportLogsServiceResponse(partial_success=partial)
        if count
        else ExportLogsServiceResponse(),
        200,
        _is_json(request),
    )


async def _answered(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    signal: str,
    parts_of: Callable[[bytes, bool], Any],
    read: Read,
) -> Response | tuple[int, str]:
    """How many items were rejected and why; or the response where nothing was accepted."""
    as_json = _is_json(request)
    packing = request.headers.get("content-encoding", "").strip().lower()
    try:
        with gateway.bodies.reserve(_size(request)):
            body = await request.body()
            text = await asyncio.to_thread(decompressed, body, packing)
            with gateway.bodies.reserve(len(text) if packing else 0):
                parts = await asyncio.to_thread(parts_of, text, as_json)
                return await _taken(gateway, caller.tenant, signal, parts, read)
    except ExportError as error:
        return _response(Status(code=INVALID_ARGUMENT, message=str(error)), error.status, as_json)
    except ProblemError as problem:
        wait_s = str(max(1, round(problem.retry_after_s or 1)))
        return _response(
            Status(code=UNAVAILABLE, message=problem.detail), problem.status, as_json, wait_s
        )


def _size(request: Request) -> int:
    """The length of the body, or its upper bound. Raises ExportError."""
    kind = media_type(request)
    if kind not in (PROTOBUF, JSON):
        raise ExportError(
            415, f"Content-Type {kind!r} is not known here: send {PROTOBUF} or {JSON}"
        )
    said = request.headers.get("content-length", "")
    size = int(said) if said.isdigit() else EXPORT_BYTES_MAX
    if size > EXPORT_BYTES_MAX:
        raise too_large()
    return size


async def _taken(
    gateway: Gateway, tenant: str, signal: str, parts: Iterable[ExportItem], read: Read
) -> tuple[int, str]:
    """Publishes all items that can be accepted. Returns how many cannot, and why."""
    at = now()
    oldest = at - timedelta(days=gateway.settings.retention_days)
    taken = 0
    rejected = 0
    why = {}
    events = []

    async def publish() -> None:
        nonlocal taken
        if events:
            await gateway.publish(*events)
        taken += len(events)
        events.clear()
        await asyncio.sleep(0)

    for nth, part in enumerate(parts, 1):
        try:
            events.append(read(part, tenant, at, oldest))
        except RejectedItemError as error:
            rejected += 1
            if len(why) < REASONS_MAX:
                why.setdefault(str(error), None)
        if nth % AT_ONCE == 0:
            await publish()
    await publish()
    gateway.metrics.count("weir_otlp_items", taken, signal=signal, outcome="taken")
    if not rejected:
        return 0, ""
    gateway.metrics.count("weir_otlp_items", rejected, signal=signal, outcome="rejected")
    more = f"; and {len(why) - NAMED} other reasons" if len(why) > NAMED else ""
    return rejected, clean(
        f"{rejected} of {rejected + taken} were not taken: {'; '.join(list(why)[:NAMED])}{more}"
    )


def _is_json(request: Request) -> bool:
    return media_type(request) == JSON


def _response(message: Message, status: int, as_json: bool, retry_after_s: str = "") -> Response:
    """A response in the encoding of the export, as OTLP asks."""
    content = MessageToJson(message, indent=None) if as_json else message.SerializeToString()
    headers = {"Retry-After": retry_after_s} if retry_after_s else {}
    return Response(content, status, headers, JSON if as_json else PROTOBUF)
