"""Finds secrets, payment cards, bank accounts and e-mail addresses in a text.

Rules with checksums and parsers, so that what they say may block: no scores. All run in time linear
to the text.
"""

import re
from collections.abc import Iterator

from stdnum import iban, luhn

from processors.guardrails.credentials import find_credentials
from processors.guardrails.folding import Find, Span, is_latin, over_folded

CARD_DIGITS_MIN, CARD_DIGITS_MAX = 12, 19
# (first prefix, last prefix, fewest digits, most digits), as assigned to the schemes (ISO/IEC 7812)
CARD_RANGES = (
    ("4", "4", 13, 19),  # Visa
    ("51", "55", 16, 16),
    ("2221", "2720", 16, 16),  # Mastercard
    ("34", "34", 15, 15),
    ("37", "37", 15, 15),  # American Express
    ("300", "305", 14, 19),
    ("3095", "3095", 14, 19),
    ("36", "36", 14, 19),
    ("38", "39", 14, 19),  # Diners Club
    ("6011", "6011", 16, 19),
    ("644", "659", 16, 19),  # Discover
    ("35", "35", 16, 19),
    ("2131", "2131", 15, 15),
    ("1800", "1800", 15, 15),  # JCB, RuPay
    ("62", "62", 16, 19),
    ("81", "82", 16, 19),  # UnionPay
    ("2200", "2204", 16, 19),
    ("9792", "9792", 16, 16),  # Mir, Troy
    ("50", "50", 12, 19),
    ("56", "58", 12, 19),
    ("60", "69", 12, 19),  # Maestro and national schemes
)
IBAN_CHARS = {  # by country (ISO 13616)
    country: chars
    for chars, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
LOCAL_PART_CHARS, DOMAIN_CHARS = 64, 253

# These begin with the rare character itself: what stands before it is looked at afterwards, which
# is 20 times faster.
_DIGIT_RUN = re.compile(r"[0-9](?:[ .-]?[0-9]){11,}+")
_DIGIT_GROUP = re.compile(r"[0-9]+")
_DIGITS = re.compile(r"[0-9]{2,}+")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_IBAN_CHAR = re.compile(r"[ -]?[A-Za-z0-9]")
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
# without =?/&, which part addresses from what is around them
_LOCAL_CHARS = re.compile(r"[\w!#$%'*+^`{|}~.-]*+")
_LATIN_LOCAL_CHARS = re.compile(rf"[{_LATIN}0-9_!#$%'*+^`{{|}}~.-]*+")
_LATIN_LETTER = re.compile(f"[{_LATIN}]")
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,10}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63})(?![\w@])",
    re.IGNORECASE,
)
_LATIN_DOMAIN = re.compile(
    rf"(?:[{_LATIN}0-9](?:[{_LATIN}0-9-]{{0,61}}[{_LATIN}0-9])?\.){{1,10}}"
    rf"(?:xn--[a-z0-9-]{{2,59}}|[{_LATIN}]{{2,63}})(?![{_LATIN}0-9_@])",
    re.IGNORECASE,
)
"""An address in Latin letters ends where another script begins: it writes without spaces."""


def find_cards(text: str) -> Iterator[Span]:
    """12 to 19 digits that begin as cards do and pass Luhn's check, together or in groups as people
    write them.
    """
    for run in _DIGIT_RUN.finditer(text):
        if _in_a_word(text, run.start(), run.end()):
            continue
        groups = [
            (run.start() + m.start(), run.start() + m.end()) for m in _DIGIT_GROUP.finditer(run[0])
        ]
        first = 0
        while first < len(groups):
            after = _card_from(text, groups, first)
            if after:
                yield Span(groups[first][0], groups[after - 1][1], "card")
            first = after or first + 1


def _in_a_word(text: str, start: int, end: int) -> bool:
    """Whether Latin letters go on before or after: other scripts write a number next to a word."""
    return any(is_latin(char) or char == "_" for char in text[max(0, start - 1) : start]) or any(
        is_latin(char) or char == "_" for char in text[end : end + 1]
    )


def _card_from(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The index after the last group of the longest card that begins with group `first`.

    In groups, all but the last have 4 to 7 digits, and one character parts them all; alone, a card
    is no piece of a decimal number.
    """
    digits, found = "", None
    for i in range(first, len(groups)):
        start, end = groups[i]
        digits += text[start:end]
        if (
            len(digits) > CARD_DIGITS_MAX
            or text[start - 1] != text[groups[min(first + 1, i)][0] - 1]
        ):
            break
        if (
            len(digits) >= CARD_DIGITS_MIN
            and (i > first or not _is_decimal(text, start, end))
            and _is_card(digits)
        ):
            found = i + 1
        if not 4 <= end - start <= 7:
            break
    return found


def _is_decimal(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start] == "." or (
        text[end : end + 1] == "." and text[end + 1 : end + 2].isdigit()
    )


def _is_card(digits: str) -> bool:
    in_range = any(
        low <= digits[: len(low)] <= high and least <= len(digits) <= most
        for low, high, least, most in CARD_RANGES
    )
    return in_range and len(set(digits)) > 1 and luhn.is_valid(digits)


def find_ibans(text: str) -> Iterator[Span]:
    """International bank account numbers: of a known country's length and shape, with the right
    check digits.
    """
    done = 0
    for check_digits in _DIGITS.finditer(text):
        start = check_digits.start() - 2
        if (
            start >= done
            and _COUNTRY.fullmatch(text, start, start + 2)
            and not _goes_on(text, start - 1)
        ):
            end = _iban_end(text, start)
            if end:
                done = end
                yield Span(start, end, "iban")


def _iban_end(text: str, start: int) -> int | None:
    """Where the IBAN that starts here ends; None where there is none."""
    missing = IBAN_CHARS.get(text[start : start + 2].upper(), 0) - 4
    chars, at = text[start : start + 4], start + 4
    while missing > 0 and (more := _IBAN_CHAR.match(text, at)):
        chars, at, missing = chars + more[0][-1], more.end(), missing - 1
    ends_here = missing == 0 and not _goes_on(text, at)
    return at if ends_here and iban.is_valid(chars, check_country=False) else None


def _goes_on(text: str, at: int) -> bool:
    """Whether a Latin letter or a digit stands here."""
    return 0 <= at < len(text) and is_latin(text[at])


def find_emails(text: str) -> Iterator[Span]:
    """Addresses by RFC 5321's limits, found outwards from each @ sign."""
    at = text.find("@")
    while at >= 0:
        end = at + 1 + DOMAIN_CHARS
        domain = _LATIN_DOMAIN.match(text, at + 1, end) or _DOMAIN.match(text, at + 1, end)
        local = _local_part(text[max(0, at - LOCAL_PART_CHARS) : at]) if domain else ""
        if domain and local:
            yield Span(at - len(local), domain.end(), "email")
        at = text.find("@", at + 1)


def _local_part(before: str) -> str:
    """The longest local part that ends here; empty where none does."""
    reversed_text = before[::-1]
    found = _LATIN_LOCAL_CHARS.match(reversed_text)
    if found is None or not _LATIN_LETTER.search(found[0]):
        found = _LOCAL_CHARS.match(reversed_text)
    local = found[0][::-1] if found else ""
    local = local.rsplit("..", 1)[-1].lstrip(".'`{|/=*&?!#$%^")
    return "" if local.endswith(".") else local


def find_secrets(text: str) -> Iterator[Span]:
    """Keys, tokens and passwords; where findings overlap, the longest from the left."""
    end = 0
    for start, stop, name in sorted(
        find_credentials(text), key=lambda found: (found[0], -found[1])
    ):
        if start >= end:
            end = stop
            yield Span(start, stop, name)


FIND: dict[str, Find] = {
    "secret": over_folded(find_secrets),
    "card": over_folded(find_cards),
    "iban": over_folded(find_ibans),
    "email": over_folded(find_emails),
}
"""What a policy's rule may look for."""


def redact(text: str, spans: list[Span], mark: str) -> str:
    """The text with `[mark]` in place of each span."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], f"[{mark}]"]
        at = span.end
    return "".join([*parts, text[at:]])
