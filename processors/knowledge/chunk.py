"""Cuts a document into chunks, each of which can be found and understood by itself.

Headings begin a piece and stand at the top of every piece of their section. Paragraphs stay whole
where they fit; a longer one is cut at the end of a sentence, else at a space, else where it must
be. Inside a section a piece begins with the end of the one before, so that no thought is cut in two
for both.
"""

import re
from collections.abc import Iterator

CHUNK_CHARS = 800
OVERLAP_CHARS = 100
HEADING_CHARS = 200

_BLANK = re.compile(r"\n[ \t]*\n\s*")
_HEADING = re.compile(r"(#{1,6}[ \t]+\S[^\n]*)(?:\n|$)")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"')\]]?(?=\s)|[。！？]|\n")


def split(text: str) -> list[str]:
    """The pieces of a text in order, each of about CHUNK_CHARS; none for a text of nothing but
    space.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    pieces: list[str] = []
    for heading, paragraphs in _sections(text):
        pieces.extend(_pack(heading, paragraphs))
    return pieces


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    heading, paragraphs = "", []
    for paragraph in filter(None, (part.strip() for part in _BLANK.split(text))):
        while match := _HEADING.match(paragraph):
            if paragraphs:
                yield heading, paragraphs
            heading, paragraphs = match[1].strip(), []
            paragraph = paragraph[match.end() :].strip()
        if paragraph:
            paragraphs.append(paragraph)
    if paragraphs or heading:
        yield heading, paragraphs


def _pack(heading: str, paragraphs: list[str]) -> Iterator[str]:
    if not paragraphs:
        yield heading
        return
    top = f"{heading[:HEADING_CHARS]}\n\n" if heading else ""
    room, held = CHUNK_CHARS - len(top), ""
    for part in (
        part for paragraph in paragraphs for part in _cut(paragraph, room - OVERLAP_CHARS)
    ):
        if held and len(held) + 2 + len(part) > room:
            yield top + held
            tail = _tail(held)
            held = f"{tail}\n\n{part}" if tail else part
        else:
            held = f"{held}\n\n{part}" if held else part
    yield top + held


def _cut(paragraph: str, size: int) -> Iterator[str]:
    at = 0
    while len(paragraph) - at > size:
        window = paragraph[at : at + size]
        ends = [match.end() for match in _SENTENCE_END.finditer(window) if match.end() > size // 3]
        space = window.rfind(" ")
        end = ends[-1] if ends else space if space > size // 3 else size
        yield window[:end].strip()
        at += end
    rest = paragraph[at:].strip()
    if rest:
        yield rest


def _tail(piece: str) -> str:
    """The last sentences of a piece, at most OVERLAP_CHARS; none where the last sentence is
    longer.
    """
    window = piece[-OVERLAP_CHARS:]
    ends = [match.end() for match in _SENTENCE_END.finditer(window) if match.end() < len(window)]
    return window[ends[0] :].strip() if ends else ""
