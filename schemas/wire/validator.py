"""Validates that a record's value is exactly one event of its class, without decoding it.

A walk goes over the Avro bytes and makes nothing of them but the event's time: 3 microseconds for
17 fields, against 12 for reading them. It lets no value through that reading would refuse, and some
readable ones it does not take (an id in capitals, an amount of more than 35 digits): whoever walks
must be able to read instead.

The code of a walk is made out of the class's schema, as `dataclasses` makes its methods: a loop
over the fields would cost as much as reading them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from schemas.events.base import Event
from schemas.wire.avro_schema import MONEY, schema_of

Take = Callable[[bytes], None]
Walk = Callable[[bytes, int, Take, Take], int]
"""From a value, where its fields begin, and what takes its texts and its ids, to its event time in
milliseconds.
"""

MONEY_BYTES_MAX = 15
HEX, DASHES = b"0123456789abcdef", (8, 13, 18, 23)
VARINT_SHIFT_MAX = 63

# What each step of a walk does: `v` is the value, `p` the place in it, `n` the number just read.
NUMBER = ["n = v[p]; p += 1", "if n > 127: n, p = rest(v, n, p)"]
PASSED_OVER = [
    "if n > 127:",
    "    begun = p",
    "    while v[p] > 127: p += 1",
    "    p += 1",
    "    if p - begun > 8: raise InvalidRecordError",
]
LINES = {
    "string": [
        *NUMBER,
        "if n & 1: raise InvalidRecordError",
        "end = p + (n >> 1)",
        "text(v[p:end]); p = end",
    ],
    "uuid": ["if v[p] != 72: raise InvalidRecordError", "identity(v[p + 1:p + 37]); p += 37"],
    "long": ["n = v[p]; p += 1", "if n & 1: raise InvalidRecordError", *PASSED_OVER],
    "timestamp-millis": ["n = v[p]; p += 1", *PASSED_OVER],
    "boolean": ["if v[p] > 1: raise InvalidRecordError", "p += 1"],
    "double": ["p += 8"],
    "decimal": [
        "n = v[p]",
        f"if n & 1 or not 0 < n <= {2 * MONEY_BYTES_MAX}: raise InvalidRecordError",
        "p += 1 + (n >> 1)",
    ],
}


class InvalidRecordError(ValueError):
    """A value that a walk does not let through. Reading it says why, if there is a reason."""


@cache
def walk_of(kind: type[Event]) -> Walk | None:
    """The class's walk; None for a class with a field that no walk goes over (an array, a map).

    A walk raises InvalidRecordError or IndexError (TypeError for no value). Texts and ids are to be
    checked together, with `check`.
    """
    steps = _record(schema_of(kind)["fields"])
    if steps is None:
        return None
    lines = [
        "def walk(v, p, text, identity):",
        *(f"    {line}" for line in steps),
        "    if p != len(v): raise InvalidRecordError",
        "    return (at >> 1) ^ -(at & 1)",
    ]
    made: dict[str, Any] = {"rest": _rest, "InvalidRecordError": InvalidRecordError}
    exec(compile("\n".join(lines), f"<walk of {kind.__name__}>", "exec"), made)
    return made["walk"]


def check(texts: list[bytes], ids: list[bytes]) -> None:
    """Of many values at once. Raises UnicodeDecodeError or InvalidRecordError."""
    b"\n".join(texts).decode()  # the line ends keep two halves of a character apart
    joined, dashes = b"".join(ids), b"-" * len(ids)
    if joined.translate(None, HEX) != 4 * dashes or any(
        joined[place::36] != dashes for place in DASHES
    ):
        raise InvalidRecordError("an id is no UUID in small letters")


def _record(fields: list[dict[str, Any]]) -> list[str] | None:
    lines: list[str] = []
    for each in fields:
        steps = [*NUMBER, "at = n"] if each["name"] == "at" else _field(each["type"])
        if steps is None:
            return None
        lines += steps
    return lines


def _field(kind: Any) -> list[str] | None:
    if isinstance(kind, list):
        inner = _field(kind[1])
        return inner and [
            "n = v[p]; p += 1",
            "if n == 2:",
            *(f"    {line}" for line in inner),
            "elif n: raise InvalidRecordError",
        ]
    if isinstance(kind, dict) and kind["type"] == "record":
        return _record(kind["fields"])
    if kind == MONEY:
        return LINES["decimal"]
    return LINES.get(kind if isinstance(kind, str) else str(kind.get("logicalType")))


def _rest(value: bytes, number: int, place: int) -> tuple[int, int]:
    """The rest of a number of several bytes, and the place behind it."""
    number, shift = number & 127, 7
    while (byte := value[place]) > 127:
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if shift > VARINT_SHIFT_MAX:
            raise InvalidRecordError("a number of more than 64 bits")
    number |= byte << shift
    if number >> 64:
        raise InvalidRecordError("a number of more than 64 bits")
    return number, place + 1
