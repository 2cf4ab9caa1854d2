"""Every text in a request, a message or the arguments of a call, and the same with other texts."""

import json
import re
from typing import Any

LONG_NUMBER = 10**11
NESTING_MAX = 100
NOT_TEXT = frozenset({"role", "type", "id", "tool_call_id", "data", "signature", "media_type"})
"""Fields of a message that hold no words: what refers to something else, and encoded bytes."""
ARGUMENTS = "arguments"
NAME = "name"
_BRACKET = re.compile(r"[\[\]{}]")
_NO_NAME_CHAR = re.compile(r"[^A-Za-z0-9_-]")


def read_json(text: str) -> Any:
    """Arguments as JSON; as the plain text they are where a model wrote none, or nests it beyond
    all use.
    """
    if _nesting(text) > NESTING_MAX:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _nesting(text: str) -> int:
    deepest = 0
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def texts_in(value: Any) -> list[str]:
    """Every text in a JSON value, names of fields too, and numbers long enough to be an account."""
    found = []
    queue = [value]
    while queue:
        item = queue.pop()
        if isinstance(item, dict):
            queue += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            queue += item
        elif (text := _text_of(item)) is not None:
            found.append(text)
    return found


def _text_of(item: Any) -> str | None:
    """A text, or a long number as its digits; None for anything else."""
    if isinstance(item, str):
        return item
    if isinstance(item, bool) or not isinstance(item, int | float) or abs(item) < LONG_NUMBER:
        return None
    return str(int(item)) if item == item // 1 else None


def replaced_in(value: Any, changed: dict[str, str]) -> Any:
    """A JSON value with other texts; what is not changed stays as it is."""
    if isinstance(value, dict):
        return {changed.get(name, name): replaced_in(item, changed) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replaced_in(item, changed) for item in value)
    text = _text_of(value)
    return value if text is None or changed[text] == text else changed[text]


def texts_of_message(value: Any, field: str = "") -> list[str]:
    """Every text of a message (`model_dump()`), with those in the arguments of its calls."""
    if field in NOT_TEXT:
        return []
    if field == ARGUMENTS and isinstance(value, str):
        return texts_in(read_json(value))
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in texts_of_message(item, name)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts_of_message(item)]
    return [value] if isinstance(value, str) else []


def replaced_in_message(value: Any, changed: dict[str, str], field: str = "") -> Any:
    """A message with other texts. Names stay names that a provider takes, arguments JSON."""
    if field in NOT_TEXT:
        return value
    if field == ARGUMENTS and isinstance(value, str):
        return replaced_in_arguments(value, changed)
    if isinstance(value, dict):
        return {name: replaced_in_message(item, changed, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replaced_in_message(item, changed) for item in value)
    if not isinstance(value, str) or changed[value] == value:
        return value
    return _NO_NAME_CHAR.sub("_", changed[value]) if field == NAME else changed[value]


def replaced_in_arguments(arguments: str, changed: dict[str, str]) -> str:
    """Arguments byte for byte where nothing was found in them, else written anew."""
    value = read_json(arguments)
    if all(changed[text] == text for text in texts_in(value)):
        return arguments
    new = replaced_in(value, changed)
    return new if value == arguments else json.dumps(new)
