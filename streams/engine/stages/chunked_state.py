"""How is a state that only grows written, without writing all of it at every change?

A state class says with `GROWS` which of its fields, a tuple, grows at its end. While a state is
small it is one record, as any other. Beyond that the field's items are sealed in parts, each a
record of its own that is written once; the state's record holds the rest and how many parts there
are. What changes in an earlier part is written anew from there on. A conversation of 100 results of
5 KB made 53 MB of changelog as one record, and makes 2 MB so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

WHOLE_BYTES = 16_384
"""Up to this size a state is one record. A part is begun anew at the size of half of it."""
MARK = b'{"parts":'

Written = Iterable[tuple[int | None, bytes | None]]
"""The number of a part (None: the state's own record), and its value (None: it is gone)."""


def _classes_of(kind: Any) -> tuple[Any, ...]:
    """The classes of a state: the members of a union, or the one class."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


@dataclass(frozen=True)
class GrowingField:
    """The field of a state class that grows at its end, and how its items are written."""

    name: str
    items: TypeAdapter

    @classmethod
    def of(cls, state_class: Any) -> "GrowingField | None":
        """The field that the class names in `GROWS`; None where it names none."""
        name = getattr(state_class, "GROWS", None)
        if name is None:
            return None
        return cls(name, TypeAdapter(get_type_hints(state_class, include_extras=True)[name]))


class Parts:
    """Of one fold: which items of which key's state are sealed, part by part."""

    def __init__(self, kind: Any, adapter: TypeAdapter):
        self._adapter = adapter
        classes = _classes_of(kind)
        self._growing = GrowingField.of(classes[0])
        # A union writes its members at half the speed of their own classes.
        self._writers = {one: TypeAdapter(one) for one in classes} if len(classes) > 1 else {}
        self._sealed: dict[str, list[tuple]] = {}
        self._unjoined: dict[str, tuple[int, bytes]] = {}
        self._loose: dict[str, dict[int, bytes]] = {}

    def written(self, key: str, state: Any) -> Written:
        """The records that bring the changelog from what it has of the key to this state; None is
        no state.
        """
        growing = self._growing
        before = [] if growing is None else self._sealed.pop(key, [])
        if state is None:
            yield None, None
            yield from ((number, None) for number in range(len(before)))
            return
        if growing is None:
            yield None, self._dumped(state)
            return
        items = getattr(state, growing.name)
        kept, place = self._kept(before, items)
        rest = items[place:]
        whole = self._dumped(replace(state, **{growing.name: rest}) if place else state)
        if (
            len(whole) > WHOLE_BYTES
            and len(sealed := growing.items.dump_json(rest)) > WHOLE_BYTES // 2
        ):
            yield len(kept), sealed
            kept.append(rest)
            whole = self._dumped(replace(state, **{growing.name: ()}))
        yield from ((number, None) for number in range(len(kept), len(before)))
        if kept:
            self._sealed[key] = kept
        yield None, MARK + b'%d,"state":%b}' % (len(kept), whole) if kept else whole

    def _dumped(self, state: Any) -> bytes:
        return self._writers.get(type(state), self._adapter).dump_json(state)

    @staticmethod
    def _kept(before: list[tuple], items: tuple) -> tuple[list[tuple], int]:
        """The sealed parts that the items still begin with, and how many items these are."""
        kept: list[tuple] = []
        place = 0
        for part in before:
            if items[place : place + len(part)] != part:
                break
            kept.append(part)
            place += len(part)
        return kept, place

    def load(self, key: str, value: bytes) -> Any:
        """The state in a record; None where parts of it have not been loaded yet."""
        self._unjoined.pop(key, None)
        if not value.startswith(MARK):
            return self._adapter.validate_json(value)
        count, state = value.removeprefix(MARK).split(b',"state":', 1)
        self._unjoined[key] = int(count), state[:-1]
        return self._joined(key)

    def load_part(self, key: str, number: int, value: bytes | None) -> Any:
        """The state that was waiting for this part, if it is whole now."""
        loose = self._loose.setdefault(key, {})
        if value is None:
            loose.pop(number, None)
        else:
            loose[number] = value
        return self._joined(key) if key in self._unjoined else None

    def _joined(self, key: str) -> Any:
        (count, text), loose = self._unjoined[key], self._loose.get(key, {})
        if not all(number in loose for number in range(count)):
            return None
        growing = self._growing
        if growing is None:
            raise ValueError(f"the state of {key!r} is stored in parts, and its class has no GROWS")
        del self._unjoined[key]
        sealed = [growing.items.validate_json(loose[number]) for number in range(count)]
        self._loose.pop(key, None)
        self._sealed[key] = sealed
        state = self._adapter.validate_json(text)
        items = (*(item for part in sealed for item in part), *getattr(state, growing.name))
        return replace(state, **{growing.name: items})

    @property
    def incomplete(self) -> list[str]:
        """The keys whose parts were not all loaded."""
        return list(self._unjoined)
