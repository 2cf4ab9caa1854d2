"""Spans and GenAI log records of other applications as events.

A span is taken as it is where that makes sense, corrected where it does not (`repaired` says what),
and rejected alone where it cannot be used.
"""

from datetime import datetime
from hashlib import sha256
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from processors.common.text import cut, label
from schemas.events.base import EPOCH, MILLISECOND, milliseconds
from schemas.events.tracing import SpanReceived
from streams.gateway.otlp.wire import (
    ATTRIBUTES_MAX,
    VALUE_CHARS,
    ExportItem,
    RejectedItemError,
    as_json,
    value,
    values,
)

SPAN_CHARS_MAX = 1_000_000
CLOCKS_DIFFER_MS = 5 * 60 * 1000
"""How far another clock may be ahead before its spans are moved back to now. A clock that is behind
looks like a late export, and is believed.
"""
EARLIEST_MS = 946_684_800_000
KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
DETAILS = "gen_ai.client.inference.operation.details"


def span_event(part: ExportItem, tenant: str, now: datetime, oldest: datetime) -> SpanReceived:
    """The event of a span. Raises RejectedItemError with a sentence."""
    span = _item(part)
    repaired = []
    trace = _id(span.trace_id, 16, "trace id", span)
    own = _id(span.span_id, 8, "span id", span)
    start_ms, end_ms = _times(span, repaired)
    start_ms, end_ms = _within_retention(
        own, start_ms, end_ms, milliseconds(now), milliseconds(oldest), repaired
    )
    attributes = values(span.attributes, repaired)
    if span.links:
        links = span.links[:ATTRIBUTES_MAX]
        attributes["weir.links"] = [f"{link.trace_id.hex()}/{link.span_id.hex()}" for link in links]
    if span.trace_state:
        attributes["weir.tracestate"] = span.trace_state
    if span.dropped_attributes_count or span.dropped_events_count:
        attributes["weir.dropped"] = {
            "attributes": span.dropped_attributes_count,
            "events": span.dropped_events_count,
        }
    events = [
        {
            "name": event.name,
            "at_ms": event.time_unix_nano // 1_000_000,
            "attributes": values(event.attributes, repaired),
        }
        for event in span.events[:ATTRIBUTES_MAX]
    ]
    if len(span.events) > ATTRIBUTES_MAX:
        repaired.append("events_cut")
    parent = span.parent_span_id
    return _made(
        part,
        tenant,
        now,
        trace,
        own,
        attributes,
        events,
        repaired,
        parent=parent.hex() if len(parent) == 8 and any(parent) else None,
        name=label(span.name) or "span",
        kind=KINDS[span.kind] if 0 <= span.kind < len(KINDS) else "internal",
        started_at=_moment(start_ms),
        ended_at=_moment(end_ms),
        wait_ms=end_ms - start_ms,
        status="error" if span.status.code == 2 else "ok",
        message=cut(span.status.message, VALUE_CHARS),
    )


def log_event(part: ExportItem, tenant: str, now: datetime, oldest: datetime) -> SpanReceived:
    """The event of a log record about a model call: a moment inside its span. Raises
    RejectedItemError.
    """
    record = _item(part)
    repaired = []
    attributes = values(record.attributes, repaired)
    name = record.event_name or str(attributes.get("event.name", ""))
    if not name.startswith("gen_ai."):
        raise RejectedItemError(
            "only events of GenAI are taken as logs (their names begin with gen_ai.)"
        )
    digest = sha256(
        f"{tenant}/".encode() + record.SerializeToString(deterministic=True)
    ).hexdigest()
    trace = (
        record.trace_id.hex()
        if len(record.trace_id) == 16 and any(record.trace_id)
        else digest[:32]
    )
    around = record.span_id.hex() if len(record.span_id) == 8 and any(record.span_id) else None
    at_ms = (record.time_unix_nano or record.observed_time_unix_nano) // 1_000_000
    at_ms, _ = _within_retention(
        name, at_ms, at_ms, milliseconds(now), milliseconds(oldest), repaired
    )
    body = value(record.body, repaired)
    fields = body if isinstance(body, dict) else {"content": body}
    content = {} if body is None else fields
    alone = name == DETAILS and around is None  # no span tells of this call: it counts here
    return _made(
        part,
        tenant,
        now,
        trace,
        digest[-16:],
        attributes,
        [{"name": name, "attributes": attributes | content}],
        repaired,
        parent=around,
        name=label(name),
        kind="client" if alone else "event",
        started_at=_moment(at_ms),
        ended_at=_moment(at_ms),
        wait_ms=0,
    )


def _made(
    part: ExportItem,
    tenant: str,
    now: datetime,
    trace: str,
    span: str,
    attributes: dict[str, Any],
    events: list[dict[str, Any]],
    repaired: list[str],
    **fields: Any,
) -> SpanReceived:
    texts = {
        "attributes": as_json(attributes),
        "events": as_json(events),
        "resource": part.resource,
    }
    size = sum(map(len, texts.values()))
    if size > SPAN_CHARS_MAX:
        raise RejectedItemError(
            f"{span} has {size:,} characters, more than {SPAN_CHARS_MAX:,}: record less of its "
            "content"
        )
    return SpanReceived.about(
        tenant,
        trace,
        span,
        at=now,
        tenant=tenant,
        trace=trace,
        span=span,
        scope=label(part.scope),
        repaired=label(",".join(dict.fromkeys(repaired))),
        **texts,
        **fields,
    )


def _item(part: ExportItem) -> Any:
    if isinstance(part.item, RejectedItemError):
        raise part.item
    return part.item


def _id(value: bytes, length: int, what: str, span: Span) -> str:
    if len(value) != length or not any(value):
        raise RejectedItemError(
            f"{span.span_id.hex() or label(span.name)!r}: a {what} is {length} bytes that are not "
            "all zero"
        )
    return value.hex()


def _times(span: Span, repaired: list[str]) -> tuple[int, int]:
    start_ns = span.start_time_unix_nano
    end_ns = span.end_time_unix_nano
    if not start_ns and not end_ns:
        raise RejectedItemError(f"{span.span_id.hex()} has neither start nor end")
    if not end_ns:
        repaired.append("no_end")
    elif start_ns < EARLIEST_MS * 1_000_000 <= end_ns:
        start_ns = 0
        repaired.append("no_start")
    elif end_ns < start_ns:
        repaired.append("ends_before_start")
        end_ns = start_ns
    start_ns = start_ns or end_ns
    end_ns = end_ns or start_ns
    wait_ms = (end_ns - start_ns) // 1_000_000
    return start_ns // 1_000_000, start_ns // 1_000_000 + wait_ms


def _within_retention(
    name: str, start_ms: int, end_ms: int, now_ms: int, oldest_ms: int, repaired: list[str]
) -> tuple[int, int]:
    """The times, or moved back to now as a whole: a clock that is ahead keeps its durations. Raises
    RejectedItemError for a span that is older than rows are kept.
    """
    ahead_ms = end_ms - now_ms
    if ahead_ms > CLOCKS_DIFFER_MS:
        repaired.append(f"clock_ahead_{ahead_ms // 1000}s")
        start_ms = max(start_ms - ahead_ms, EARLIEST_MS)
        end_ms = now_ms
    if end_ms < oldest_ms or start_ms < EARLIEST_MS:
        raise RejectedItemError(
            f"{name} is older than rows are kept: it ended at {_moment(end_ms).isoformat()}"
        )
    return start_ms, end_ms


def _moment(at_ms: int) -> datetime:
    return EPOCH + at_ms * MILLISECOND
