"""Makes valid events of any class, with values at the limits of its fields."""

import types
import typing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import annotated_types
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.events.base import Event

WORDS = st.sampled_from(
    [
        "",
        "support",
        "lookup",
        "refund",
        "search",
        "small",
        "c1",
        '{"order":"A-1"}',
        '{"query":"x","limit":1e999}',
        "{}",
        "[" * 200,
        "4111 1111 1111 1111",
        "ada@example.org",
        "# Head\n\ntext",
        "password: tR7vK2mX9pLq4ZsB8w",
        "ß🙂\u0000",
        '{"query":"\\ud800"}',
        "stop",
        "length",
        "x" * 3_000,
    ]
)
TEXTS = WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NO_SLASH = r"^[^/]+$"
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))


def events_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Valid events of a class, field by field."""
    return _model(kind)


def _model(kind: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = {name: _field(info) for name, info in kind.model_fields.items()}
    return st.fixed_dictionaries(fields).map(kind.model_validate)


def _field(info: FieldInfo) -> st.SearchStrategy[Any]:
    return _of(info.annotation, list(info.metadata))


def _of(hint: Any, rules: list[Any]) -> st.SearchStrategy[Any]:
    origin = typing.get_origin(hint)
    inner = typing.get_args(hint)
    if origin is typing.Annotated:
        more = [
            rule
            for one in inner[1:]
            for rule in (one.metadata if isinstance(one, FieldInfo) else [one])
        ]
        return _of(inner[0], [*more, *rules])
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if one is type(None) else _of(one, rules) for one in inner])
    if origin is tuple:
        return st.lists(_of(inner[0], []), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXTS, _of(inner[1], []), max_size=2)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return _model(hint)
    return _plain(hint, {type(rule): rule for rule in rules})


def _plain(hint: Any, rules: dict[type, Any]) -> st.SearchStrategy[Any]:
    least = rules.get(annotated_types.Ge)
    most = rules.get(annotated_types.Le)
    pattern = next(
        (rule.pattern for rule in rules.values() if getattr(rule, "pattern", None)), NO_SLASH
    )
    if hint is str and pattern != NO_SLASH:
        return st.from_regex(pattern, fullmatch=True)
    if hint is str:
        longest = (
            rules[annotated_types.MaxLen].max_length if annotated_types.MaxLen in rules else 3_000
        )
        shortest = (
            rules[annotated_types.MinLen].min_length if annotated_types.MinLen in rules else 0
        )
        strip = (
            "/"
            if any(getattr(rule, "pattern", None) == NO_SLASH for rule in rules.values())
            else "\x00/\x00"
        )
        return TEXTS.map(lambda text: text.replace(strip, "-").strip()[:longest] or "x" * shortest)
    if hint is int:
        top = most.le if most else 2**53
        return st.integers(least.ge if least else 0, top) | st.sampled_from([0, 1, top])
    if hint is float:
        return st.floats(least.ge if least else -1e9, most.le if most else 1e9, allow_nan=False)
    if hint is Decimal:
        return st.decimals(0, Decimal(10) ** 26 - 1, places=12, allow_nan=False)
    if hint is datetime:
        return MOMENTS
    if hint is bool:
        return st.booleans()
    if hint is bytes:
        return st.binary(max_size=20)
    return st.uuids()
