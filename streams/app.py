"""What runs, in which process, on which port? The one place that wires: engines, workers, and how they begin.

An engine that the settings point at a real server is not started here. Workers wait for `deploy`, which waits for the
engines.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import clickhouse, kafka, qdrant, registry, scripted, supervisor
from infra.embedded.service import Service
from streams.config import Settings
from streams.topology import SINKS, stages

ROOT = Path(__file__).parents[1]
COMPANY = ROOT / "infra" / "company"


def engines(settings: Settings) -> list[Service]:
    """The embedded engines that the settings ask for."""
    home, made = settings.home.resolve(), []
    if not settings.kafka:
        made.append(kafka.service(home / "kafka", settings.kafka_port, jars=jars_of(settings)))
    if not settings.registry_url:
        made.append(registry.service(home / "registry", settings.registry_port, settings.bootstrap(),
                                     jars=jars_of(settings)))
    if not settings.clickhouse_url:
        made.append(Service("clickhouse", clickhouse.argv(home / "clickhouse", settings.clickhouse_port),
                            kind="clickhouse", port=settings.clickhouse_port,
                            ready={"http": settings.clickhouse() + clickhouse.READY_PATH}))
    if not settings.qdrant_url:
        made.append(Service("qdrant", qdrant.argv(home / "qdrant", settings.qdrant_port), kind="qdrant",
                            port=settings.qdrant_port, ready={"http": settings.qdrant() + qdrant.READY_PATH}))
    return made


def workers(settings: Settings, slots: int = 1) -> list[Service]:
    """The pipeline: one worker a stage and slot, call runners, a worker a sink, the live views."""
    names = [("stage", key, slot) for key in stages() for slot in range(slots)]
    names += [("calls", "", slot) for slot in range(slots)]
    names += [("landing", sink, 0) for sink in SINKS]
    names += [("live", "", 0)]
    return [worker(settings, *name, port=settings.metrics_port + place) for place, name in enumerate(names)]


def worker(settings: Settings, kind: str, what: str, slot: int, port: int) -> Service:
    name = "-".join(filter(None, (kind, what, str(slot))))
    more = [what] if what else []
    slots = [] if kind == "live" else ["--slot", str(slot)]
    argv = [sys.executable, "-m", "streams.worker", kind, *more, *slots, "--port", str(port)]
    return Service(name, argv, kind=kind, port=port, env=settings.environment() | {"WEIR_HOME": str(settings.home.resolve())},
                   cwd=str(ROOT), ready={"http": f"http://127.0.0.1:{port}/readyz"}, after=("deploy",), drain_s=15)


def deployment(settings: Settings, after: tuple[str, ...]) -> Service:
    """The one service that ends: when it has, topics, schemas and tables are there."""
    return Service("deploy", [sys.executable, "-m", "streams.cli", "deploy"], kind="deploy", once=True, after=after,
                   env=settings.environment() | {"WEIR_HOME": str(settings.home.resolve())}, cwd=str(ROOT))


def scripted_services(settings: Settings, script: Path) -> Service:
    """The scripted model and tools: they say so in every answer."""
    port = settings.services_port
    return Service("scripted", scripted.argv(script, port), kind="scripted", port=port,
                   ready={"http": f"http://127.0.0.1:{port}{scripted.READY_PATH}"}, cwd=str(ROOT))


def stack(settings: Settings, slots: int = 1, script: Path | None = COMPANY / "script.yaml") -> list[Service]:
    """All services of a stack on this machine."""
    below = engines(settings)
    beside = [scripted_services(settings, script)] if script else []
    return [*below, *beside, deployment(settings, tuple(s.name for s in below)), *workers(settings, slots)]


def jars_of(settings: Settings) -> Path:
    """Where the jars are kept: with the project, so that a `reset` and other stacks need not fetch them again."""
    return ROOT / ".weir" / "jars"


def is_up(settings: Settings) -> bool:
    return supervisor.status(settings.home.resolve()).get("running", False)


def start(settings: Settings, progress: Callable[[int, int, str], None], slots: int = 1,
          script: Path | None = COMPANY / "script.yaml", timeout_s: float = 300) -> None:
    """Starts the stack and returns when all of it is ready. Raises StackError with a sentence; nothing is left over."""
    home = settings.home.resolve()
    supervisor.start(home, stack(settings, slots, script))
    try:
        supervisor.wait_ready(home, progress, timeout_s)
    except BaseException:
        supervisor.stop(home)
        raise


@contextmanager
def running(settings: Settings, progress: Callable[[int, int, str], None]) -> Iterator[None]:
    """The stack, for the length of a block: one that is up already is used and left up."""
    if is_up(settings):
        yield
        return
    start(settings, progress)
    try:
        yield
    finally:
        supervisor.stop(settings.home.resolve())


def reset(settings: Settings) -> None:
    """Forgets all data of the embedded stack; the jars stay."""
    for folder in settings.home.resolve().iterdir() if settings.home.exists() else ():
        if folder.name != "jars":
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
