"""Measures how many spans a second one process receives over OTLP, and how many it maps.

In this process, without Kafka, ClickHouse or a socket: `take` is the gateway from a gzipped export
to the records that it would give Kafka (keys, schemas, headers), `map` is the stage from such a
record to those that it would write, with its changelog. `weir bench engine` measures the broker and
the table.
"""

import asyncio
import gzip
import os
import time
from collections.abc import Callable
from typing import Any

import httpx

from schemas.catalogue import event_classes
from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from schemas.events.tracing import SpanReceived
from schemas.wire.codec import Codec, LocalIds, headers_of
from streams.config import Settings
from streams.engine.stages.core import Core
from streams.http_app import application
from streams.lab.bench_stack.sample_spans import exports
from streams.topology import PIPELINE

BATCH = 4_000
SPANS_S_LEAST = 3_000


class MemoryLog:
    """In place of the gateway's Kafka producer: encodes events and keeps them."""

    def __init__(self) -> None:
        self.codec = Codec(LocalIds(event_classes()))
        self.records: list[tuple[bytes, bytes]] = []

    async def publish(self, *events: Event) -> None:
        for event in events:
            headers_of(event)
            self.records.append((event.partition_key().encode(), self.codec.encode(event)))

    def current_definitions(self) -> Definitions:
        return Definitions()


def run(settings: Settings, spans: int, say: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Spans a second, by the clock and by processor time."""
    load = os.getloadavg()[0]
    say(0, 3, "making exports")
    bodies = [gzip.compress(export.SerializeToString(), 1) for export in exports(spans)]
    memory = MemoryLog()
    say(1, 3, f"taking {spans:,} spans")
    took = _timed(lambda: asyncio.run(_take(settings, memory, bodies)))
    say(2, 3, f"mapping {spans:,} spans")
    mapped = _timed(lambda: _map(memory))
    if len(memory.records) != spans:
        raise RuntimeError(
            f"{spans} spans were sent and {len(memory.records)} received: the figures are invalid"
        )
    rows = [
        {"what": "take", "spans_s": round(spans / took[0]), "spans_cpu_s": round(spans / took[1])},
        {
            "what": "map",
            "spans_s": round(spans / mapped[0]),
            "spans_cpu_s": round(spans / mapped[1]),
        },
    ]
    say(3, 3, "done")
    return {
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "spans": spans,
        "exports": len(bodies),
        "bytes_a_span": round(sum(map(len, bodies)) / spans),
        "rows": rows,
        "target": f">= {SPANS_S_LEAST:,} spans/s",
        "met": all(row["spans_s"] >= SPANS_S_LEAST for row in rows),
    }


async def _take(settings: Settings, memory: MemoryLog, bodies: list[bytes]) -> None:
    app = application(settings, memory, lambda sql, parameters: [])  # type: ignore[arg-type]
    headers = {
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "weir-tenant": "bench",
    }
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=headers
    ) as http:
        for body in bodies:
            answer = await http.post("/v1/traces", content=body)
            if answer.status_code != 200 or answer.content:
                raise RuntimeError(
                    f"the gateway answered {answer.status_code}: {answer.content[:200]!r}"
                )


def _map(memory: MemoryLog) -> None:
    core = Core(tuple(step for step in PIPELINE if step.name == "map_span"))
    for nth, (key, value) in enumerate(memory.records, 1):
        for made in core.take(memory.codec.decode(SpanReceived, value, key)):
            headers_of(made)
            memory.codec.encode(made)
        if nth % BATCH == 0:
            core.changes()
    core.changes()


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    began = time.perf_counter()
    cpu = time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu
