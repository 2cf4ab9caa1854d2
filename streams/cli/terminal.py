"""Consoles that show texts as they are: nothing in them is markup, an emoji's name or an escape
sequence.

Most of what the commands print comes from outside: answers of models, results of tools, names. Only
what is styled in code has a style.
"""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

REPLACED = "\N{REPLACEMENT CHARACTER}"
PICTURES = 0x2400
"""The first of Unicode's pictures of the control characters, which are in their order."""
VISIBLE = (
    {code: chr(PICTURES + code) for code in range(0x20) if chr(code) not in "\n\t"}
    | {0x7F: "\N{SYMBOL FOR DELETE}"}
    | dict.fromkeys(range(0x80, 0xA0), REPLACED)
    | dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), REPLACED)
    | dict.fromkeys((0x2028, 0x2029), "\n")
)
"""Control characters, and those that turn the direction of writing round."""


def visible(text: str) -> str:
    """The text with pictures of the characters that a terminal would obey."""
    return text.replace("\r\n", "\n").translate(VISIBLE)


class PlainConsole(Console):
    """A console for foreign texts."""

    def __init__(self, **options: Any):
        super().__init__(**options, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """A text that was given as such, in a table too: its width is that of what is shown."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """All that is printed, also what is styled already."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else visible(segment.text)
            yield segment if shown == segment.text else Segment(shown, segment.style)
