"""Shared by the tests of OTLP: exports to send, and the gateway on a port of its own."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NOW_NS = time.time_ns()
HOUR_NS = 3_600 * 10**9
TRACE = bytes(range(16))
SPAN = bytes(range(1, 9))
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}


def export(*spans: dict, service: str = "shop") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    around = request.resource_spans.add()
    around.resource.attributes.add(key="service.name").value.string_value = service
    scope = around.scope_spans.add()
    scope.scope.name = "acme.llm"
    for nth, fields in enumerate(spans, 1):
        attributes = fields.pop("attributes", {})
        span = scope.spans.add(
            **(
                {
                    "trace_id": TRACE,
                    "span_id": nth.to_bytes(8, "big"),
                    "name": f"span {nth}",
                    "kind": 3,
                    "start_time_unix_nano": NOW_NS - 2_000_000_000,
                    "end_time_unix_nano": NOW_NS,
                }
                | fields
            )
        )
        attach(span, attributes)
    return request


def attach(item: Message, attributes: dict[str, str | int]) -> None:
    for key, value in attributes.items():
        setattr(
            item.attributes.add(key=key).value,
            "int_value" if isinstance(value, int) else "string_value",
            value,
        )


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """The app on a free port, by uvicorn, as the gateway runs."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
