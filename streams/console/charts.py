"""Charts as SVG, without a script.

Colours come from the page's style sheet (classes s0 to s7), so a chart is right in light and in
dark mode. Every chart has a title and a summary for screen readers; the numbers are in a table
below it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape

WIDTH = 720
HEIGHT = 230
LEFT = 58
BOTTOM = 24
TOP = 10
SERIES_MAX = 8
BAR_MAX = 60
TICKS = 6
OTHERS = "others"
COLOURS = {
    "completed": 0,
    "refused": 1,
    "blocked": 4,
    "failed": 3,
    "stopped": 6,
    "cancelled": 7,
    "p50": 0,
    "p95": 1,
}
"""What means the same on every page has one colour; other series take the rest, the largest first.
"""


@dataclass(frozen=True)
class Chart:
    """Rows of (time, series, value). `stacked` draws bars that add up, else lines. Where `until` is
    given, the axis goes from `since` to it in steps of `step`, and a time without values is a gap;
    else it has the rows' times.
    """

    title: str
    rows: Sequence[tuple[datetime, str, float]]
    unit: str = ""
    stacked: bool = True
    since: datetime | None = None
    until: datetime | None = None
    step: timedelta = timedelta(minutes=1)

    @property
    def names(self) -> list[str]:
        """The series with the largest sums first; those beyond the eighth are one series."""
        sums: dict[str, float] = {}
        for _, name, value in self.rows:
            sums[name] = sums.get(name, 0) + value
        ordered = sorted(sums, key=lambda name: -sums[name] if self.stacked else sums[name])
        return ordered if len(ordered) <= SERIES_MAX else [*ordered[: SERIES_MAX - 1], OTHERS]

    @property
    def colours(self) -> dict[str, int]:
        names = self.names
        free = iter(
            [
                *(n for n in range(SERIES_MAX) if n not in {COLOURS.get(name) for name in names}),
                *range(SERIES_MAX),
            ]
        )
        return {name: COLOURS[name] if name in COLOURS else next(free) for name in names}

    def moments(self) -> list[datetime]:
        found = {_utc(at) for at, _, _ in self.rows}
        if self.since and self.until:
            step = self.step.total_seconds()
            first, last = (int(_utc(at).timestamp() // step) for at in (self.since, self.until))
            found |= {datetime.fromtimestamp(place * step, UTC) for place in range(first, last + 1)}
        return sorted(found)

    def values(self) -> tuple[list[datetime], dict[str, list[float | None]]]:
        """Every time, and each series' value at it: without a value 0 in a bar, and nothing in a
        line.
        """
        moments = self.moments()
        places = {at: place for place, at in enumerate(moments)}
        found: dict[str, list[float | None]] = {
            name: [0.0 if self.stacked else None] * len(moments) for name in self.names
        }
        for at, name, value in self.rows:
            of = found[name if name in found else OTHERS]
            place = places[_utc(at)]
            of[place] = (of[place] or 0) + float(value)
        return moments, found


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def svg(chart: Chart) -> str:
    """The chart as an SVG element; a sentence where there is nothing to draw."""
    chart = replace(chart, rows=[row for row in chart.rows if math.isfinite(row[2])])
    if not chart.rows:
        return '<p class="empty">Nothing happened in this time.</p>'
    moments, series = chart.values()
    heights = (
        [_sum(at) for at in zip(*series.values(), strict=True)]
        if chart.stacked
        else [max(_known(values), default=0) for values in series.values()]
    )
    top = round_up(max(heights)) if max(heights) > 0 else 1
    marks = [_grid(top, chart.unit), _times(moments)]
    marks += (
        _bars(chart, moments, series, top) if chart.stacked else _lines(chart, moments, series, top)
    )
    told = [
        f"{name} {_sum(values) if chart.stacked else max(_known(values)):,.6g}"
        for name, values in series.items()
    ]
    says = escape(f"{chart.title}, {'in all' if chart.stacked else 'at most'}: {', '.join(told)}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{says}"><title>{escape(chart.title)}</title>'
        f"{''.join(marks)}</svg>{_legend(chart.colours)}"
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _sum(values: Iterable[float | None]) -> float:
    return sum(_known(values))


def round_up(value: float) -> float:
    """The next round number that is not smaller: 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999999)


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


def _x(place: float, count: int) -> float:
    return LEFT + (WIDTH - LEFT - 8) * (place + 0.5) / max(count, 1)


def _grid(top: float, unit: str) -> str:
    lines = []
    for part in range(5):
        value = top * part / 4
        y = _y(top * part / 4, top)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}{escape(unit)}</text>'
        )
    return "".join(lines)


def _times(moments: list[datetime]) -> str:
    days = (moments[-1] - moments[0]).days
    shown = range(0, len(moments), max(1, math.ceil(len(moments) / TICKS)))
    return "".join(
        f'<text class="tick" x="{_x(place, len(moments)):.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{moments[place]:{'%d.%m.' if days > 2 else '%H:%M'}}</text>"
        for place in shown
    )


def _bars(
    chart: Chart, moments: list[datetime], series: dict[str, list[float | None]], top: float
) -> list[str]:
    made = []
    width = min(BAR_MAX, (WIDTH - LEFT - 8) / len(moments) * 0.8)
    below = [0.0] * len(moments)
    colours = chart.colours
    for name, values in series.items():
        for place, value in enumerate(values):
            if value and value > 0:
                y = _y(below[place] + value, top)
                under = _y(below[place], top)
                made.append(
                    f'<rect class="s{colours[name]}" x="{_x(place, len(moments)) - width / 2:.1f}" y="{y:.1f}" '
                    f'width="{width:.1f}" height="{max(under - y, 0.5):.1f}"><title>{escape(name)}, '
                    f"{moments[place]:%d.%m. %H:%M}: {number(value)}</title></rect>"
                )
                below[place] += value
    return made


def _lines(
    chart: Chart, moments: list[datetime], series: dict[str, list[float | None]], top: float
) -> list[str]:
    """A line from point to point, interrupted where there is no value."""
    made = []
    for name, values in series.items():
        colour = f"s{chart.colours[name]}"
        parts = [""]
        for place, (at, value) in enumerate(zip(moments, values, strict=True)):
            if value is None:
                parts.append("")
                continue
            x = _x(place, len(moments))
            y = _y(value, top)
            parts[-1] += f" {x:.1f},{y:.1f}"
            made.append(
                f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(name)}, '
                f"{at:%d.%m. %H:%M}: {number(value)}</title></circle>"
            )
        made += [
            f'<polyline class="line {colour}" points="{part.strip()}"/>'
            for part in parts
            if part.count(",") > 1
        ]
    return made


def _legend(colours: dict[str, int]) -> str:
    return (
        '<ul class="legend">'
        + "".join(
            f'<li><span class="dot s{nth}"></span>{escape(name or "(none)")}</li>'
            for name, nth in colours.items()
        )
        + "</ul>"
    )


def number(value: float) -> str:
    """Short for people: 1.2k, 3.4M; small ones with what matters."""
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if sign != 'k' else 1e3):.3g}{sign}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
