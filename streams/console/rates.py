"""Live rates of the topics, and lags of the consumers, from the workers' own metrics.

Where the stack runs on this machine its supervisor knows the workers' ports, and each is asked for
/metrics. Two readings make a rate. Elsewhere Prometheus does this, and the page shows what was
counted, minute by minute.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client.parser import text_string_to_metric_families

from infra.embedded import stack
from streams.config import Settings
from streams.console.request import PageRequestOf
from streams.engine.shapes import kinds
from streams.topology import PIPELINE

router = APIRouter(prefix="/console", include_in_schema=False)
LEAST_S = 1.0
"""The least time between two readings: less makes a random rate, and many readers share one
reading.
"""
ASKED = ("stage", "calls", "balancing")
CLASSES = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))}
ALONE = {kind.topic(): kind.__name__ for kind in CLASSES if not kind.log}
"""The class of each topic that holds one."""
Sums = dict[str, float]


class LiveRates:
    """The last reading of the workers' metrics, and its time."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = asyncio.Lock()
        self._at = 0.0
        self._before = {}
        self._told = {"rates": {}, "behind": {}}

    async def current(self) -> dict[str, Any]:
        """Events a second by name, and lags by consumer; nothing where no worker answers."""
        async with self._lock:
            if (now := time.monotonic()) - self._at < LEAST_S:
                return self._told
            pages = await self._pages()
            sums, behind = sums_of(pages)
            rates = {
                event: round(max(0.0, count - self._before[event]) / (now - self._at), 1)
                for event, count in sums.items()
                if event in self._before
            }
            self._at = now
            self._before = sums
            self._told = {"rates": rates, "behind": behind}
            return self._told

    async def _pages(self) -> list[str]:
        services = stack.status(self._settings.home.resolve())["services"]
        ports = [
            service["port"]
            for name, service in services.items()
            if name.startswith(ASKED) and service.get("port")
        ]
        async with httpx.AsyncClient(timeout=1) as http:
            answers = await asyncio.gather(
                *(http.get(f"http://127.0.0.1:{port}/metrics") for port in ports),
                return_exceptions=True,
            )
        return [
            answer.text
            for answer in answers
            if isinstance(answer, httpx.Response) and answer.status_code == 200
        ]


def sums_of(pages: Iterable[str]) -> tuple[Sums, Sums]:
    """Events of each class so far, and the lag of each consumer. Events that are written here count
    where they are written; those from outside where they are read, by the consumer that read most,
    because several may read one topic.
    """
    made: Sums = defaultdict(float)
    taken: dict[str, Sums] = defaultdict(lambda: defaultdict(float))
    behind: Sums = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                match sample.name:
                    case "weir_events_made_total":
                        made[sample.labels["event"]] += sample.value
                    case "weir_records_taken_total":
                        if event := ALONE.get(sample.labels["topic"]):
                            taken[event][sample.labels["consumer"]] += sample.value
                    case "weir_behind_records":
                        behind[sample.labels["consumer"]] = sample.value
    return {
        event: max(made.get(event, 0.0), *taken[event].values(), 0.0) for event in {*made, *taken}
    }, behind


@router.get("/live/topology")
async def topology(look: PageRequestOf, request: Request) -> JSONResponse:
    """The rates of all tenants: shown only to readers of all tenants."""
    if not look.sees_all:
        return JSONResponse({"rates": {}, "behind": {}})
    state = request.app.state
    if not hasattr(state, "rates"):
        state.rates = LiveRates(look.gateway.settings)
    return JSONResponse(await state.rates.current())
