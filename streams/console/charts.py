"""How does a figure over time become a picture that needs no script: SVG out of rows?

Colours come from the page's style sheet (classes s0 to s7), so a picture is right in light and in dark. Every picture has
a title and a summary for those who do not see it; the numbers stand in a table below it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 230, 58, 24, 10
SERIES_MAX = 8
BAR_MAX = 60
OTHERS = "others"


@dataclass(frozen=True)
class Chart:
    """Rows of (time, series, value). `stacked` draws bars that add up, else lines."""

    title: str
    rows: Sequence[tuple[datetime, str, float]]
    unit: str = ""
    stacked: bool = True

    @property
    def names(self) -> list[str]:
        """The series with the largest sums first; what is beyond the eighth is one series."""
        sums: dict[str, float] = {}
        for _, name, value in self.rows:
            sums[name] = sums.get(name, 0) + value
        ordered = sorted(sums, key=lambda name: -sums[name])
        return ordered if len(ordered) <= SERIES_MAX else [*ordered[:SERIES_MAX - 1], OTHERS]

    def values(self) -> tuple[list[datetime], dict[str, list[float]]]:
        """Every moment, and each series' value at each of them."""
        names, moments = self.names, sorted({at for at, _, _ in self.rows})
        places = {at: place for place, at in enumerate(moments)}
        found = {name: [0.0] * len(moments) for name in names}
        for at, name, value in self.rows:
            found[name if name in found else OTHERS][places[at]] += float(value)
        return moments, found


def svg(chart: Chart) -> str:
    """The chart as an SVG element; a sentence where there is nothing to draw."""
    chart = replace(chart, rows=[row for row in chart.rows if math.isfinite(row[2])])
    if not chart.rows:
        return '<p class="empty">Nothing happened in this time.</p>'
    moments, series = chart.values()
    heights = [sum(at) for at in zip(*series.values(), strict=True)] if chart.stacked else [max(v) for v in series.values()]
    top = nice(max(heights)) if max(heights) > 0 else 1
    marks = [_grid(top, chart.unit), _times(moments)]
    marks += _bars(moments, series, top) if chart.stacked else _lines(moments, series, top)
    says = escape(f"{chart.title}: {', '.join(f'{name} {sum(v):,.6g}' for name, v in series.items())}")
    return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{says}"><title>{escape(chart.title)}</title>'
            f'{"".join(marks)}</svg>{_legend(series)}')


def nice(value: float) -> float:
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
        value, y = top * part / 4, _y(top * part / 4, top)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}{escape(unit)}</text>')
    return "".join(lines)


def _times(moments: list[datetime]) -> str:
    days = (moments[-1] - moments[0]).days
    shown = range(0, len(moments), max(1, len(moments) // 6))
    return "".join(f'<text class="tick" x="{_x(place, len(moments)):.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
                   f'{moments[place]:{"%d.%m." if days > 2 else "%H:%M"}}</text>' for place in shown)


def _bars(moments: list[datetime], series: dict[str, list[float]], top: float) -> list[str]:
    made, width = [], min(BAR_MAX, (WIDTH - LEFT - 8) / len(moments) * 0.8)
    below = [0.0] * len(moments)
    for nth, (name, values) in enumerate(series.items()):
        for place, value in enumerate(values):
            if value > 0:
                y, under = _y(below[place] + value, top), _y(below[place], top)
                made.append(f'<rect class="s{nth}" x="{_x(place, len(moments)) - width / 2:.1f}" y="{y:.1f}" '
                            f'width="{width:.1f}" height="{max(under - y, 0.5):.1f}"><title>{escape(name)}, '
                            f'{moments[place]:%d.%m. %H:%M}: {number(value)}</title></rect>')
                below[place] += value
    return made


def _lines(moments: list[datetime], series: dict[str, list[float]], top: float) -> list[str]:
    made = []
    for nth, (name, values) in enumerate(series.items()):
        points = [(_x(place, len(moments)), _y(value, top)) for place, value in enumerate(values)]
        made.append(f'<polyline class="line s{nth}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        made += [f'<circle class="s{nth}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(name)}, {at:%d.%m. %H:%M}: '
                 f'{number(value)}</title></circle>' for (x, y), at, value in zip(points, moments, values, strict=True)]
    return made


def _legend(series: dict[str, Any]) -> str:
    return '<ul class="legend">' + "".join(
        f'<li><span class="dot s{nth}"></span>{escape(name or "(none)")}</li>' for nth, name in enumerate(series)) + "</ul>"


def number(value: float) -> str:
    """Short for people: 1.2k, 3.4M; small ones with what matters."""
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if sign != 'k' else 1e3):.3g}{sign}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
