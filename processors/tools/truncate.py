"""Shortens a tool's result that is longer than a model may see.

Its beginning and its end, with what is missing said between; or, of JSON, its outline, which is
JSON again: lists, texts and objects are cut until it is short enough. Equal results are shortened
equally.
"""

import json
from typing import Any

from processors.common.text import clean
from schemas.definitions.tools import Shorten

OUTLINES = ((100, 4_000), (50, 1_000), (20, 400), (10, 200), (5, 100), (3, 60), (1, 30))
"""How many entries of a list or an object, and how many characters of a text, from generous to
scant.
"""
HEAD_SHARE = 0.7
KEPT, NOT_KEPT = "the whole result is kept outside of this conversation", "the rest is not kept"


def shortened(text: str, way: Shorten, chars_max: int, kept: bool = True) -> str:
    """At most `chars_max` characters of a text, which has more."""
    if way == "outline":
        outline = _outline(text, chars_max)
        if outline is not None:
            return outline
    return _ends(clean(text), chars_max, kept)


def _ends(text: str, chars_max: int, kept: bool) -> str:
    note = (
        f"\n[… {len(text):,} characters in all, of which the middle is left out here; "
        f"{KEPT if kept else NOT_KEPT}. "
        "Ask for less at once to see more of it …]\n"
    )
    room = chars_max - len(note)
    if room < 2:
        return text[:chars_max]
    head = int(room * HEAD_SHARE)
    return text[:head] + note + text[len(text) - (room - head) :]


def _outline(text: str, chars_max: int) -> str | None:
    """The outline of JSON; None of what is none, or has none that is short enough."""
    try:
        value = json.loads(text)
        for entries, chars in OUTLINES:
            found = clean(json.dumps(_cut(value, entries, chars), ensure_ascii=False))
            if len(found) <= chars_max:
                return found
    except (ValueError, RecursionError):
        pass
    return None


def _cut(value: Any, entries: int, chars: int) -> Any:
    if isinstance(value, str) and len(value) > chars:
        return f"{value[:chars]}… ({len(value) - chars:,} more characters)"
    if isinstance(value, list):
        more = [f"… {len(value) - entries:,} more entries"] if len(value) > entries else []
        return [*(_cut(each, entries, chars) for each in value[:entries]), *more]
    if isinstance(value, dict):
        more = {"…": f"{len(value) - entries:,} more entries"} if len(value) > entries else {}
        return {name: _cut(value[name], entries, chars) for name in list(value)[:entries]} | more
    return value
