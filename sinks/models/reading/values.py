"""Values of a provider's JSON, read as widely as they can be understood.

Null is the same as left out, a list of parts is the text of its parts, a number may stand where a
name is. What cannot be understood raises TypeError; nothing is guessed.
"""

import json
from typing import Any

THOUGHTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
HIGH_SURROGATES = ("\ud800", "\udbff")


def mapping_of(value: Any) -> dict[str, Any]:
    """A JSON object; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"an object is expected, not {type(value).__name__}")
    return value


def items_of(value: Any) -> list[Any]:
    """A JSON list; null is an empty one, and an object alone is a list of one."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise TypeError(f"a list is expected, not {type(value).__name__}")
    return value


def text_of(value: Any) -> str:
    """A text, or the texts of a list of parts; thoughts among the parts are left out."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(text_of, value))
    if not isinstance(value, dict):
        raise TypeError(f"a text is expected, not {type(value).__name__}")
    if value.get("type") in THOUGHTS:
        return ""
    return text_of(
        next((value[name] for name in ("text", "refusal", "value") if value.get(name)), None)
    )


def name_of(value: Any) -> str:
    """An id or a name as text; a whole number is written out."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"a name is expected, not {type(value).__name__}")
    return str(value)


def index_of(value: Any) -> int | None:
    """The place of a part: a whole number, or its text. None where there is none."""
    try:
        return int(name_of(value))
    except (TypeError, ValueError):
        return None


def arguments_of(value: Any) -> str:
    """The arguments of a call as JSON text, also where they come as an object."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, dict | list):
        raise TypeError(f"arguments are expected, not {type(value).__name__}")
    return json.dumps(value, ensure_ascii=False)


def joined(text: str) -> str:
    """The text with characters whole that came as two escaped halves, in two parts."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_text(text: str) -> str:
    """The text as it can be encoded: halves of characters are joined or replaced."""
    return text if text.isascii() else joined(text)


class TextParts:
    """A text that comes in parts. Half a character waits for its other half."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._half = ""

    def add(self, text: str) -> str:
        """The text that can be shown now."""
        self._parts.append(text)
        text = self._half + text
        self._half = ""
        if text and HIGH_SURROGATES[0] <= text[-1] <= HIGH_SURROGATES[1]:
            self._half = text[-1]
            text = text[:-1]
        return whole_text(text)

    def whole(self) -> str:
        return whole_text("".join(self._parts))
