"""Cleans texts and moments that came from outside."""

import json
from datetime import datetime
from typing import Any

LABEL_CHARS = 200
CHARS_A_TOKEN = 4
"""About: where a count is needed before a provider has counted."""


def clean(text: str) -> str:
    """The text without lone surrogates, which JSON may carry and UTF-8 may not."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def label(text: str) -> str:
    """The text as a Label: clean, and no longer than one may be."""
    return clean(text)[:LABEL_CHARS]


def cut(text: str, chars: int) -> str:
    """The text, or its beginning and how much is missing."""
    text = clean(text)
    return (
        text if len(text) <= chars else f"{text[:chars]}… ({len(text) - chars:,} more characters)"
    )


def compact(value: Any) -> str:
    """JSON without spaces, keys in order: equal values give equal texts."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def ms_between(start: datetime, end: datetime) -> int:
    """Whole milliseconds from start to end; 0 where clocks disagree and the end comes first."""
    passed = end - start
    return max(0, (passed.days * 86_400 + passed.seconds) * 1_000 + passed.microseconds // 1_000)
