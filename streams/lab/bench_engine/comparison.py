"""Measures the stage worker and its peers at the same work on the same broker, one by one."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx

from streams.config import Settings
from streams.engine.stages.changelog import topic
from streams.lab.bench_engine import broker, faust_worker
from streams.lab.bench_engine.broker import MeasurementError, TopicProgress, WorkerProcess
from streams.lab.bench_engine.workload import WORKS, Work, events

OURS_A_SECOND = {"fold": 15_000, "window": 20_000}
PEER_A_SECOND = {"fold": 1_800, "window": 1_400}
QUIX_A_SECOND = {"fold": 8_000, "window": 12_000}
"""Rough rates, so that the input of each takes about as long."""
LIMIT_TIMES = 10


def measure(
    settings: Settings, name: str, seconds: float, quix: Path | None, say: Callable[[str], None]
) -> dict[str, float]:
    """Events/s of a work: `ours`, `peer` (Faust) and `quix`, and by processor time: `ours_cpu`, ….

    `ours_restore` and `peer_restore` are records/s of restoring the state. `quix` is the Python of
    the environment that has Quix Streams; without one it is not measured.
    """
    work = WORKS[name]

    def prepared(engine: str, label: str, a_second: int) -> tuple[Settings, int]:
        own = settings.model_copy(update={"prefix": f"{settings.prefix}{engine}-{name}-"})
        count = int(seconds * a_second)
        say(f"{name}: producing {count:,} events for {label}")
        broker.prepare(own, work, events(work, count))
        say(f"{name}: {label} takes {count:,} events")
        return own, count

    own, count = prepared("ours", "the stage worker", OURS_A_SECOND[name])
    figures = _ours(own, work, count, seconds)
    own, count = prepared("peer", "the Faust agent", PEER_A_SECOND[name])
    figures |= _peer(own, work, count, seconds)
    if quix is None:
        return figures
    own, count = prepared("quix", "Quix Streams", QUIX_A_SECOND[name])
    return figures | _quix(own, work, count, seconds, quix)


def _quix(
    settings: Settings, work: Work, count: int, seconds: float, python: Path
) -> dict[str, float]:
    source = settings.prefix + work.reads.topic()
    ends = TopicProgress(settings, f"quix-{work.name}")
    module = "streams.lab.bench_engine.quix_worker"
    try:
        with broker.child(settings, module, work.name, str(count), python=python) as worker:
            worker.wait_until(
                lambda: ends.committed(source) >= count,
                60 + seconds * LIMIT_TIMES,
                f"taking {count} events",
            )
            cpu_s = worker.cpu_s()
            took_s = float(_printed(worker, "took_s")[0])
    finally:
        ends.close()
    return {"quix": count / took_s, "quix_cpu": count / cpu_s}


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
        worker.wait_until(
            lambda: bool(_printed(worker, "recovered_s")), 300, "recovering the table"
        )
        recovered_s = float(_printed(worker, "recovered_s")[0])
    return {
        "peer": count / (written.last_s - written.first_s),
        "peer_cpu": count / cpu_s,
        "peer_restore": broker.span(settings, changelog).records / recovered_s,
    }


def _printed(worker: WorkerProcess, name: str) -> list[str]:
    """The figures of a name in a worker's log; a half-written line is not one yet."""
    return re.findall(rf"^{name} ([0-9.]+)\n", worker.log.read_text(), flags=re.M)


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
