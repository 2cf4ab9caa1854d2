"""Does everything stay exact while processes are killed at random? A stack of its own, load, kills, then the count."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.operations import DeadLettered
from sinks import qdrant
from streams import app
from streams.aside import own_settings
from streams.chaos import check, plan, world
from streams.client import OUTCOMES
from streams.commands.common import percentile
from streams.commands.reach import codec_of, rows_of
from streams.company import Company
from streams.config import Settings
from streams.deploy import apply_and_wait

Say = Callable[[str], None]
MUST_BE_NOTHING = ("lost", "doubled", "out_of_order", "repeated_effects", "unbalanced")


def run(home: Path, kills: int, seed: int, control: str, say: Say, bar: Callable[[int, str], None],
        rate_s: float = 8, gap_s: tuple[float, float] = (1.5, 3.5), keep: bool = False) -> dict[str, Any]:
    """The whole run; what it found, as the command's JSON. `control` switches one guarantee off."""
    shutil.rmtree(home, ignore_errors=True)
    settings = own_settings(home, control=control)
    say("starting a stack of its own")
    app.start(settings, lambda done, total, words: None, slots=2, script=None)
    try:
        return _under_load(settings, kills, seed, control, say, bar, rate_s, gap_s)
    finally:
        app.stop(settings)
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def _under_load(settings: Settings, kills: int, seed: int, control: str, say: Say, bar: Callable[[int, str], None],
                rate_s: float, gap_s: tuple[float, float]) -> dict[str, Any]:
    codec, outside, moves = codec_of(settings), world.World(seed), plan.Moves(settings)
    apply_and_wait(settings, Company(world.definitions(outside.url), ()))
    moves.start()
    people = world.People(settings, codec, rate_s)
    people.start()
    time.sleep(3)
    killed = plan.kill_all(settings, kills, seed, gap_s, pause=kills >= 5, progress=bar)
    time.sleep(3)
    people.stop()
    say(f"{len(people.asked)} requests asked; waiting until all is quiet")
    await_quiet(settings, people)
    moves.stop()
    plan.measure_resumes(killed, moves)
    return report(settings, codec, people, outside, killed, control)


def await_quiet(settings: Settings, people: world.People, timeout_s: float = 180) -> None:
    """Until every request has an outcome in ClickHouse and no table grows any more, or the time is up."""
    deadline, last, since = time.monotonic() + timeout_s, -1, time.monotonic()
    while time.monotonic() < deadline:
        try:
            rows = rows_of(settings, "SELECT (SELECT count() FROM runs) AS runs, (SELECT count() FROM spans) AS spans, "
                                     "(SELECT count() FROM token_usage) AS usage")[0]
        except Exception:  # noqa: BLE001 - ClickHouse may have been the last one killed: ask again
            rows = {"runs": -1}
        total = sum(rows.values())
        if total != last:
            last, since = total, time.monotonic()
        if rows["runs"] >= len(people.asked) and time.monotonic() - since > 6:
            return
        time.sleep(0.3)


def report(settings: Settings, codec: Any, people: world.People, outside: world.World, killed: list[plan.Kill],
           control: str) -> dict[str, Any]:
    """Counts everything, and says it as the command's JSON."""
    findings, log = check.Findings(), check.read_log(settings, codec)
    check.check_log(log, people.asked, findings)
    check.check_windows(log, findings)
    rows = lambda sql: rows_of(settings, sql)  # noqa: E731
    tables = check.check_tables(log, rows, findings)
    check.check_aggregates(rows, findings)
    check.check_effects(outside.effects, findings)
    chunks = check.chunks_of(log)
    points = qdrant.places(settings.qdrant(), settings.qdrant_key.get_secret_value(), settings.qdrant_collection)
    findings.add("lost", len(chunks - points), "chunks that Qdrant does not have")
    findings.add("doubled", len(points - chunks), "chunks in Qdrant that should not be there")
    resumed = [kill.resumed_s for kill in killed if kill.resumed_s is not None]
    return {
        "kills": dict(Counter(plan.service_kind(kill.service) for kill in killed)),
        "requests": len(people.asked), **{name: findings.counts[name] for name in MUST_BE_NOTHING},
        "outcomes": {kind.__name__: len(log[kind]) for kind in OUTCOMES}, "rows": tables, "points": len(points),
        "dead_letters": dict(Counter(letter.reason for _, letter in log[DeadLettered])),
        "effects": len(outside.effects),
        "resume_p50_s": _rounded(percentile(resumed, 0.5)), "resume_max_s": _rounded(max(resumed, default=None)),
        "control": control, "found": findings.words,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
