"""Where in a text stand secrets, payment cards, bank accounts and e-mail addresses?

Rules with checksums and parsers, so that what they say may block: no scores. All run in time linear to the text.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stdnum import iban, luhn

from processors.credentials import find_credentials

CARD_DIGITS_MIN, CARD_DIGITS_MAX = 12, 19
CARD_RANGES = (  # (first prefix, last prefix, fewest digits, most digits), as assigned to the schemes (ISO/IEC 7812)
    ("4", "4", 13, 19),  # Visa
    ("51", "55", 16, 16), ("2221", "2720", 16, 16),  # Mastercard
    ("34", "34", 15, 15), ("37", "37", 15, 15),  # American Express
    ("300", "305", 14, 19), ("3095", "3095", 14, 19), ("36", "36", 14, 19), ("38", "39", 14, 19),  # Diners Club
    ("6011", "6011", 16, 19), ("644", "659", 16, 19),  # Discover
    ("3528", "3589", 16, 19), ("2131", "2131", 15, 15), ("1800", "1800", 15, 15),  # JCB
    ("62", "62", 16, 19), ("81", "82", 16, 19),  # UnionPay, RuPay
    ("2200", "2204", 16, 19), ("9792", "9792", 16, 16),  # Mir, Troy
    ("50", "50", 12, 19), ("56", "58", 12, 19), ("60", "69", 12, 19),  # Maestro and national schemes
)
IBAN_CHARS_MIN, IBAN_CHARS_MAX = 15, 34
LOCAL_PART_CHARS, DOMAIN_CHARS = 64, 253

_DIGIT_RUN = re.compile(r"(?<![A-Za-z0-9_])[0-9](?:[ .\u00a0-]?[0-9]){11,}+(?![A-Za-z_])")
_DIGIT_GROUP = re.compile(r"[0-9]+")
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_IBAN_CHAR = re.compile(r"[ -]?[A-Za-z0-9]")
_LOCAL_CHARS = re.compile(r"[\w!#$%&'*+/=?^`{|}~.-]*+")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,10}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63})(?![\w@])",
                     re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) are of this category."""

    start: int
    end: int
    category: str


def find_cards(text: str) -> Iterator[Span]:
    """12 to 19 digits that begin as cards do and pass Luhn's check, together or in groups as people write them."""
    for run in _DIGIT_RUN.finditer(text):
        groups = [(run.start() + m.start(), run.start() + m.end()) for m in _DIGIT_GROUP.finditer(run[0])]
        first = 0
        while first < len(groups):
            after = _card_from(text, groups, first)
            if after:
                yield Span(groups[first][0], groups[after - 1][1], "card")
            first = after or first + 1


def _card_from(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The index after the last group of the longest card that begins with group `first`."""
    digits, found, separator = "", None, None
    for i in range(first, len(groups)):
        start, end = groups[i]
        before = text[start - 1] if i > first else None
        if i > first + 1 and before != separator or len(digits) + end - start > CARD_DIGITS_MAX:
            break
        separator = before
        digits += text[start:end]
        if len(digits) >= CARD_DIGITS_MIN and _is_card(digits) and _stands_alone(text, groups, first, i):
            found = i + 1
    return found


def _stands_alone(text: str, groups: list[tuple[int, int]], first: int, last: int) -> bool:
    """Not a piece of a decimal number, and in groups only as cards are: of 4 to 7 digits, but for the last."""
    if first == last:
        start, end = groups[first]
        return text[start - 1:start] != "." and not re.match(r"\.[0-9]", text[end:end + 2])
    sizes = [end - start for start, end in groups[first:last + 1]]
    return all(4 <= size <= 7 for size in sizes[:-1])


def _is_card(digits: str) -> bool:
    in_range = any(low <= digits[:len(low)] <= high and least <= len(digits) <= most
                   for low, high, least, most in CARD_RANGES)
    return in_range and len(set(digits)) > 1 and luhn.is_valid(digits)


def find_ibans(text: str) -> Iterator[Span]:
    """International bank account numbers of a known country's shape whose check digits are right."""
    done = 0
    for begin in _IBAN_START.finditer(text):
        if begin.start() >= done:
            end = _iban_end(text, begin.start(), begin.end())
            if end:
                done = end
                yield Span(begin.start(), end, "iban")


def _iban_end(text: str, start: int, at: int) -> int | None:
    """Where the IBAN that starts here ends: at a length and a word's end where it is valid."""
    chars, found = text[start:at], None
    while len(chars) < IBAN_CHARS_MAX and (more := _IBAN_CHAR.match(text, at)):
        chars, at = chars + more[0][-1], more.end()
        if len(chars) >= IBAN_CHARS_MIN and not text[at:at + 1].isalnum() and _checks(chars) and iban.is_valid(chars):
            found = at
    return found


def _checks(chars: str) -> bool:
    """ISO 7064 mod 97: cheap, so it comes before the country's own rules."""
    return int("".join(str(int(c, 36)) for c in chars[4:] + chars[:4])) % 97 == 1


def find_emails(text: str) -> Iterator[Span]:
    """Addresses by RFC 5321's limits, found outwards from each @ sign."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1, at + 1 + DOMAIN_CHARS)
        local = _local_part(text[max(0, at - LOCAL_PART_CHARS):at]) if domain else ""
        if domain and local:
            yield Span(at - len(local), domain.end(), "email")
        at = text.find("@", at + 1)


def _local_part(before: str) -> str:
    """The longest local part that ends here; empty where none does."""
    local = before[::-1]
    local = local[:_LOCAL_CHARS.match(local).end()][::-1].rsplit("..", 1)[-1].lstrip(".'`{|/=*&?!#$%^")
    return "" if local.endswith(".") else local


def find_secrets(text: str) -> Iterator[Span]:
    """Keys, tokens and passwords; where findings overlap, the longest from the left."""
    end = 0
    for start, stop, name in sorted(find_credentials(text), key=lambda found: (found[0], -found[1])):
        if start >= end:
            end = stop
            yield Span(start, stop, name)


FIND: dict[str, Callable[[str], Iterator[Span]]] = {
    "secret": find_secrets, "card": find_cards, "iban": find_ibans, "email": find_emails,
}
"""What a policy's rule may look for."""


def redact(text: str, spans: list[Span], mark: str) -> str:
    """The text with `[mark]` in place of each span."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at:span.start], f"[{mark}]"]
        at = span.end
    return "".join([*parts, text[at:]])
