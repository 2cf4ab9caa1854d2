"""The engine benchmark: figures, their targets, and peers at the same work on the same broker.

Every figure is measured in this run, on this machine. Rates `by processor` divide by the worker's
processor time instead of by the clock: they hold on a machine that others use as well.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from streams.config import Settings
from streams.lab import peer_environment
from streams.lab.bench_engine import broker, comparison, sink

Progress = Callable[[int, int, str], None]
QUIX = Path(__file__).with_name("quix.txt")
WHOLE = (
    "result_p50",
    "result_p99",
    "queryable_p99",
    "resume_p50",
    "resume_max",
    "resident",
    "ready",
)


@dataclass(frozen=True)
class Figure:
    """A measurement, and that of Faust and of Quix Streams at the same work."""

    ours: float
    peer: float | None = None
    quix: float | None = None


@dataclass(frozen=True)
class Target:
    """The target of a row: `least`, `most`, `times` Faust's, `times_quix` Quix's."""

    name: str
    words: str
    unit: str
    least: float | None = None
    most: float | None = None
    times: float | None = None
    times_quix: float | None = None

    def text(self) -> str:
        limits = (
            ("≥ {:,g}", self.least),
            ("≤ {:,g}", self.most),
            ("≥ {:g} × Faust", self.times),
            ("≥ {:g} × Quix", self.times_quix),
        )
        return " and ".join(text.format(value) for text, value in limits if value is not None)

    def met(self, ours: float, ratio: float | None, quix_ratio: float | None = None) -> bool | None:
        """Whether the target is met; None where there is none."""
        if not self.text():
            return None
        return (
            (self.least is None or ours >= self.least)
            and (self.most is None or ours <= self.most)
            and (self.times is None or (ratio or 0) >= self.times)
            and (self.times_quix is None or (quix_ratio or 0) >= self.times_quix)
        )


TARGETS = {
    target.name: target
    for target in (
        Target(
            "fold",
            "fold, 16 fields, exactly once (Faust: at least once)",
            "events/s",
            least=12_000,
            times=5,
            times_quix=1.5,
        ),
        Target("fold_cpu", "the same by processor", "events/cpu-s"),
        Target(
            "window",
            "tumbling window with changelog",
            "events/s",
            least=15_000,
            times=8,
            times_quix=2,
        ),
        Target("window_cpu", "the same by processor", "events/cpu-s"),
        Target("restore", "restore of a stage's state", "records/s", least=100_000),
        Target("sink", "decode to row in ClickHouse", "rows/s", least=50_000),
        Target("sink_cpu", "the same by processor", "rows/cpu-s"),
        Target("result_p50", "request to result, p50", "ms", most=60),
        Target("result_p99", "request to result, p99", "ms", most=250),
        Target("queryable_p99", "event to queryable, p99", "s", most=5),
        Target("resume_p50", "killed to moving again, p50", "s", most=2),
        Target("resume_max", "killed to moving again, worst", "s", most=10),
        Target("resident", "whole stack, resident", "GB", most=3.5),
        Target("ready", "whole stack, ready, warm", "s", most=25),
    )
}
PARTS = {
    "beside": ("fold", "fold_cpu", "restore", "window", "window_cpu"),
    "sink": ("sink", "sink_cpu"),
    "whole": WHOLE,
}


def run(
    settings: Settings, seconds: float, progress: Progress, only: list[str] | None = None
) -> dict[str, Any]:
    """Measure and return {"cores", "load_before", "seconds", "rows"}, a `Row` each.

    `only` names rows or parts (beside, sink, whole); `seconds` is about how long each
    measurement takes. Raises MeasurementError, SystemExit or StackError.
    """
    wanted = chosen(only or [])
    measured = 0
    total = len(wanted)
    load_before = os.getloadavg()[0]

    def say(words: str) -> None:
        progress(measured, total, words)

    figures: dict[str, Figure] = {}
    for part in (_beside, _sink, _whole):
        figures |= part(settings, seconds, wanted, say)
        measured = len(figures.keys() & wanted)
    progress(total, total, "done")
    return {
        "cores": os.cpu_count(),
        "load_before": round(load_before, 2),
        "seconds": seconds,
        "rows": [
            asdict(row_of(TARGETS[name], figures[name])) for name in TARGETS if name in wanted
        ],
    }


def chosen(only: list[str]) -> set[str]:
    """The names of the rows to measure. Raises SystemExit for an unknown name."""
    unknown = [name for name in only if name not in TARGETS and name not in PARTS]
    if unknown:
        raise SystemExit(
            f"there is no row {', '.join(unknown)}: there are {', '.join((*PARTS, *TARGETS))}"
        )
    return {row for name in only for row in PARTS.get(name, (name,))} if only else set(TARGETS)


def _home(settings: Settings, name: str) -> Path:
    return settings.home.resolve() / f"bench-{name}"


def _beside(
    settings: Settings, seconds: float, wanted: set[str], say: Callable[[str], None]
) -> dict:
    works = [
        name
        for name in ("fold", "window")
        if wanted & {name, f"{name}_cpu"} or (name == "fold" and "restore" in wanted)
    ]
    found: dict[str, Figure] = {}
    if not works:
        return found
    environment = peer_environment.provide(settings.home.resolve(), QUIX, say, with_weir=True)
    quix = environment / "bin" / "python"
    with broker.own_engines(settings, _home(settings, "beside")) as ours:
        for name in works:
            figures = comparison.measure(ours, name, seconds, quix, say)
            found[name] = Figure(figures["ours"], figures["peer"], figures["quix"])
            found[f"{name}_cpu"] = Figure(
                figures["ours_cpu"], figures["peer_cpu"], figures["quix_cpu"]
            )
            if name == "fold":
                found["restore"] = Figure(figures["ours_restore"], figures["peer_restore"])
    return found


def _sink(settings: Settings, seconds: float, wanted: set[str], say: Callable[[str], None]) -> dict:
    if not wanted & {*PARTS["sink"]}:
        return {}
    figures = sink.measure(settings, _home(settings, "sink"), seconds, say)
    return {name: Figure(value) for name, value in figures.items()}


def _whole(
    settings: Settings, seconds: float, wanted: set[str], say: Callable[[str], None]
) -> dict:
    if not wanted & {*WHOLE}:
        return {}
    from streams.lab.bench_stack import stack

    kills = stack.KILLS if wanted & {"resume_p50", "resume_max"} else 0
    figures = stack.measure(_home(settings, "whole"), seconds, say, kills)
    return {name.rsplit("_", 1)[0]: Figure(value) for name, value in figures.items()}


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    name: str
    what: str
    unit: str
    ours: float
    peer: float | None
    ratio: float | None
    quix: float | None
    quix_ratio: float | None
    target: str
    met: bool | None


def row_of(target: Target, figure: Figure) -> Row:
    ratio = figure.ours / figure.peer if figure.peer else None
    quix_ratio = figure.ours / figure.quix if figure.quix else None
    return Row(
        name=target.name,
        what=target.words,
        unit=target.unit,
        ours=_short(figure.ours),
        peer=None if figure.peer is None else _short(figure.peer),
        ratio=None if ratio is None else round(ratio, 1),
        quix=None if figure.quix is None else _short(figure.quix),
        quix_ratio=None if quix_ratio is None else round(quix_ratio, 1),
        target=target.text(),
        met=target.met(figure.ours, ratio, quix_ratio),
    )


def _short(value: float) -> float:
    return round(value) if value >= 100 else round(value, 2)


def table(result: dict[str, Any]) -> Table:
    """The result as a table for the terminal."""
    made = Table(
        title=f"{result['cores']} cores, load {result['load_before']} before it began",
        title_justify="left",
        show_edge=False,
        header_style="bold",
    )
    for name in ("what", "ours", "Faust", "ratio", "Quix", "ratio", "unit", "target", "met"):
        right = name in ("ours", "Faust", "ratio", "Quix")
        made.add_column(name, justify="right" if right else "left")
    for row in result["rows"]:
        numbers = (row[name] for name in ("ours", "peer", "ratio", "quix", "quix_ratio"))
        made.add_row(
            row["what"],
            *("" if number is None else f"{number:,}" for number in numbers),
            row["unit"],
            row["target"],
            {True: "yes", False: "NO", None: ""}[row["met"]],
        )
    return made
