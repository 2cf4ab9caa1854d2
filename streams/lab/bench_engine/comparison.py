"""Measures the stage worker and its peers at the same work on the same broker, one by one."""

import re
from collections.abc import Callable

import httpx

from streams.config import Settings
from streams.engine.stages.changelog import topic
from streams.lab.bench_engine import broker, faust_worker
from streams.lab.bench_engine.broker import MeasurementError, TopicProgress, WorkerProcess
from streams.lab.bench_engine.workload import WORKS, Work, events

OURS_A_SECOND = {"fold": 15_000, "window": 20_000}
PEER_A_SECOND = {"fold": 1_800, "window": 1_400}
"""Rough rates, so that the input of each takes about as long."""
LIMIT_TIMES = 10


def measure(
    settings: Settings, name: str, seconds: float, say: Callable[[str], None]
) -> dict[str, float]:
    """Events/s of a work and records/s of restoring its state: `ours`, `peer`, `ours_restore`,
    `peer_restore`; events a second of the worker's own processor time: `ours_cpu`, `peer_cpu`.
    """
    work = WORKS[name]
    ours = settings.model_copy(update={"prefix": f"{settings.prefix}ours-{name}-"})
    theirs = settings.model_copy(update={"prefix": f"{settings.prefix}peer-{name}-"})
    count = int(seconds * OURS_A_SECOND[name])
    say(f"{name}: producing {count:,} events for the stage worker")
    broker.prepare(ours, work, events(work, count))
    say(f"{name}: the stage worker takes {count:,} events")
    figures = _ours(ours, work, count, seconds)
    count = int(seconds * PEER_A_SECOND[name])
    say(f"{name}: producing {count:,} events for the Faust agent")
    broker.prepare(theirs, work, events(work, count))
    say(f"{name}: the Faust agent takes {count:,} events")
    return figures | _peer(theirs, work, count, seconds)


def _ours(settings: Settings, work: Work, count: int, seconds: float) -> dict[str, float]:
    source = settings.prefix + work.reads.topic()
    ends = TopicProgress(settings, f"stage-{work.key}")
    try:
        with broker.child(settings, "streams.lab.bench_engine.weir_worker", work.name) as worker:
            worker.wait_until(
                lambda: ends.committed(source) >= count,
                60 + seconds * LIMIT_TIMES,
                f"taking {count} events",
            )
            cpu_s = worker.cpu_s()
    finally:
        ends.close()
    written = broker.span(settings, settings.prefix + work.writes.topic())
    if work.name == "fold" and written.records != count:
        raise MeasurementError(
            f"{count} events became {written.records}: the stage is not exact, see its log"
        )
    with broker.child(settings, "streams.lab.bench_engine.weir_worker", work.name) as worker:
        url = f"http://127.0.0.1:{settings.metrics_port}"
        worker.wait_until(lambda: _ready(f"{url}/readyz"), 120, "restoring the state")
        numbers = httpx.get(f"{url}/metrics").text
    changed = (
        written
        if work.name == "fold"
        else broker.span(settings, settings.prefix + topic(work.key, 0).name)
    )
    return {
        "ours": count / (changed.last_s - changed.first_s),
        "ours_cpu": count / cpu_s,
        "ours_restore": number_of(numbers, "weir_state_records_restored")
        / number_of(numbers, "weir_restore_seconds_sum"),
    }


def _peer(settings: Settings, work: Work, count: int, seconds: float) -> dict[str, float]:
    ends = TopicProgress(settings)
    changelog = faust_worker.changelog(settings, work)
    out = settings.prefix + work.writes.topic() if work.name == "fold" else changelog
    try:
        with broker.child(settings, "streams.lab.bench_engine.faust_worker", work.name) as worker:
            there = ends.topics
            worker.wait_until(
                lambda: out in there() and ends.written(out) >= count,
                60 + seconds * LIMIT_TIMES,
                f"taking {count} events",
            )
            cpu_s = worker.cpu_s()
    finally:
        ends.close()
    written = broker.span(settings, out)
    with broker.child(settings, "streams.lab.bench_engine.faust_worker", work.name) as worker:
        worker.wait_until(lambda: bool(_recovered(worker)), 300, "recovering the table")
        recovered_s = float(_recovered(worker)[0])
    return {
        "peer": count / (written.last_s - written.first_s),
        "peer_cpu": count / cpu_s,
        "peer_restore": broker.span(settings, changelog).records / recovered_s,
    }


def _recovered(worker: WorkerProcess) -> list[str]:
    """The seconds of each recovery in a worker's log; a half-written line is not one yet."""
    return re.findall(r"recovered_s ([0-9.]+)\n", worker.log.read_text())


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def number_of(text: str, name: str) -> float:
    """The sum of a metric's series in Prometheus text. Raises MeasurementError."""
    found = re.findall(rf"^{name}(?:_total)?(?:\{{[^}}]*\}})? ([0-9.e+-]+)$", text, flags=re.M)
    if not found:
        raise MeasurementError(f"the worker's /metrics has no {name}")
    return sum(map(float, found))
