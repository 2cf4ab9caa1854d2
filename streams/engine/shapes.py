"""What can a step be? Four shapes: Each, Fold, Window, Call. Everything that Weir does is a row of
these.

A step with `given=True` is handed a frozen snapshot of the definitions as its last argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import UnionType
from typing import Any, get_args

from schemas.events.base import Event

Kinds = type[Event] | UnionType


@dataclass(frozen=True)
class Each:
    """`on(event) -> events`."""

    on: Callable[..., Any]


@dataclass(frozen=True)
class Fold:
    """`on(state, event) -> (state, events)`: one state a key, `start()` where there is none yet,
    None to forget it.

    With `wakes`, a state's attribute `wake_at` (a datetime or None) asks for that event at that
    time.
    """

    start: Callable[[], Any]
    on: Callable[..., Any]
    wakes: type[Event] | None = None


@dataclass(frozen=True)
class Tumbling:
    size: timedelta


@dataclass(frozen=True)
class Hopping:
    size: timedelta
    step: timedelta


@dataclass(frozen=True)
class Session:
    gap: timedelta


@dataclass(frozen=True)
class Window:
    """`add(total, event) -> total`, then once `close(key, start, end, total) -> events` when event
    time has passed the window's end and its grace. Sessions also need `merge(total, total) ->
    total`. What comes later is counted as late, and with `letters` it is a dead letter: a sum of
    money must miss nothing, a picture of many may.
    """

    start: Callable[[], Any]
    add: Callable[[Any, Event], Any]
    close: Callable[..., Any]
    spans: Tumbling | Hopping | Session
    grace: timedelta = timedelta(0)
    merge: Callable[[Any, Any], Any] | None = None
    letters: bool = True


@dataclass(frozen=True)
class Call:
    """`ask(event) -> question | Impossible`, the port named `port` answers it, `tell(event, answer)
    -> events`.

    The questions of one key are asked one after the other, unless they are not `ordered`.
    """

    ask: Callable[..., Any]
    port: str
    tell: Callable[..., Any]
    ordered: bool = True


@dataclass(frozen=True)
class Step:
    """A row of the topology."""

    name: str
    reads: Kinds
    by: Each | Fold | Window | Call
    writes: Kinds
    given: bool = False


def kinds(events: Kinds) -> tuple[type[Event], ...]:
    """The classes in `A | B`, or the one class."""
    return get_args(events) or (events,)
