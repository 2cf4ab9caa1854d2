"""Texts of any script, folded for the detectors: digits, signs and spaces in their ASCII forms.

Full-width letters, digits of other scripts, typographic spaces and dashes stand for the ASCII
characters that a rule looks for; characters of no width are left out. What is found is given back
with its place in the text as it was.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SPACES = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000"
)
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
DOTS = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u30fb\uff65"
SIGNS = dict.fromkeys(SPACES, " ") | dict.fromkeys(DASHES, "-") | dict.fromkeys(DOTS, ".")
FULL_WIDTH_FIRST = 0xFF01
FULL_WIDTH_LAST = 0xFF5E
FULL_WIDTH_OFFSET = 0xFEE0


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) are of this category."""

    start: int
    end: int
    category: str


Find = Callable[[str], Iterator[Span]]


def fold(char: str) -> str:
    """The ASCII form of a character; empty for one of no width, itself where there is none."""
    if FULL_WIDTH_FIRST <= ord(char) <= FULL_WIDTH_LAST:
        return chr(ord(char) - FULL_WIDTH_OFFSET)
    if char in SIGNS:
        return SIGNS[char]
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    return "" if unicodedata.category(char) == "Cf" else char


def over_folded(find: Find) -> Find:
    """A detector that looks at the folded text."""

    def found(text: str) -> Iterator[Span]:
        if text.isascii():
            yield from find(text)
            return
        forms = {char: fold(char) for char in set(text)}
        places = [place for place, char in enumerate(text) if forms[char]]
        for span in find("".join([forms[char] for char in text])):
            yield Span(places[span.start], places[span.end - 1] + 1, span.category)

    return found


def is_latin(char: str) -> bool:
    """Whether a character goes on with a word in Latin letters. Scripts that part no words by
    spaces, and others, end it.
    """
    if char.isascii():
        return char.isalnum()
    return char.isalpha() and unicodedata.name(char, "").startswith("LATIN")
