"""The four shapes of a step: Each, Fold, Window and Call, and the row of the topology that uses
one.

A step's functions are plain and pure. Their annotations are the only place that says which events
the step reads and writes, and whether it needs the definitions in force: a function that does
declares them as its last argument, `definitions: Definitions`. The engine calls every function the
same way, through the `run…` attributes of the shapes, always with the definitions.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import UnionType
from typing import Any, Generic, TypeVar, get_args

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from schemas.ports import Failure, Impossible, Uncertain

Kinds = type[Event] | UnionType
"""One class of events, or a union of them."""

S = TypeVar("S")
"""The state of a Fold."""
T = TypeVar("T")
"""The total of a Window."""
E = TypeVar("E", bound=Event)
"""The events that are read."""
Out = TypeVar("Out", bound=Event)
"""The events that are written."""
Q = TypeVar("Q")
"""The request that a Call makes of its port."""
A = TypeVar("A")
"""The result that the port gives."""


@dataclass(frozen=True)
class Each(Generic[E, Out]):
    """A step without state: `on(event) -> events`."""

    on: Callable[[E], Iterable[Out]] | Callable[[E, Definitions], Iterable[Out]]

    @cached_property
    def run(self) -> Callable[[E, Definitions], Iterable[Out]]:
        return _with_definitions(self.on)

    @property
    def functions(self) -> dict[Callable[..., Any], int]:
        """The shape's functions, and how many arguments each has before the definitions."""
        return {self.on: 1}

    @property
    def reads(self) -> Kinds:
        return _read_by(self.on, 0)

    @property
    def writes(self) -> Kinds:
        return _written_by(self.on)


@dataclass(frozen=True)
class Fold(Generic[S, E, Out]):
    """A step with one state a key: `on(state, event) -> (state, events)`.

    `start()` makes the state of a key that has none; a returned state of None forgets the key. With
    `wakes`, a state's attribute `wake_at` (a datetime or None) asks for that event at that time.
    """

    start: Callable[[], S]
    on: (
        Callable[[S, E], tuple[S | None, Iterable[Out]]]
        | Callable[[S, E, Definitions], tuple[S | None, Iterable[Out]]]
    )
    wakes: type[Event] | None = None

    @cached_property
    def run(self) -> Callable[[S, E, Definitions], tuple[S | None, Iterable[Out]]]:
        return _with_definitions(self.on)

    @property
    def functions(self) -> dict[Callable[..., Any], int]:
        return {self.on: 2}

    @property
    def reads(self) -> Kinds:
        return _read_by(self.on, 1)

    @property
    def writes(self) -> Kinds:
        return _written_by(self.on, second=True)


@dataclass(frozen=True)
class Tumbling:
    """Windows of one size, one after the other."""

    size: timedelta


@dataclass(frozen=True)
class Hopping:
    """Windows of one size, a new one every `step`."""

    size: timedelta
    step: timedelta


@dataclass(frozen=True)
class SessionGap:
    """Session windows: a window ends where `gap` passes without an event."""

    gap: timedelta


@dataclass(frozen=True)
class Window(Generic[T, E, Out]):
    """A step that totals events by key and event time, and writes once a window is over.

    `add(total, event) -> total`, then once `close(key, start, end, total) -> events`, when event
    time has passed the window's end and its grace. Sessions also need `merge(total, total) ->
    total`. An event that comes later is counted as late; with `late_to_dead_letters` it also
    becomes a dead letter: a sum of money must miss nothing, a distribution may.
    """

    start: Callable[[], T]
    add: Callable[[T, E], T] | Callable[[T, E, Definitions], T]
    close: (
        Callable[[str, datetime, datetime, T], Iterable[Out]]
        | Callable[[str, datetime, datetime, T, Definitions], Iterable[Out]]
    )
    spans: Tumbling | Hopping | SessionGap
    grace: timedelta = timedelta(0)
    merge: Callable[[T, T], T] | None = None
    late_to_dead_letters: bool = True

    @cached_property
    def run_add(self) -> Callable[[T, E, Definitions], T]:
        return _with_definitions(self.add)

    @cached_property
    def run_close(
        self,
    ) -> Callable[[str, datetime, datetime, T, Definitions], Iterable[Out]]:
        return _with_definitions(self.close)

    @property
    def functions(self) -> dict[Callable[..., Any], int]:
        return {self.add: 2, self.close: 4}

    @property
    def reads(self) -> Kinds:
        return _read_by(self.add, 1)

    @property
    def writes(self) -> Kinds:
        return _written_by(self.close)


@dataclass(frozen=True)
class Call(Generic[E, Q, A, Out]):
    """A step that asks the world outside, through the port named `port`.

    `ask(event) -> request | Impossible`; the port turns a request into a result, a failure being a
    result too; `tell(event, result) -> events`. The requests of one key are made one after the
    other, unless they are not `ordered`. `hints` is the event that a port sends while a request is
    under way: at most once and outside of the transaction, for whoever reads along. A call is
    `repeatable` if making it twice harms nobody: the stage of its key makes it then, and makes it
    again after a crash. All others are made by the call runner.
    """

    ask: Callable[[E], Q | Impossible] | Callable[[E, Definitions], Q | Impossible]
    port: str
    tell: (
        Callable[[E, A | Failure | Uncertain], Iterable[Out]]
        | Callable[[E, A | Failure | Uncertain, Definitions], Iterable[Out]]
    )
    ordered: bool = True
    hints: type[Event] | None = None
    repeatable: bool = False

    @cached_property
    def run_ask(self) -> Callable[[E, Definitions], Q | Impossible]:
        return _with_definitions(self.ask)

    @cached_property
    def run_tell(self) -> Callable[[E, A | Failure | Uncertain, Definitions], Iterable[Out]]:
        return _with_definitions(self.tell)

    @property
    def functions(self) -> dict[Callable[..., Any], int]:
        return {self.ask: 1, self.tell: 2}

    @property
    def reads(self) -> Kinds:
        return _read_by(self.ask, 0)

    @property
    def writes(self) -> Kinds:
        return _written_by(self.tell)


Shape = Each[Any, Any] | Fold[Any, Any, Any] | Window[Any, Any, Any] | Call[Any, Any, Any, Any]


@dataclass(frozen=True)
class Step:
    """A row of the topology: a name and a shape. What it reads and writes is found once, from the
    annotations of the shape's functions.
    """

    name: str
    by: Shape
    reads: Kinds = field(init=False)
    writes: Kinds = field(init=False)
    needs_definitions: bool = field(init=False)

    def __post_init__(self) -> None:
        for function, inputs in self.by.functions.items():
            _check(function, inputs)
        if isinstance(self.by, Call) and self.by.repeatable:
            check_repeatable(self.by)
        found = {
            "reads": self.by.reads,
            "writes": self.by.writes,
            "needs_definitions": any(map(takes_definitions, self.by.functions)),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def call(self) -> Call[Any, Any, Any, Any]:
        """The Call of a step that is one. Raises TypeError where it is none."""
        if not isinstance(self.by, Call):
            raise TypeError(f"{self.name} is no Call")
        return self.by


def check_repeatable(call: Call[Any, Any, Any, Any]) -> None:
    """Raises TypeError unless every request of the call is harmless to make twice: a request with
    an `effect` of its own may be one that must happen once.
    """
    if call.ordered:
        raise TypeError(f"{_name(call.ask)}: a repeatable call is unordered, say `ordered=False`")
    returned = inspect.signature(call.ask, eval_str=True).return_annotation
    for request in get_args(returned) or (returned,):
        if not isinstance(request, type) or request is inspect.Signature.empty:
            raise TypeError(f"{_name(call.ask)}: annotate which requests it returns")
        if "effect" in getattr(request, "__dataclass_fields__", {}):
            raise TypeError(
                f"{_name(call.ask)}: a {request.__name__} has an effect of its own and may be one "
                "that must not be repeated; without `repeatable` the call runner makes the call"
            )


def kinds(events: Kinds) -> tuple[type[Event], ...]:
    """The classes in `A | B`, or the one class."""
    return (events,) if isinstance(events, type) else get_args(events)


def stages(pipeline: tuple[Step, ...]) -> dict[str, tuple[Step, ...]]:
    """The steps of each stage, by the key that they share, with the calls that it makes itself."""
    by_key: dict[str, tuple[Step, ...]] = {}
    for step in pipeline:
        if not isinstance(step.by, Call) or step.by.repeatable:
            key = kinds(step.reads)[0].key
            by_key[key] = (*by_key.get(key, ()), step)
    return by_key


def calls(pipeline: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps that the call runner makes: calls that must not be made again without need."""
    return tuple(step for step in pipeline if isinstance(step.by, Call) and not step.by.repeatable)


def inputs(steps: tuple[Step, ...], pipeline: tuple[Step, ...]) -> tuple[type[Event], ...]:
    """What a stage reads from Kafka: all that its steps read and none of them writes, in the
    table's order. What one of its calls tells is read from Kafka where others of the pipeline
    write the same: there is one order of it then.

    A timer's event is made by the runtime inside the stage.
    """
    others = {kind for step in pipeline if step not in steps for kind in kinds(step.writes)}
    told = {kind for step in steps if isinstance(step.by, Call) for kind in kinds(step.writes)}
    inside = {kind for step in steps for kind in kinds(step.writes)} - (told & others)
    inside |= {step.by.wakes for step in steps if isinstance(step.by, Fold) and step.by.wakes}
    return tuple(
        dict.fromkeys(kind for step in steps for kind in kinds(step.reads) if kind not in inside)
    )


def written(pipeline: tuple[Step, ...]) -> frozenset[type[Event]]:
    """All classes that the steps write."""
    return frozenset(kind for step in pipeline for kind in kinds(step.writes))


def takes_definitions(function: Callable[..., Any]) -> bool:
    """Whether the function's last argument is annotated with `Definitions`."""
    annotations = _annotations(function)
    return bool(annotations) and annotations[-1] is Definitions


def _annotations(function: Callable[..., Any]) -> list[Any]:
    parameters = inspect.signature(function, eval_str=True).parameters
    return [parameter.annotation for parameter in parameters.values()]


def _check(function: Callable[..., Any], inputs: int) -> None:
    """Raises TypeError where a function takes other arguments than its shape calls it with."""
    count = len(_annotations(function))
    if count != inputs + takes_definitions(function):
        raise TypeError(
            f"{_name(function)} takes {count} arguments: a function of its shape takes {inputs}, "
            "and "
            "after them, where it needs them, `definitions: Definitions`"
        )


def _with_definitions(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with the definitions last whether it takes them or not."""
    if takes_definitions(function):
        return function
    return lambda *inputs: function(*inputs[:-1])


def _read_by(function: Callable[..., Any], position: int) -> Kinds:
    annotations = _annotations(function)
    return _events(annotations[position] if position < len(annotations) else None, function)


def _written_by(function: Callable[..., Any], second: bool = False) -> Kinds:
    """The events in the function's return annotation `list[A | B]`, or, with `second`, in
    `tuple[State, list[A | B]]`.
    """
    returned = inspect.signature(function, eval_str=True).return_annotation
    parts = get_args(returned)
    if second:
        parts = get_args(parts[1]) if len(parts) == 2 else ()
    return _events(parts[0] if parts else None, function)


def _events(annotation: Any, function: Callable[..., Any]) -> Kinds:
    classes = get_args(annotation) or (annotation,)
    if Event in classes or not all(
        isinstance(kind, type) and issubclass(kind, Event) for kind in classes
    ):
        raise TypeError(
            f"{_name(function)} does not say which events it reads and writes: annotate its event, "
            "and what it returns, with classes of events (e.g. `-> list[A | B]`)"
        )
    return annotation


def _name(function: Callable[..., Any]) -> str:
    module = getattr(function, "__module__", "?")
    return f"{module}.{getattr(function, '__qualname__', repr(function))}"
