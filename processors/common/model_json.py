"""Reads the JSON that a model writes: behind its thoughts, in a fence, or among words.

A model without a parser in front of it thinks aloud in its answer and tries its JSON out there.
What stands in thoughts is never the answer. One fenced block, or one object among words, is taken
for it; two are not: which one is meant would be a guess.
"""

import json
import re
from typing import Any

from processors.common.json_schema import InvalidValueError, no_constant

STARTS_MAX = 50
"""The most braces of a text that are tried as the beginning of an object."""
FENCED = re.compile(
    r"^[ \t]*```(?:json|JSON)?[ \t]*\r?\n(.*?)^[ \t]*```[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
DECODER = json.JSONDecoder(parse_constant=no_constant)
_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad"
_THOUGHTS = re.compile(rf"\s*<({_NAMES})>(?:.*?</\1>|.*)", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(rf"<(?:{_NAMES})>", re.IGNORECASE)
_CLOSED = re.compile(rf"</(?:{_NAMES})>", re.IGNORECASE)
_FINAL = re.compile(
    r".*<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>", re.DOTALL
)
_FINAL_PLAIN = re.compile(r"\s*analysis.*assistantfinal", re.DOTALL)
_CONTROL = re.compile(r"<\|(?:end|return|start|channel|message)\|>.*", re.DOTALL)


def without_thoughts(text: str) -> str:
    """What a model says behind its thoughts: tags at the beginning, also where the opening one was
    in the prompt, or the channels of open models. Thoughts that never end leave nothing.
    """
    final = _FINAL.match(text) or _FINAL_PLAIN.match(text)
    if final:
        return _CONTROL.sub("", text[final.end() :])
    if text.lstrip().startswith("<|channel|>"):
        return ""
    closed = _CLOSED.search(text)
    if closed and not _OPENED.search(text, 0, closed.start()):
        text = text[closed.end() :]
    while thought := _THOUGHTS.match(text):
        text = text[thought.end() :]
    return text


def value_in(text: str) -> Any:
    """The JSON value of an answer. Raises InvalidValueError where there is not just one."""
    whole, error = _decoded(text)
    if error is None:
        return whole
    said = without_thoughts(text)
    if said != text:
        return value_in(said)
    blocks = FENCED.findall(text)
    if len(blocks) == 1:
        inside, wrong = _decoded(blocks[0])
        if wrong is None:
            return inside
        raise InvalidValueError(f"the JSON in the fenced block is not valid: {wrong}")
    objects = _objects_in(text)
    if len(objects) == 1:
        return objects[0]
    if len(objects) > 1 or blocks:
        count = max(len(objects), len(blocks))
        raise InvalidValueError(f"there are {count} JSON values in the answer: write one")
    raise InvalidValueError(f"the answer is not valid JSON: {error}")


def _decoded(text: str) -> tuple[Any, str | None]:
    try:
        return json.loads(text, parse_constant=no_constant), None
    except (ValueError, RecursionError) as error:
        return None, str(error)


def _objects_in(text: str) -> list[Any]:
    """The objects among the words of a text."""
    found: list[Any] = []
    start = text.find("{")
    for _ in range(STARTS_MAX):
        if start < 0:
            break
        try:
            value, end = DECODER.raw_decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found
