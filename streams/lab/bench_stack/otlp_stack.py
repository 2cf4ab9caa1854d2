"""Measures how many spans a second the whole stack receives and stores, and what that costs.

A stack of its own gets exports at a steady rate; a refused one is sent again, as exporters do. A
span has landed when ClickHouse has its row. A stack keeps up where little is in flight when the
last export was accepted.
"""

import asyncio
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from schemas.definitions.kinds import Tenant
from sinks.http import http_client
from streams.config import Settings
from streams.definitions.folder import Company
from streams.lab.bench_engine.broker import MeasurementError
from streams.lab.bench_stack.gateway import cpu_s, services
from streams.lab.bench_stack.sample_spans import SEED, exports
from streams.lab.bench_stack.stack import running
from streams.lab.isolated_stack import resident_mb
from streams.operations.connections import rows_of
from streams.operations.deploy import apply_and_wait

TENANT = "bench"
WARM_SPANS = 20_000
WARM_SEED = SEED + 1
RATE_MOST = 10_000
"""Spans a second that are prepared for a measurement without a rate."""
AT_ONCE = 4
AGAIN_S = 0.2
SETTLED_S = 180
SPANS_S_LEAST = 3_000
LATE_S_MOST = 5.0
GREW_MOST = 0.25
"""The allowed growth of the workers' memory: they keep trace ids for some minutes."""
ENGINES = {"kafka", "registry", "clickhouse", "qdrant"}
LANDED = "SELECT count() AS spans FROM spans WHERE tenant = {tenant:String}"
Say = Callable[[str], None]


def run(home: Path, seconds: float, rate: int, say: Say) -> dict[str, Any]:
    """Spans received and landed a second, and memory and processor time of each process.

    `late_s` is the time from the last accepted export to the last row. A rate of 0 is as fast as
    possible. Raises MeasurementError.
    """
    load_before = os.getloadavg()[0]
    say("starting a stack")
    with running(home) as ours:
        apply_and_wait(ours, Company([Tenant(name=TENANT)], ()))
        sender = Sender(f"http://127.0.0.1:{ours.gateway_port}/v1/traces")
        say(f"warming up with {WARM_SPANS:,} spans")
        asyncio.run(sender.send(bodies_of(WARM_SPANS, WARM_SEED), 0))
        await_landed(ours, WARM_SPANS)
        bodies = bodies_of(int(seconds * (rate or RATE_MOST)), SEED)
        pids = services(ours)
        before = used(pids)
        held = memory(pids)
        say(f"sending for {seconds:g} s")
        began = time.monotonic()
        sent = sender.taken
        asyncio.run(sender.send(bodies, rate, seconds))
        took_s = time.monotonic() - began
        taken = sender.taken - sent
        landed = landed_of(ours) - WARM_SPANS
        say(f"{landed:,} of {taken:,} landed, waiting for the others")
        await_landed(ours, WARM_SPANS + taken)
        late_s = time.monotonic() - began - took_s
        after = used(pids)
        grown = memory(pids)
    workers = {
        name: {
            "cpu_ms_1000_spans": round((after[name] - before[name]) * 1e6 / taken, 1),
            "memory_mb": [round(held[name]), round(grown[name])],
        }
        for name in pids
    }
    return judged(
        {
            "cores": os.cpu_count(),
            "load_before": round(load_before, 1),
            "rate": rate,
            "seconds": round(took_s, 1),
            "spans": taken,
            "told_to_come_again": sender.again,
            "taken_s": round(taken / took_s),
            "landed_s": round(landed / took_s),
            "landed_whole_s": round(taken / (took_s + late_s)),
            "late_s": round(late_s, 1),
            "cpu_ms_1000_spans": round(sum(w["cpu_ms_1000_spans"] for w in workers.values()), 1),
            "workers": dict(sorted(workers.items(), key=lambda one: -one[1]["cpu_ms_1000_spans"])),
        }
    )


def judged(result: dict[str, Any]) -> dict[str, Any]:
    """The result with `memory_grew`, as a share of the beginning, and whether the target is met.

    A steady rate is sustained where the last span is a row about as soon as the first ones were.
    """
    pairs = [one["memory_mb"] for name, one in result["workers"].items() if name not in ENGINES]
    grew = sum(end for _, end in pairs) / sum(begin for begin, _ in pairs) - 1
    keeps_up = result["taken_s"] >= SPANS_S_LEAST and result["late_s"] <= LATE_S_MOST
    met = (keeps_up or result["landed_whole_s"] >= SPANS_S_LEAST) and grew <= GREW_MOST
    return result | {"memory_grew": round(grew, 2), "met": met}


class Sender:
    """An application's OTLP exporter, which sends refused exports again."""

    def __init__(self, url: str):
        self._url = url
        self.taken = 0
        self.again = 0

    async def send(self, bodies: list[tuple[bytes, int]], rate: int, seconds: float = 0) -> None:
        """Send exports at a rate of spans a second, until all are accepted or the time is over."""
        began = time.monotonic()
        waiting = iter(bodies)
        due = began

        async def one(http: httpx.AsyncClient) -> None:
            nonlocal due
            for body, spans in waiting:
                mine = due
                due = due + (spans / rate if rate else 0)
                if seconds and max(mine, time.monotonic()) > began + seconds:
                    return
                await asyncio.sleep(mine - time.monotonic())
                while not await self._is_taken(http, body):
                    self.again += 1
                    await asyncio.sleep(AGAIN_S)
                self.taken += spans

        async with http_client(AT_ONCE) as http:
            await asyncio.gather(*(one(http) for _ in range(AT_ONCE)))

    async def _is_taken(self, http: httpx.AsyncClient, body: bytes) -> bool:
        answer = await http.post(
            self._url,
            content=body,
            headers={
                "content-type": "application/x-protobuf",
                "content-encoding": "gzip",
                "weir-tenant": TENANT,
            },
        )
        if answer.status_code == 200 and not answer.content:
            return True
        if answer.status_code in (429, 502, 503, 504):
            return False
        raise MeasurementError(
            f"the gateway answered {answer.status_code} to an export: {answer.content[:200]!r}"
        )


def bodies_of(spans: int, seed: int) -> list[tuple[bytes, int]]:
    """Encoded exports, each with its number of spans."""
    return [
        (
            gzip.compress(export.SerializeToString(), 1),
            len(export.resource_spans[0].scope_spans[0].spans),
        )
        for export in exports(spans, seed)
    ]


def landed_of(settings: Settings) -> int:
    return rows_of(settings, LANDED, {"tenant": TENANT})[0]["spans"]


def await_landed(settings: Settings, spans: int) -> None:
    """Wait until so many spans are rows. Raises MeasurementError."""
    deadline = time.monotonic() + SETTLED_S
    while (landed := landed_of(settings)) < spans:
        if time.monotonic() > deadline:
            raise MeasurementError(
                f"only {landed:,} of {spans:,} spans were rows after {SETTLED_S} s: "
                "see the workers' logs"
            )
        time.sleep(0.1)
    if landed > spans:
        raise MeasurementError(
            f"{spans:,} spans were taken and {landed:,} are rows: some landed twice"
        )


def used(pids: dict[str, int]) -> dict[str, float]:
    return {name: cpu_s(pid) for name, pid in pids.items()}


def memory(pids: dict[str, int]) -> dict[str, float]:
    return {name: resident_mb(pid) or 0.0 for name, pid in pids.items()}
