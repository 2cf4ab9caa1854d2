"""Checks whether a cheap model's answer is good enough, or the next of the cascade is called."""

from typing import Any

from processors.common.json_schema import InvalidValueError, violations
from processors.common.model_json import value_in
from processors.common.text import cut
from schemas.definitions.routes import Check
from schemas.ports import ChatAnswer

UNFINISHED = ("length", "content_filter")
PART_CHARS = 80


def wrong_with(check: Check, answer: ChatAnswer) -> str | None:
    """A sentence on why the answer does not stand the check; None where it does.

    An answer cut off never stands it; one that calls tools always does, for its words are yet to
    come.
    """
    if answer.finish_reason in UNFINISHED:
        return f"the answer is not finished ({answer.finish_reason})"
    if answer.tool_calls:
        return None
    text = answer.content or ""
    if len(text.strip()) < check.min_chars:
        return f"the answer has {len(text.strip())} characters, {check.min_chars} are asked for"
    if check.max_chars is not None and len(text) > check.max_chars:
        return f"the answer has {len(text)} characters, {check.max_chars} are allowed"
    folded = text.casefold()
    for part in check.contains:
        if part.casefold() not in folded:
            return f"the answer does not contain {cut(part, PART_CHARS)!r}"
    for part in check.not_contains:
        if part.casefold() in folded:
            return f"the answer contains {cut(part, PART_CHARS)!r}"
    return None if check.json_schema is None else _no_json(check.json_schema, text)


def _no_json(schema: dict[str, Any], text: str) -> str | None:
    try:
        value = value_in(text)
    except InvalidValueError as error:
        return f"the answer is no JSON ({cut(str(error), PART_CHARS)})"
    return next(iter(violations(schema, value, most=1)), None)
