"""Tool calls that come in parts, joined by what identifies them: id, place, and what is missing.

Providers disagree on all three: some give every call the place 0, some leave the place out, some
repeat the id or the whole arguments in each part, and some send no id at all.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from sinks.models.reading.values import arguments_of, index_of, joined, mapping_of, name_of

Place = int | None


@dataclass
class OpenCall:
    """A call so far. `extra` is what the provider sent beside it and wants back. `named_again`: a
    name came once more when its arguments were whole.
    """

    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    named_again: bool = False

    def text(self) -> str:
        return "".join(self.arguments)

    def is_complete(self) -> bool:
        """Whether its arguments are a whole JSON object; a cheap look comes first."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        return is_object(self.text())

    def add_name(self, part: str) -> None:
        """A name may come in parts, be repeated, or grow from part to part."""
        if part.startswith(self.name):
            self.name = part
        elif part and not self.arguments:
            self.name += part

    def add_arguments(self, part: str) -> None:
        """A part behind a whole object replaces it: it is the object again, or an empty one was
        sent to hold its place.
        """
        if part.lstrip().startswith("{") and self.is_complete():
            self.arguments = []
        if part:
            self.arguments.append(part)

    def is_followed_by(self, part: str, named: bool) -> bool:
        """Whether another call begins, of which nothing is known but that it is another: it has a
        name of its own, and an object that is not this one again.
        """
        if not (named or self.named_again) or not part.lstrip().startswith("{"):
            return False
        return self.is_complete() and not self._is_empty() and not same_object(self.text(), part)

    def _is_empty(self) -> bool:
        return self.text().strip() == "{}"


class CallParts:
    """The calls of one streamed answer. `size` is the number of characters of their arguments."""

    def __init__(self) -> None:
        self.calls: list[OpenCall] = []
        self.size = 0
        self._at: dict[Place, OpenCall] = {}

    def add(self, part: dict[str, Any]) -> None:
        """Adds a part of a call, as a delta has it."""
        function = mapping_of(part.get("function"))
        name = name_of(function.get("name"))
        arguments = arguments_of(function.get("arguments"))
        known = name_of(part.get("id"))
        place = index_of(part.get("index"))
        if not (known or name or arguments or extra_of(part)):
            return
        call = self._open(known, place)
        if call is None or (not known and call.is_followed_by(arguments, bool(name))):
            call = OpenCall(known, name or (call.name if call else ""))
            self.calls.append(call)
        self._at[place] = call
        call.id = call.id or known
        call.named_again = bool(name) and not arguments and call.is_complete()
        call.add_name(name)
        call.add_arguments(arguments)
        call.extra |= extra_of(part)
        self.size += len(arguments)

    def _open(self, known: str, place: Place) -> OpenCall | None:
        """The call that a part goes on with; None where it begins one."""
        if place is None and known:
            return next((call for call in reversed(self.calls) if call.id == known), None)
        call = self._at.get(place)
        if call is None and place is None and self.calls:
            call = self.calls[-1]
        return None if call and known and call.id and known != call.id else call

    def body(self) -> list[dict[str, Any]]:
        """The calls as an answer in one piece has them."""
        return [
            {
                **call.extra,
                "id": call.id,
                "function": {"name": call.name, "arguments": joined(call.text())},
            }
            for call in self.calls
        ]


def extra_of(part: dict[str, Any]) -> dict[str, Any]:
    """What a provider sent beside a call and wants back with it."""
    extra = part.get("extra_content")
    return {"extra_content": extra} if extra else {}


def same_object(one: str, other: str) -> bool:
    """Whether two texts are the same JSON object, however it is written."""
    try:
        return json.loads(one) == json.loads(other)
    except (ValueError, RecursionError):
        return False


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
