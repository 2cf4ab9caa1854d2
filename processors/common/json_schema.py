"""Validates JSON that a model wrote, such as the arguments of a tool call, against a JSON Schema."""

import json
import re
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match, relevance

from processors.common.text import cut
from schemas.definitions.kinds import Tool

DETAIL_CHARS = 500
ERRORS_MAX = 50
_REMOTE_REFERENCE = re.compile(r'"\$(?:ref|dynamicRef)":\s*"(?!#)')


class InvalidValueError(Exception):
    """The arguments cannot be used; the message tells the model what to change."""


def read_arguments(tool: Tool, arguments: str) -> dict[str, Any]:
    """The arguments as an object that the tool's schema accepts. Raises InvalidValueError."""
    value = read_json(arguments)
    wrong = violations(tool.parameters, value, most=1)
    if wrong:
        raise InvalidValueError(wrong[0])
    return value


def read_json(arguments: str) -> dict[str, Any]:
    """The arguments as an object, whatever is in it. Raises InvalidValueError."""
    try:
        value = json.loads(arguments or "{}", parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(
            f"the arguments are not valid JSON ({cut(str(error), DETAIL_CHARS)}): write one JSON "
            "object"
        ) from error
    if not isinstance(value, dict):
        raise InvalidValueError(
            f"the arguments are a JSON {type(value).__name__}: write one JSON object"
        )
    return value


def result_error(schema: dict[str, Any], content: str) -> str | None:
    """Where a tool's result breaks the schema that it declares (`returns`); None where it does not.

    Text that is no JSON is a JSON string: a tool that answers in words declares `type: string`.
    """
    try:
        value = json.loads(content, parse_constant=no_constant)
    except (ValueError, RecursionError):
        value = content
    wrong = violations(schema, value, most=1)
    if not wrong or (isinstance(value, int | float) and not violations(schema, content, most=1)):
        return None  # "42" is a number, and is a text
    return f"the result is not what the tool's `returns` says: {wrong[0]}"


def schema_error(schema: dict[str, Any]) -> str | None:
    """What is wrong with a JSON Schema itself; None where it can be used."""
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"it holds what JSON cannot ({cut(str(error), DETAIL_CHARS)}): write a text instead"
    if _REMOTE_REFERENCE.search(text):
        return "$ref must point into the schema itself (#/...): nothing is fetched from elsewhere"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{error.json_path}: {cut(error.message, DETAIL_CHARS)}"
    return None


def violations(schema: dict[str, Any], value: Any, most: int = 5) -> list[str]:
    """How a value breaks a schema, worst first, a sentence each; empty where it fits."""
    try:
        errors = list(
            islice(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value), ERRORS_MAX)
        )
        errors.sort(key=relevance, reverse=True)
        best = best_match(errors)
    except InvalidValueError as unfit:
        return [str(unfit)]
    except Exception as error:  # a schema or a value can make the library raise nearly anything, e.g. on huge numbers
        return [
            f"it could not be checked ({type(error).__name__}: {cut(str(error), DETAIL_CHARS)})"
        ]
    ordered = (
        [best, *(error for error in errors if error is not best and not error.context)]
        if best
        else []
    )
    return [f"{error.json_path}: {_told(error.message)}" for error in ordered[:most]]


def _told(message: str) -> str:
    """The library says first what the value is, which may be long, and then what is wrong with it."""
    if len(message) <= DETAIL_CHARS:
        return message
    return f"{message[: DETAIL_CHARS // 2]} … {message[-DETAIL_CHARS // 2 :]}"


@lru_cache(maxsize=1_000)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    made = json.loads(schema)
    wrong = schema_error(made)
    if wrong:
        raise InvalidValueError(f"the schema cannot be used: {wrong}")
    return jsonschema.Draft202012Validator(made)


def no_constant(name: str) -> None:
    """For JSON as its standard has it, which Python's reader extends by NaN and infinities."""
    raise ValueError(f"{name} is no JSON number")
