"""Translates filters of Qdrant's REST protocol into the edge engine's values.

Pure functions: JSON in, the engine's value out. Its conditions are stricter than the protocol's:
parts of a filter must be lists, a field condition makes one kind of test, a range with dates is
another class than one with numbers.
"""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy
import qdrant_edge as edge

_UUID = re.compile(r"(?:urn:uuid:)?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.I)
# The engine reads Python's True as the number 1, which matches no boolean. It reads numpy's
# booleans as booleans, which its type stubs do not say.
MATCHES: dict[str, Callable] = {
    "value": lambda value: edge.MatchValue(_as_boolean(value)),
    "any": edge.MatchAny,
    "except": edge.MatchExcept,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
}


class RequestRejectedError(Exception):
    """A request that cannot be served, with its HTTP status and the reason."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def point_id(given: object) -> int | UUID:
    """A point's id, an unsigned 64-bit number or a UUID. Raises `RequestRejectedError` for anything
    else.
    """
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**64:
        return given
    if isinstance(given, str) and _UUID.fullmatch(given):
        return UUID(given)
    raise RequestRejectedError(
        400,
        f"Format error in JSON body: value {given} is not a valid point ID, "
        "valid values are either an unsigned integer or a UUID",
    )


def as_list(given: object) -> list:
    """One or many, as a list; None is an empty one."""
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def optional_filter(given: dict | None) -> edge.Filter | None:
    """The engine's filter, where there is one. Raises `RequestRejectedError`."""
    return None if given is None else filter_of(given)


def filter_of(given: dict) -> edge.Filter:
    """The engine's filter. Raises `RequestRejectedError` on what the protocol or the engine does
    not know.
    """
    unknown = given.keys() - {"must", "should", "must_not", "min_should"}
    if unknown:
        raise RequestRejectedError(
            400,
            f"Format error in JSON body: unknown field `{min(unknown)}` in a filter, "
            "expected must, should, must_not or min_should",
        )
    least = given.get("min_should")
    parts = {
        name: _conditions(given[name])
        for name in ("must", "should", "must_not")
        if given.get(name) is not None
    }
    return edge.Filter(
        **parts,
        min_should=least and edge.MinShould(_conditions(least["conditions"]), least["min_count"]),
    )


def _conditions(given: object) -> list:
    return [condition(each) for each in as_list(given)]


def condition(given: dict) -> object:
    """One condition of a filter."""
    if "key" in given:
        tests = _field_tests(given)
        return tests[0] if len(tests) == 1 else edge.Filter(must=tests)
    match given:
        case {"has_id": ids}:
            return edge.HasIdCondition({point_id(each) for each in ids})
        case {"is_empty": {"key": key}}:
            return edge.IsEmptyCondition(key)
        case {"is_null": {"key": key}}:
            return edge.IsNullCondition(key)
        case {"has_vector": name}:
            return edge.HasVectorCondition(name)
        case {"nested": {"key": key, "filter": inner}}:
            return edge.NestedCondition(key, filter_of(inner))
    return filter_of(given)


def _field_tests(given: dict) -> list:
    key = given["key"]
    tests = []
    for name, value in given.items():
        if name == "key" or value is None:
            continue
        match name:
            case "match":
                tests.append(edge.FieldCondition(key, match=_match(value)))
            case "range":
                tests.append(edge.FieldCondition(key, range=_range(value)))
            case "values_count":
                counts = {bound: count for bound, count in value.items() if count is not None}
                tests.append(edge.FieldCondition(key, values_count=edge.ValuesCount(**counts)))
            case "is_empty" | "is_null":
                tests.append(edge.FieldCondition(key, **{name: value}))
            case _:
                raise RequestRejectedError(
                    400,
                    f"The embedded Qdrant has no condition `{name}`: use match, range, "
                    "values_count, is_empty or is_null, or point Weir at a Qdrant server",
                )
    if not tests:
        raise RequestRejectedError(
            422, f"Validation error in JSON body: the condition on `{key}` tests nothing"
        )
    return tests


def _as_boolean(value: Any) -> Any:
    return numpy.bool_(value) if isinstance(value, bool) else value


def _match(given: dict) -> "edge.MatchType":
    for name, kind in MATCHES.items():
        if name in given:
            return kind(given[name])
    raise RequestRejectedError(
        400,
        f"Format error in JSON body: unknown match {given}, expected one of {', '.join(MATCHES)}",
    )


def _range(given: dict) -> "edge.RangeType":
    bounds = {
        name: given[name] for name in ("gte", "gt", "lte", "lt") if given.get(name) is not None
    }
    dated = any(isinstance(bound, str) for bound in bounds.values())
    return edge.RangeDateTime(**bounds) if dated else edge.RangeFloat(**bounds)
