"""The composition of a stack: engines, workers and their ports, and how they start.

An engine that the settings point at a real server is not started here. Workers wait for `deploy`,
which waits for the engines.
"""

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx

from infra.embedded import kafka, registry
from infra.embedded import stack as embedded
from infra.embedded.clickhouse import server
from infra.embedded.java import training
from infra.embedded.qdrant import server as qdrant
from infra.embedded.scripted import server as scripted
from infra.embedded.service import Service, StackError
from sinks.spec import sink_specs
from streams.config import Settings
from streams.engine.shapes import stages
from streams.topology import PIPELINE

ROOT = Path(__file__).parents[1]
COMPANY = ROOT / "infra" / "company"
PRELOAD = (
    "streams.worker",
    "streams.engine.stages.worker",
    "streams.engine.calls.worker",
    "streams.ports.wiring",
    "streams.engine.sinks.worker",
    "cel",
)
"""What workers need and may be loaded before they are forked: nothing here starts a thread when it
is loaded. `cel` is loaded by the first workflow of a process: after a crash that was a second or
two on a busy machine.
"""
Progress = Callable[[int, int, str], None]


def engines(settings: Settings, progress: Progress) -> list[Service]:
    """The embedded engines that the settings ask for; what they need is fetched on first use."""
    home = settings.home.resolve()
    jars = ROOT / ".weir" / "jars"
    made = []
    if not settings.kafka:
        made.append(
            kafka.service(
                home,
                settings.kafka_port,
                jar_home=jars,
                progress=lambda done, total: progress(done, total, "fetching Kafka"),
            )
        )
    if not settings.registry_url:
        made.append(
            registry.service(
                home,
                settings.registry_port,
                settings.bootstrap(),
                jar_home=jars,
                progress=lambda done, total: progress(done, total, "fetching the registry"),
            )
        )
    if not settings.clickhouse_url:
        made.append(engine("clickhouse", server, home, settings.clickhouse_port))
    if not settings.qdrant_url:
        made.append(engine("qdrant", qdrant, home, settings.qdrant_port))
    return made


def engine(name: str, module: ModuleType, home: Path, port: int) -> Service:
    """One of the engines that run in a Python process, behind their real protocol."""
    return Service(
        name,
        tuple(module.argv(home / name, port)),
        name,
        cwd=str(ROOT),
        ports=(port,),
        ready={"http": f"http://127.0.0.1:{port}{module.READY_PATH}"},
    )


def workers(settings: Settings, slots: int = 1) -> list[Service]:
    """The pipeline: one worker a stage and slot, call runners, a worker a sink, the live views, the
    gateway, who balances.
    """
    names = [("stage", key, slot) for key in stages(PIPELINE) for slot in range(slots)]
    names += [("calls", "", slot) for slot in range(slots)]
    names += [("sink", spec.name, 0) for spec in sink_specs().values() if spec.enabled(settings)]
    names += [("live", "", 0), ("gateway", "", 0), ("balancing", "", 0)]
    return [
        worker(settings, *name, port=settings.metrics_port + place)
        for place, name in enumerate(names)
    ]


def worker(settings: Settings, kind: str, what: str, slot: int, port: int) -> Service:
    name = "-".join(filter(None, (kind, what, str(slot))))
    more = [what] if what else []
    slots = [] if kind in ("live", "gateway", "balancing") else ["--slot", str(slot)]
    argv = (sys.executable, "-m", "streams.worker", kind, *more, *slots, "--port", str(port))
    ports = (port, settings.gateway_port) if kind == "gateway" else (port,)
    return Service(
        name,
        argv,
        kind,
        env=environment(settings),
        cwd=str(ROOT),
        ports=ports,
        after=("deploy",),
        ready={"http": f"http://127.0.0.1:{port}/readyz"},
        drain_s=15,
        entry="streams.worker:main",
        preload=PRELOAD,
    )


def environment(settings: Settings) -> dict[str, str]:
    """What a child process needs to have the same settings, wherever it runs."""
    return settings.environment() | {"WEIR_HOME": str(settings.home.resolve())}


def deployment(settings: Settings, after: tuple[str, ...]) -> Service:
    """The one service that ends: when it has, topics, schemas and tables are there."""
    return Service(
        "deploy",
        (sys.executable, "-m", "streams.cli.main", "deploy"),
        "deploy",
        once=True,
        after=after,
        env=environment(settings),
        cwd=str(ROOT),
    )


def scripted_services(settings: Settings, script: Path) -> Service:
    """The scripted model and tools: they say so in every answer."""
    port = settings.services_port
    return Service(
        "scripted",
        tuple(scripted.argv(script, port)),
        "scripted",
        cwd=str(ROOT),
        ports=(port,),
        ready={"http": f"http://127.0.0.1:{port}{scripted.READY_PATH}"},
    )


def stack(
    settings: Settings, progress: Progress, slots: int = 1, script: Path | None = None
) -> list[Service]:
    """All services of a stack on this machine."""
    below = engines(settings, progress)
    beside = [scripted_services(settings, script)] if script else []
    return [
        *below,
        *beside,
        deployment(settings, tuple(s.name for s in below)),
        *workers(settings, slots),
    ]


def background(settings: Settings) -> list[Service]:
    """What a stack that somebody keeps up does when it is quiet."""
    if settings.kafka or settings.registry_url:
        return []
    made = training.service(ROOT / ".weir" / "jars", settings.home)
    return [made] if made else []


def is_up(settings: Settings) -> bool:
    return embedded.running(settings.home.resolve())


def start(
    settings: Settings,
    progress: Progress,
    slots: int = 1,
    script: Path | None = COMPANY / "script.yaml",
    timeout_s: float = 300,
    train: bool = False,
) -> None:
    """Starts the stack and returns when all of it is ready. Raises StackError with a sentence;
    nothing is left over. With `train` the caches of its JVMs are made in the background where they
    are missing.

    `progress(done, total, words)` is told of every service that becomes ready.
    """
    home = settings.home.resolve()
    services = stack(settings, progress, slots, script)
    embedded.start(home, [*services, *(background(settings) if train else [])])

    def told(known: dict) -> None:
        waited = [name for name, one in known["services"].items() if one["state"] != "ready"]
        progress(
            len(services) - len(waited),
            len(services),
            "waiting for " + ", ".join(waited[:3]) if waited else "ready",
        )

    try:
        embedded.wait_ready(home, told, timeout_s)
    except BaseException:
        embedded.stop(home)
        raise


def stop(settings: Settings) -> None:
    embedded.stop(settings.home.resolve())


@contextmanager
def running(settings: Settings, progress: Progress) -> Iterator[None]:
    """The stack, for the length of a block: one that is up already is used and left up."""
    if is_up(settings):
        yield
        return
    start(settings, progress)
    try:
        yield
    finally:
        stop(settings)


def await_definitions(settings: Settings, wanted: int, timeout_s: float = 30) -> None:
    """Returns when every worker that uses definitions has read that many of them. Raises
    StackError.
    """
    deadline = time.monotonic() + timeout_s
    late = [
        name
        for name in embedded.status(settings.home.resolve())["services"]
        if name.startswith(("stage", "calls", "gateway"))
    ]
    while late:
        known = embedded.status(settings.home.resolve())["services"]
        late = [name for name in late if definitions_of(known[name]["port"]) < wanted]
        if late and time.monotonic() > deadline:
            raise StackError(
                f"{', '.join(late)} did not read the definitions within {timeout_s:.0f} s: see "
                ".weir/log"
            )
        time.sleep(0.02)


def definitions_of(port: int) -> int:
    """How many definitions the worker behind this port has read; -1 where it does not answer."""
    try:
        numbers = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
    except httpx.HTTPError:
        return -1
    found = re.search(r"^weir_definitions (\d+)", numbers, re.M)
    return int(found[1]) if found else -1


def reset(settings: Settings) -> None:
    """Delete all data of the embedded stack; downloads (jars, benchmarks' peers) stay."""
    for folder in settings.home.resolve().iterdir() if settings.home.exists() else ():
        if folder.name not in ("jars", "peers"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
