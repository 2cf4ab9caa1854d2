"""Keeps secrets out of the texts that come from outside: answers, results and refusals.

Some servers repeat the key that they refuse. Secrets that Weir has resolved are replaced by their
references wherever they stand; what only looks like a key is masked in refusals.
"""

import html
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

CHARS_MIN = 6
"""Shorter secrets are words that occur everywhere."""
KEY_CHARS_MIN = 8
MASK = "[key]"
_VALUE = r"(?=[A-Za-z._~+/-]*[0-9=])[A-Za-z0-9._~+/-]{6,}+=*"
_HEADER = re.compile(
    r"((?:authorization|api[-_ ]?key|access[-_ ]?token)[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
    rf"(?:(?:bearer|basic|token)\s{{1,3}})?){_VALUE}",
    re.IGNORECASE,
)
_SCHEME = re.compile(rf"\b((?:bearer|basic)\s{{1,3}}){_VALUE}", re.IGNORECASE)
_SHAPE = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:sk|pk|rk|gsk|xai|pplx|nvapi|hf|ghp|gho|glpat|xox[abp])[-_](?=[A-Za-z_*-]*[0-9])[\w*-]{8,}+"
    r"|AIza[\w-]{30,}+|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|eyJ[\w-]{10,}+\.eyJ[\w-]{10,}+\.[\w-]{10,}+)"
)


def without_keys(text: str) -> str:
    """The text with a mask for what looks like a key or the value of a header that carries one."""
    for pattern in (_HEADER, _SCHEME):
        text = pattern.sub(rf"\1{MASK}", text)
    return _SHAPE.sub(MASK, text)


class KnownSecrets:
    """Resolves references to secrets and remembers every form in which each may be repeated.

    One for all ports of a process: what a tool says may repeat the key of a model.
    """

    def __init__(self, secret: Callable[[str], str]):
        self._secret = secret
        self.references: dict[str, str] = {}

    def __call__(self, reference: str) -> str:
        value = self._secret(reference)
        for form in (value, json.dumps(value)[1:-1], quote(value, safe=""), html.escape(value)):
            if len(value) >= CHARS_MIN:
                self.references[form] = reference
        return value


class SecretRedactor:
    """Resolves the references of one call, and replaces its secrets by their references in texts,
    with all others that are known and no ordinary words.
    """

    def __init__(self, secret: Callable[[str], str]):
        self._known = secret if isinstance(secret, KnownSecrets) else KnownSecrets(secret)
        self._own: set[str] = set()

    def __call__(self, reference: str) -> str:
        self._own.add(reference)
        return self._known(reference)

    def redact(self, text: str) -> str:
        """The text without the secrets that were resolved. Longer ones go first: one may contain
        another.
        """
        for value, reference in self._longest_first():
            text = text.replace(value, reference)
        return text

    def redact_refusal(self, text: str) -> str:
        """The text of an error: also without the most of a secret that was cut or masked in part,
        and without what looks like a key.
        """
        text = self.redact(text)
        for value, reference in self._longest_first():
            text = without_beginning(text, value, reference)
        return without_keys(text)

    def redact_answer(self, value: Any) -> Any:
        """A model's answer, of texts, lists, mappings and models, without the secrets. One that is
        an ordinary word (`ollama`) stays: it may be what the answer is about.
        """
        return _replaced(value, [pair for pair in self._longest_first() if is_key(pair[0])])

    def listener(self, on_text: Callable[[str, bool], None]) -> Callable[[str, bool], None]:
        """Passes text on without the secrets, also those that come in several parts: what may be
        the beginning of one waits for the next part.
        """
        keys = [pair for pair in self._longest_first() if is_key(pair[0])]
        if not keys:
            return on_text
        waiting = ""

        def pass_on(text: str, last: bool) -> None:
            nonlocal waiting
            text = _in_text(waiting + text, keys)
            held = 0 if last else max(_begun(text, value) for value, _ in keys)
            waiting = text[len(text) - held :]
            if last or len(text) > held:
                on_text(text[: len(text) - held], last)

        return pass_on

    def _longest_first(self) -> list[tuple[str, str]]:
        mine = [
            (value, reference)
            for value, reference in self._known.references.items()
            if reference in self._own or is_key(value)
        ]
        return sorted(mine, key=lambda item: -len(item[0]))


def is_key(value: str) -> bool:
    """Whether a secret can be told from an ordinary word."""
    return len(value) >= KEY_CHARS_MIN and any(char.isdigit() for char in value)


def without_beginning(text: str, value: str, reference: str) -> str:
    """The text with the reference in place of beginnings of a secret, half of it or longer."""
    least = max(KEY_CHARS_MIN, len(value) // 2)
    beginning = value[:least]
    at = text.find(beginning) if len(value) > least else -1
    while at >= 0:
        end = at + least
        while end < len(text) and end - at < len(value) and text[end] == value[end - at]:
            end += 1
        text = text[:at] + reference + text[end:]
        at = text.find(beginning, at + len(reference))
    return text


def _begun(text: str, value: str) -> int:
    """How many characters at the end of a text are the beginning of a secret."""
    longest = min(len(text), len(value) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(value[:n])), 0)


def _in_text(text: str, keys: list[tuple[str, str]]) -> str:
    for value, reference in keys:
        text = text.replace(value, reference)
    return text


def _replaced(value: Any, keys: list[tuple[str, str]]) -> Any:
    """A value with the same shape; the very same one where no secret is in it."""
    if isinstance(value, str):
        return _in_text(value, keys)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, keys) for item in value)
    if isinstance(value, dict):
        return {name: _replaced(item, keys) for name, item in value.items()}
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: _replaced(field, keys) for name, field in fields.items()}
        return value if changed == fields else value.model_copy(update=changed)
    return value
