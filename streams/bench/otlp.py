"""How many spans of other applications does one process take, and how many does one process make into rows' events?

In this process, without Kafka, ClickHouse or a socket: `take` is the edge from a gzipped export to the records that it
would give Kafka (keys, schemas, headers), `map` is the stage from such a record to those that it would write, with its
changelog. Beside them stand the broker's and the table's own figures (`weir bench engine`).
"""

import asyncio
import gzip
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from schemas.base import Event, event_classes
from schemas.codec import Codec, LocalIds, headers_of
from schemas.registry import Definitions
from schemas.tracing import SpanReceived
from streams.config import Settings
from streams.edge.app import application
from streams.stages.core import Core
from streams.topology import PIPELINE

SEED = 7
TRACE_SPANS = 10
EXPORT_SPANS = 512
BATCH = 4_000
WORDS, TEXT_WORDS = [f"word{n:x}" for n in range(4_096)], 60
SPANS_S_LEAST = 3_000
NS = 1_000_000_000


class Memory:
    """Kafka's place: what the edge gives it is encoded as it would be, and kept."""

    def __init__(self) -> None:
        self.codec, self.records = Codec(LocalIds(event_classes())), []

    async def publish(self, *events: Event) -> None:
        for event in events:
            headers_of(event)
            self.records.append((event.partition_key().encode(), self.codec.encode(event)))

    def given(self) -> Definitions:
        return Definitions()


def run(settings: Settings, spans: int, say: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Spans a second, by the clock and by processor time."""
    load = os.getloadavg()[0]
    say(0, 3, "making exports")
    bodies = [gzip.compress(export.SerializeToString(), 1) for export in exports(spans)]
    memory = Memory()
    say(1, 3, f"taking {spans:,} spans")
    took = _timed(lambda: asyncio.run(_take(settings, memory, bodies)))
    say(2, 3, f"mapping {spans:,} spans")
    mapped = _timed(lambda: _map(memory))
    if len(memory.records) != spans:
        raise RuntimeError(f"{spans} spans were sent and {len(memory.records)} taken: something else was measured")
    rows = [{"what": "take", "spans_s": round(spans / took[0]), "spans_cpu_s": round(spans / took[1])},
            {"what": "map", "spans_s": round(spans / mapped[0]), "spans_cpu_s": round(spans / mapped[1])}]
    say(3, 3, "done")
    return {"cores": os.cpu_count(), "load_before": round(load, 1), "spans": spans, "exports": len(bodies),
            "bytes_a_span": round(sum(map(len, bodies)) / spans), "rows": rows,
            "target": f">= {SPANS_S_LEAST:,} spans/s", "met": all(row["spans_s"] >= SPANS_S_LEAST for row in rows)}


async def _take(settings: Settings, memory: Memory, bodies: list[bytes]) -> None:
    app = application(settings, memory, lambda sql, parameters: [])  # type: ignore[arg-type]
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "weir-tenant": "bench"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge", headers=headers) as http:
        for body in bodies:
            answer = await http.post("/v1/traces", content=body)
            if answer.status_code != 200 or answer.content:
                raise RuntimeError(f"the edge answered {answer.status_code}: {answer.content[:200]!r}")


def _map(memory: Memory) -> None:
    core = Core(tuple(step for step in PIPELINE if step.name == "map_span"))
    for nth, (key, value) in enumerate(memory.records, 1):
        for made in core.take(memory.codec.decode(SpanReceived, value, key)):
            headers_of(made)
            memory.codec.encode(made)
        if nth % BATCH == 0:
            core.changes()
    core.changes()


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def exports(spans: int) -> Iterator[ExportTraceServiceRequest]:
    """Exports of so many spans in all: an agent, its calls of a model with their messages, its tools, its HTTP calls."""
    dice, now_ns, left = random.Random(SEED), time.time_ns() - 60 * NS, spans
    trace = b""
    while left:
        request = ExportTraceServiceRequest()
        around = request.resource_spans.add()
        for name, value in (("service.name", "shop"), ("telemetry.sdk.language", "python"), ("host.name", "web-1")):
            around.resource.attributes.add(key=name).value.string_value = value
        scope = around.scope_spans.add()
        scope.scope.name = "acme.llm"
        for _ in range(min(EXPORT_SPANS, left)):
            trace = dice.randbytes(16) if left % TRACE_SPANS == 0 or not trace else trace
            _fill(scope.spans.add(trace_id=trace, span_id=dice.randbytes(8), parent_span_id=trace[:8], kind=3,
                                  start_time_unix_nano=now_ns, end_time_unix_nano=now_ns + NS), left, dice)
            left -= 1
        yield request


def _fill(span: Span, nth: int, dice: random.Random) -> None:
    what = ("chat", "chat", "execute_tool", "http", "chat")[nth % 5]
    span.name = {"chat": "chat gpt-4o-mini", "execute_tool": "execute_tool lookup", "http": "GET"}[what]
    attributes: dict[str, Any] = {"server.address": "api.openai.com", "server.port": 443, "thread.id": nth % 8}
    if what == "http":
        attributes |= {"http.request.method": "GET", "http.response.status_code": 200, "url.path": "/orders/A-1001"}
    else:
        attributes |= {"gen_ai.operation.name": what, "gen_ai.conversation.id": f"chat-{nth // 50}",
                       "user.id": f"u-{nth % 99}"}
    if what == "execute_tool":
        attributes |= {"gen_ai.tool.name": "lookup", "gen_ai.tool.call.arguments": '{"order":"A-1001"}'}
    elif what == "chat":
        said = [{"role": "user", "parts": [{"type": "text", "content": " ".join(dice.choices(WORDS, k=TEXT_WORDS))}]}]
        attributes |= {
            "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.request.seed": 7,
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18", "gen_ai.response.id": f"r-{nth}",
            "gen_ai.usage.input_tokens": dice.randrange(4_000), "gen_ai.usage.output_tokens": dice.randrange(500),
            "gen_ai.input.messages": json.dumps(said), "gen_ai.output.messages": json.dumps(said)}
    for name, value in attributes.items():
        setattr(span.attributes.add(key=name).value, "int_value" if isinstance(value, int) else "string_value", value)
