"""The calls of a stage by question: under way, or answered and not yet committed.

Data in, data out; no clock, no loop. A question is known by the id of its event *and* a digest of
its words: after an aborted transaction the same cause may ask something else under the same id, and
the answer to the old words must never be given to the new ones.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

ANSWERED_MAX = 2_000
"""Answers kept until they are committed. One that is dropped is asked for again, no more."""


class CallKey(NamedTuple):
    """One question: the step that asks, the id of its event, and a digest of its words."""

    step: str
    id: UUID
    words: str


@dataclass(frozen=True)
class Begin:
    """The question has to be asked now."""


@dataclass(frozen=True)
class Adopted:
    """The question is under way already; its answer will come."""


@dataclass(frozen=True)
class Deliver:
    """The question was answered already."""

    answer: Any


class InFlight:
    """At most one call a question. `handle` is whatever ends a call: it is given back when the call
    has to end, and forgotten in the same step, so nobody can adopt a call that is being cancelled.
    """

    def __init__(self, answered_max: int = ANSWERED_MAX):
        self._under_way: dict[CallKey, tuple[int, Any]] = {}
        self._answered: OrderedDict[CallKey, Any] = OrderedDict()
        self._answered_max = answered_max

    def __len__(self) -> int:
        return len(self._under_way)

    def ask(self, key: CallKey, partition: int) -> Begin | Adopted | Deliver:
        """What to do about a question. After Begin, `begun` has to be called."""
        if key in self._answered:
            return Deliver(self._answered[key])
        known = self._under_way.get(key)
        if known is None:
            return Begin()
        self._under_way[key] = partition, known[1]
        return Adopted()

    def begun(self, key: CallKey, partition: int, handle: Any) -> None:
        self._under_way[key] = partition, handle

    def ended(self, key: CallKey, handle: Any, answer: Any = None) -> bool:
        """A call came to its end, with an answer or None. False where it was given up before."""
        if self._under_way.get(key, (0, None))[1] is not handle:
            return False
        del self._under_way[key]
        if answer is not None:
            self._answered[key] = answer
            while len(self._answered) > self._answered_max:
                self._answered.popitem(last=False)
        return True

    def committed(self, keys: Iterable[CallKey]) -> None:
        """The answers to these are committed: nobody asks them again."""
        for key in keys:
            self._answered.pop(key, None)

    def give_up(self, keys: Iterable[CallKey]) -> list[Any]:
        """The handles of those of these calls that are under way, which are no longer."""
        return [self._under_way.pop(key)[1] for key in list(keys) if key in self._under_way]

    def keep_only(self, partitions: Collection[int]) -> list[Any]:
        """The handles of the calls of all other partitions: their new owner asks again."""
        return self.give_up(
            key for key, (partition, _) in self._under_way.items() if partition not in partitions
        )
