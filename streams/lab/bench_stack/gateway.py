"""Measures what the gateway adds to a model's own time, and the most requests a second.

The scripted model is called directly, through the gateway, and through LiteLLM's proxy (one
worker), all in one run and by one load generator: first at a steady rate, then by a number of
connections, each with one request after the other. LiteLLM is installed on first use into an
environment of its own, in the versions of `litellm.txt`. A response through the gateway is a whole
run: admitted, screened, priced, traced, recorded.
"""

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from infra.embedded import stack
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Tenant
from schemas.definitions.prices import Price
from sinks.http import http_client
from streams.config import Settings, environment_with
from streams.definitions.folder import Company
from streams.lab import peer_environment
from streams.lab.bench_engine.broker import MeasurementError
from streams.lab.bench_stack.stack import running
from streams.lab.isolated_stack import free_block
from streams.operations.deploy import apply_and_wait
from streams.operations.figures import percentile

TENANT = "bench"
AGENT = "clerk"
MODEL = "scripted"
SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
WARM_REQUESTS = 100
REQUEST_TIMEOUT_S = 30
REQUIREMENTS = Path(__file__).with_name("litellm.txt")
PEER_READY_S = 240
PEER_OPEN = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
}
CONFIG = """model_list:
  - model_name: clerk
    litellm_params: {{model: openai/scripted, api_base: "{url}/v1", api_key: none}}
"""
log = logging.getLogger(__name__)
Say = Callable[[str], None]


def run(home: Path, seconds: float, rate: float, connections: int, say: Say) -> dict[str, Any]:
    """Measure; returns {"load_before", "rate", "connections", "seconds", "peer", "rows"}.

    A row has percentiles, `most_per_s`, and `cpu_ms`: the processor time of a request at the steady
    rate, of all processes but the model's and the load generator's (`cpu_ms_by`: of each). Unlike
    the other figures it holds on a machine that others use as well.
    """
    load_before = os.getloadavg()[0]
    rows = []
    program = peer_environment.provide(home.parent, REQUIREMENTS, say) / "bin" / "litellm"
    say("starting a stack")
    with running(home) as ours:
        scripted = f"http://127.0.0.1:{ours.services_port}"
        apply_and_wait(ours, Company(definitions(scripted), ()))
        with peer(program, scripted, home) as (litellm, process):
            targets = [
                ("model alone", scripted, {}),
                ("gateway", f"http://127.0.0.1:{ours.gateway_port}", services(ours)),
                ("LiteLLM", litellm, {"litellm": process}),
            ]
            for what, url, pids in targets:
                rows.append(
                    {"what": what}
                    | asyncio.run(
                        measure(
                            url,
                            seconds,
                            rate,
                            connections,
                            pids,
                            lambda words, what=what: say(f"{what}: {words}"),
                        )
                    )
                )
                log.info("%s", rows[-1])
    for row in rows[1:]:
        row |= {f"overhead_{name}": round(row[name] - rows[0][name], 2) for name in SHARES}
    return {
        "load_before": load_before,
        "rate": rate,
        "connections": connections,
        "seconds": seconds,
        "rows": rows,
        "peer": f"LiteLLM's proxy, one worker ({pinned()})",
    }


def services(settings: Settings) -> dict[str, int]:
    """The processes of a stack that a request uses: all but the scripted model."""
    known = stack.status(settings.home.resolve())["services"]
    return {
        name: one["pid"] for name, one in known.items() if one.get("pid") and name != "scripted"
    }


def cpu_s(pid: int) -> float:
    """Processor time of a process and its living descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(path.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {pid}
    while more := {pid for pid, (parent, _) in parents.items() if parent in family} - family:
        family |= more
    return sum(parents[one][1] for one in family if one in parents) / os.sysconf("SC_CLK_TCK")


def definitions(url: str) -> list[Definition]:
    """A tenant without a quota, an agent that asks the scripted model once."""
    model = Model(
        name=MODEL,
        provider="scripted",
        base_url=f"{url}/v1",
        upstream="scripted",
        price=Price(input=Decimal(1), output=Decimal(2)),
    )
    return [
        Tenant(
            name=TENANT, requests_per_minute=10_000_000, burst=1_000_000, concurrent_runs=100_000
        ),
        model,
        Agent(name=AGENT, prompt="Be brief.", model=MODEL),
    ]


async def measure(
    url: str, seconds: float, rate: float, connections: int, pids: dict[str, int], say: Say
) -> dict[str, Any]:
    """Milliseconds by share at a steady rate, the most requests a second, and what each cost.
    Raises MeasurementError.
    """
    async with http_client(connections + int(rate * REQUEST_TIMEOUT_S)) as http:
        load = Load(http, url)
        say("warming up")
        await load.closely(4, WARM_REQUESTS)
        say(f"{rate:g} requests a second")
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        count = int(seconds * rate)
        await load.steadily(rate, count)
        waits = load.waits
        used = {
            name: round((cpu_s(pid) - before[name]) * 1000 / count, 2) for name, pid in pids.items()
        }
        say(f"{connections} connections")
        began = time.perf_counter()
        done = await load.closely(connections, None, began + seconds)
        took = time.perf_counter() - began
    if load.failed > (count + done) / 10:
        raise MeasurementError(
            f"{load.failed} of {count + done} requests to {url} failed: {load.why}"
        )
    return {name: round(percentile(waits, share) or 0, 2) for name, share in SHARES.items()} | {
        "most_per_s": round(done / took, 1),
        "cpu_ms": round(sum(used.values()), 2),
        "cpu_ms_by": dict(sorted(used.items(), key=lambda one: -one[1])),
        "failed": load.failed,
    }


class Load:
    """Requests to one address, with their latencies and failures."""

    def __init__(self, http: httpx.AsyncClient, url: str):
        self._http = http
        self._url = f"{url}/v1/chat/completions"
        self.waits: list[float] = []
        self.failed = 0
        self.why = ""

    async def ask(self, number: int) -> None:
        """One request, answered or failed. A connection that the server had closed as idle is tried
        once more.
        """
        body = {
            "model": AGENT,
            "messages": [{"role": "user", "content": f"Say something about {number}."}],
        }
        headers = {"weir-tenant": TENANT, "authorization": "Bearer none"}
        for _ in range(2):
            try:
                answer = await self._http.post(
                    self._url, timeout=REQUEST_TIMEOUT_S, json=body, headers=headers
                )
                if answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"]:
                    return
                self.why = f"{answer.status_code}: {answer.text[:300]}"
                break
            except httpx.TransportError as error:
                self.why = f"{type(error).__name__}: {error}"
        self.failed += 1

    async def steadily(self, rate: float, count: int) -> None:
        """Milliseconds of each request, counted from when it was due: one that has to queue is not
        let off.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def one(number: int) -> None:
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self.ask(number)
            self.waits.append((loop.time() - due) * 1000)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def closely(
        self, connections: int, count: int | None, until: float = float("inf")
    ) -> int:
        """How many were asked, by connections that ask one after the other until the count or the
        time is over.
        """
        done = 0

        async def one(connection: int) -> None:
            nonlocal done
            while time.perf_counter() < until and (count is None or done < count):
                done += 1
                await self.ask(connection * 1_000_000 + done)

        await asyncio.gather(*(one(connection) for connection in range(connections)))
        return done


def pinned() -> str:
    """The peer's requirement with its version."""
    return REQUIREMENTS.read_text().splitlines()[-1]


@contextmanager
def peer(program: Path, scripted: str, home: Path) -> Iterator[tuple[str, int]]:
    """Address and process of LiteLLM's proxy in front of the scripted model."""
    port = free_block(1)
    config = home / "litellm.yaml"
    config.write_text(CONFIG.format(url=scripted))
    url = f"http://127.0.0.1:{port}"
    with (home / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                "--config",
                config,
                "--port",
                str(port),
                "--host",
                "127.0.0.1",
                "--num_workers",
                "1",
                "--telemetry",
                "False",
            ],
            stdout=log,
            stderr=log,
            cwd=home,
            env=environment_with(PEER_OPEN),
        )
        try:
            _await(url, process, home / "litellm.log")
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(30)


def _await(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + PEER_READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health/liveliness", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise MeasurementError(f"LiteLLM did not start: {log.read_text(errors='replace')[-500:]}")


def of_settings(settings: Settings) -> Path:
    """The folder of the benchmark's own stack."""
    return settings.home.resolve() / "bench-gateway"
