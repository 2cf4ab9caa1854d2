"""Structured output: whether a model's answer is the JSON that its agent promises.

A model may wrap its JSON: one fenced block, or one object among words, is taken for it. Two are
not: which one is meant would be a guess. A model whose answer does not fit reads what is wrong.
"""

import json
import re
from typing import Any

from processors.common.json_schema import InvalidValueError, no_constant, violations
from processors.common.text import clean, cut
from schemas.definitions.kinds import Agent

STARTS_MAX = 50
"""The most braces of a text that are tried as the beginning of an object."""
FENCED = re.compile(
    r"^[ \t]*```(?:json|JSON)?[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE
)
DECODER = json.JSONDecoder(parse_constant=no_constant)
ERROR_CHARS = 2_000


def schema_text(agent: Agent) -> str:
    """The schema of an agent's answer as it stands in a question; empty where any text will do."""
    return "" if agent.output is None else json.dumps(agent.output, ensure_ascii=False)


def instruction(agent: Agent) -> str:
    """What the prompt says of the answer's form. The same at every step: providers cache by the
    beginning.
    """
    if agent.output is None:
        return ""
    return (
        "\n\nWhen you give your answer, write one JSON value that fits this JSON Schema, "
        "and nothing else:\n" + schema_text(agent)
    )


def read_output(agent: Agent, text: str) -> str:
    """The answer as canonical JSON, or as it is where the agent promises nothing. Raises
    InvalidValueError with what is wrong.
    """
    if agent.output is None:
        return text
    value = _value_in(text)
    wrong = violations(agent.output, value)
    if wrong:
        raise InvalidValueError("\n".join(wrong))
    return clean(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False))


def complaint(unfit: InvalidValueError) -> str:
    """What the model reads of an answer that does not fit."""
    return (
        f"Your answer could not be used:\n{cut(str(unfit), ERROR_CHARS)}\n"
        "Answer again with one JSON value that fits the schema, and nothing else."
    )


def _value_in(text: str) -> Any:
    whole, error = _decoded(text)
    if error is None:
        return whole
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
        raise InvalidValueError(
            f"there are {max(len(objects), len(blocks))} JSON values in the answer: write one"
        )
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
