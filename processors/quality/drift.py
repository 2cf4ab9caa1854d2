"""Detects drift: whether what an agent is asked, or what it answers, has moved since the week
before.

Each hour of an agent is compared with the seven days before it, feature by feature, by two figures:

- PSI, the population stability index: the sum over buckets of (current - reference) * ln(current /
  reference), of
  shares. Half a run is added to each bucket, so that an empty one has a logarithm. Buckets in which
  chance would put
  less than one run of the hour are taken together: their noise would otherwise be most of the sum.
- KS, for numbers: the greatest distance of the two cumulative shares.

Both grow by chance alone where runs are few, so each must reach its threshold and what chance
reaches once in a thousand hours. For PSI that is the chi-squared quantile over the buckets less
one, times 1/n + 1/m.

The reference is kept as a sum for each day, not for each of 168 hours: a tenant's state is then
some kilobytes for each agent, and the reference is between seven and eight days long and ends with
the hour before.
"""

import math
from dataclasses import dataclass, field
from datetime import date

from processors.quality.profiles import FEATURES, NUMBERS
from schemas.definitions.kinds import Definitions
from schemas.definitions.limits import Drift
from schemas.events.quality import Counts, DriftFound, HourProfiled

DAYS = 7
COUNT_MAX = 2**53
Z_999, KS_999 = 3.0902, math.sqrt(-math.log(0.0005) / 2)
"""Of the normal distribution one in a thousand lies above; of KS, times sqrt(1/n + 1/m), on either
side.
"""


@dataclass(frozen=True)
class Reference:
    """What a tenant's agents did: agent -> day -> feature -> bucket -> runs."""

    agents: dict[str, dict[str, dict[str, Counts]]] = field(default_factory=dict)


def watch(
    reference: Reference, hour: HourProfiled, definitions: Definitions
) -> tuple[Reference, list[DriftFound]]:
    """What has moved in an hour; then the hour is part of the reference, so what stays new becomes
    usual.
    """
    days = {
        day: features
        for day, features in reference.agents.get(hour.agent, {}).items()
        if day >= _oldest(hour)
    }
    rules = rules_of(hour, definitions)
    found = (
        [one for feature in FEATURES if (one := moved(feature, days, hour, rules))]
        if rules.enabled
        else []
    )
    today = hour.at.date().isoformat()
    grown = {
        feature: _sum(days.get(today, {}).get(feature, {}), getattr(hour, feature))
        for feature in FEATURES
    }
    return Reference(reference.agents | {hour.agent: days | {today: grown}}), found


def rules_of(hour: HourProfiled, definitions: Definitions) -> Drift:
    """What the agent says, else what its tenant says, else the defaults."""
    agent = definitions.agent(hour.agent)
    tenant = definitions.tenant(hour.tenant)
    if agent and agent.drift:
        return agent.drift
    return tenant.drift if tenant and tenant.drift else Drift()


def moved(
    feature: str, days: dict[str, dict[str, Counts]], hour: HourProfiled, rules: Drift
) -> DriftFound | None:
    """What there is to say of one feature; None where it has not moved, or there are too few runs
    to tell.
    """
    current, before = (
        getattr(hour, feature),
        _sum(*(features.get(feature, {}) for features in days.values())),
    )
    n, m = runs_in(current), runs_in(before)
    if n < rules.hour_runs or m < rules.reference_runs:
        return None
    cells = together(before, current)
    index, psi_critical = psi(cells), max(rules.psi, psi_by_chance(len(cells), n, m))
    distance = ks(before, current) if feature in NUMBERS else None
    ks_critical = None if distance is None else max(rules.ks, KS_999 * math.sqrt(1 / n + 1 / m))
    apart = distance is not None and ks_critical is not None and distance >= ks_critical
    if index < psi_critical and not apart:
        return None
    return hour.then(
        DriftFound,
        feature,
        feature=feature,
        psi=index,
        psi_critical=psi_critical,
        ks=distance,
        ks_critical=ks_critical,
        reference_runs=m,
        runs=n,
        reference=before,
        current=current,
    )


def runs_in(counts: Counts) -> int:
    return min(sum(counts.values()), COUNT_MAX)


def together(reference: Counts, current: Counts) -> list[tuple[int, int]]:
    """Runs by bucket, in the reference and in the hour; those that chance hardly reaches are one
    bucket.
    """
    both = _sum(reference, current)
    least = runs_in(both) / runs_in(current)
    cells, rest = [], (0, 0)
    for name, count in both.items():
        pair = reference.get(name, 0), current.get(name, 0)
        if count < least:
            rest = rest[0] + pair[0], rest[1] + pair[1]
        else:
            cells.append(pair)
    return cells + [rest] if any(rest) else cells


def psi(cells: list[tuple[int, int]]) -> float:
    """The population stability index of pairs of counts."""
    half = 0.5 * len(cells)
    m, n = sum(a for a, _ in cells) + half, sum(b for _, b in cells) + half
    shares = [((a + 0.5) / m, (b + 0.5) / n) for a, b in cells]
    return math.fsum((now - was) * math.log(now / was) for was, now in shares)


def psi_by_chance(cells: int, n: int, m: int) -> float:
    """What PSI reaches once in a thousand hours where nothing has moved. Wilson and Hilferty's
    chi-squared quantile.
    """
    free = cells - 1
    if free < 1:
        return 0.0
    part = 2 / (9 * free)
    return free * (1 - part + Z_999 * math.sqrt(part)) ** 3 * (1 / n + 1 / m)


def ks(reference: Counts, current: Counts) -> float:
    """The greatest distance of two cumulative shares, at the bounds of the buckets."""
    m, n = runs_in(reference), runs_in(current)
    below, under, greatest = 0, 0, 0.0
    for name in sorted({*reference, *current}, key=lambda bound: (len(bound), bound)):
        below, under = below + reference.get(name, 0), under + current.get(name, 0)
        greatest = max(greatest, abs(below / m - under / n))
    return greatest


def _oldest(hour: HourProfiled) -> str:
    return date.fromordinal(max(1, hour.at.toordinal() - DAYS)).isoformat()


def _sum(*parts: Counts) -> Counts:
    total: Counts = {}
    for part in parts:
        for name, count in part.items():
            total[name] = min(total.get(name, 0) + count, COUNT_MAX)
    return total
