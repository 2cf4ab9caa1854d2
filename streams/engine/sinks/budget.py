"""How often a sink worker writes: a budget of inserts a second, and an age that adapts to it.

An insert costs ClickHouse the same for one row and for a thousand (13 to 46 ms of processor time,
by the table's columns and views), so only their number counts. A quiet stack writes as soon as the
shortest age has passed; the busier it is, the more classes each batch has, and the longer it waits
for the next, up to the longest age, which holds whatever the budget says.

Four kinds of events at 20 a second each, on a busy machine of two cores: at 8 inserts a second
ClickHouse took 8.7 ms of processor time for one of each kind, at 4 it took 4.3 ms, at 2 it took
3.6 ms. So 4 is the usual budget. At rest an event could be queried after 0.8 s (p50) and 0.9 s.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class InsertPace:
    """The ages between which a batch waits, and the inserts a second that are aimed at."""

    age_min_s: float
    age_max_s: float
    inserts_per_s: float


@dataclass(frozen=True)
class LastBatch:
    """The inserts of the last batch, and when it was begun."""

    inserts: int = 0
    at: float = 0.0

    def next(self, inserts: int, now: float) -> "LastBatch":
        return replace(self, inserts=inserts, at=now)


def due_at(oldest: float, full: bool, pace: InsertPace, spent: LastBatch) -> float:
    """The moment at which a batch is due whose oldest record was read at `oldest`.

    A full batch is due at once. Else not before the shortest age, not before the last batch's
    inserts are within the budget, and never after the longest age.
    """
    if full:
        return oldest
    within_budget = spent.at + spent.inserts / pace.inserts_per_s if spent.inserts else oldest
    return min(max(oldest + pace.age_min_s, within_budget), oldest + pace.age_max_s)
