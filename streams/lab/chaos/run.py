"""The chaos run: a stack of its own under load, kills at random, then an exact count."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.events.agent.runs import ToolUncertain
from schemas.events.operations import DeadLettered
from sinks.qdrant import sink
from streams import app
from streams.config import Settings
from streams.definitions.folder import Company
from streams.engine.client import OUTCOMES
from streams.lab.chaos import check, environment, kill_plan
from streams.lab.chaos.outage import stop_clickhouse
from streams.lab.chaos.step_boundaries import kill_at_boundaries
from streams.lab.isolated_stack import own_settings
from streams.operations.connections import codec_of, rows_of
from streams.operations.deploy import apply_and_wait
from streams.operations.figures import percentile

Say = Callable[[str], None]
MUST_BE_NOTHING = (
    "lost",
    "doubled",
    "out_of_order",
    "repeated_effects",
    "unbalanced",
    "unexpected",
)


@dataclass(frozen=True)
class Trouble:
    """The scenario and its settings.

    `random` kills any process, `agents` kills workers at each boundary of a run's steps, until
    `runs` requests were sent, and `clickhouse-outage` pauses ClickHouse for `minutes`. `control`
    switches one guarantee off: a negative control.
    """

    scenario: str = "random"
    kills: int = 40
    seed: int = 7
    rate_s: float = 8
    gap_s: tuple[float, float] = (1.5, 3.5)
    runs: int = 2_000
    minutes: float = 10
    control: str = ""


SCENARIOS = ("random", "agents", "clickhouse-outage")


def run(
    home: Path, trouble: Trouble, say: Say, bar: Callable[[int, str], None], keep: bool = False
) -> dict[str, Any]:
    """Run a scenario; returns the findings as the command's JSON."""
    shutil.rmtree(home, ignore_errors=True)
    settings = own_settings(home, control=trouble.control)
    say("starting a stack of its own")
    app.start(settings, lambda done, total, words: None, slots=2, script=None)
    try:
        return _under_load(settings, trouble, say, bar)
    finally:
        app.stop(settings)
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def _under_load(
    settings: Settings, trouble: Trouble, say: Say, bar: Callable[[int, str], None]
) -> dict[str, Any]:
    codec = codec_of(settings)
    outside = environment.World(trouble.seed)
    moves = kill_plan.ProgressMonitor(settings)
    apply_and_wait(settings, Company(environment.definitions(outside.url), ()))
    moves.start()
    users = environment.Users(
        settings, codec, trouble.rate_s, runs=trouble.runs if trouble.scenario == "agents" else 0
    )
    users.start()
    time.sleep(3)
    killed, more = _make(trouble, settings, users, bar)
    time.sleep(3)
    users.stop()
    say(f"{len(users.asked)} requests asked; waiting until all is quiet")
    quiet_after_s = await_quiet(settings, users)
    moves.stop()
    kill_plan.measure_resumes(killed, moves)
    return (
        report(settings, codec, users, outside, killed, trouble.control)
        | more
        | {"quiet_after_s": round(quiet_after_s, 1)}
    )


def _make(
    trouble: Trouble,
    settings: Settings,
    users: environment.Users,
    bar: Callable[[int, str], None],
) -> tuple[list[kill_plan.Kill], dict[str, Any]]:
    """Play a scenario; returns its kills and further figures."""
    if trouble.scenario == "agents":
        killed, at = kill_at_boundaries(settings, codec_of(settings), lambda: users.done, bar)
        return killed, {"boundaries": at}
    if trouble.scenario == "clickhouse-outage":
        return [], stop_clickhouse(settings, trouble.minutes, lambda: len(users.asked), bar)
    return kill_plan.kill_all(
        settings, trouble.kills, trouble.seed, trouble.gap_s, pause=trouble.kills >= 5, progress=bar
    ), {}


def await_quiet(settings: Settings, users: environment.Users, timeout_s: float = 180) -> float:
    """Wait until all outcomes are rows and no table grows; returns seconds to the last row."""
    began = time.monotonic()
    deadline = began + timeout_s
    last = -1
    since = began
    while time.monotonic() < deadline:
        try:
            rows = rows_of(
                settings,
                "SELECT (SELECT count() FROM runs) AS runs, (SELECT count() FROM spans) AS spans, "
                "(SELECT count() FROM token_usage) AS usage",
            )[0]
        except Exception:
            rows = {"runs": -1}
        total = sum(rows.values())
        if total != last:
            last = total
            since = time.monotonic()
        if rows["runs"] >= len(users.asked) and time.monotonic() - since > 6:
            break
        time.sleep(0.3)
    return since - began


def settled_log(
    settings: Settings, codec: Any, rows: check.Rows, timeout_s: float = 30
) -> check.Log:
    """All events, read again until their rows have landed, as windows may still close."""
    deadline = time.monotonic() + timeout_s
    while True:
        log = check.read_log(settings, codec)
        if time.monotonic() > deadline or all(
            ids == found.keys() for ids, found in check.landed(log, rows).values()
        ):
            return log
        time.sleep(0.5)


def report(
    settings: Settings,
    codec: Any,
    users: environment.Users,
    outside: environment.World,
    killed: list[kill_plan.Kill],
    control: str,
) -> dict[str, Any]:
    """Count everything; returns the command's JSON."""

    def rows(sql: str) -> list[dict[str, Any]]:
        return rows_of(settings, sql)

    findings = check.Findings()
    log = settled_log(settings, codec, rows)
    check.check_log(log, users.asked, findings)
    check.check_windows(log, findings)
    tables = check.check_tables(log, rows, findings)
    check.check_aggregates(rows, findings)
    check.check_effects(outside.effects, findings)
    ends = check.check_ends(log, users.asked, outside.effects, findings)
    chunks = check.chunks_of(log)
    points = sink.stored_chunks(
        settings.qdrant(), settings.qdrant_key.get_secret_value(), settings.qdrant_collection
    )
    findings.add("lost", len(chunks - points), "chunks that Qdrant does not have")
    findings.add("doubled", len(points - chunks), "chunks in Qdrant that should not be there")
    resumed = [kill.resumed_s for kill in killed if kill.resumed_s is not None]
    resume_p99_s = percentile(resumed, 0.99)
    return {
        "kills": dict(Counter(kill_plan.service_kind(kill.service) for kill in killed)),
        "requests": len(users.asked),
        **{name: findings.counts[name] for name in MUST_BE_NOTHING},
        "outcomes": {kind.__name__: len(log[kind]) for kind in OUTCOMES},
        "rows": tables,
        "points": len(points),
        "dead_letters": dict(Counter(letter.reason for letter in check.of_kind(log, DeadLettered))),
        "ends": ends,
        "uncertain": len(log[ToolUncertain]),
        "effects": dict(Counter(tool for tool, _ in outside.effects)),
        "resume_p50_s": _rounded(percentile(resumed, 0.5)),
        "resume_p99_s": _rounded(resume_p99_s),
        "resume_max_s": _rounded(max(resumed, default=None)),
        "met": {}
        if resume_p99_s is None
        else {"resume_p99_s": resume_p99_s <= kill_plan.RESUMED_S},
        "slowest": kill_plan.slowest(killed),
        "control": control,
        "found": findings.words,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
