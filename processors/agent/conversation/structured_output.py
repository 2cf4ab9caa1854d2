"""Structured output: whether a model's answer is the JSON that its agent promises.

How the JSON is found in an answer is in `processors/common/model_json.py`. A model whose answer
does not fit reads what is wrong.
"""

import json

from processors.common.json_schema import InvalidValueError, violations
from processors.common.model_json import value_in
from processors.common.text import clean, cut
from schemas.definitions.kinds import Agent

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
    value = value_in(text)
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
