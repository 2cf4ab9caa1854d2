"""Are a tool call's arguments, as a model wrote them, what the tool's JSON Schema asks for?"""

import json
import re
from functools import lru_cache
from typing import Any

import jsonschema

from processors.text import cut
from schemas.registry import Tool

DETAIL_CHARS = 500
_REMOTE_REFERENCE = re.compile(r'"\$(?:ref|dynamicRef)":\s*"(?!#)')


class Unfit(Exception):
    """The arguments cannot be used; the message tells the model what to change."""


def read_arguments(tool: Tool, arguments: str) -> dict[str, Any]:
    """The arguments as an object that the tool's schema accepts. Raises Unfit."""
    try:
        value = json.loads(arguments or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"the arguments are not valid JSON ({cut(str(error), DETAIL_CHARS)}): write one JSON object"
                    ) from error
    if not isinstance(value, dict):
        raise Unfit(f"the arguments are a JSON {type(value).__name__}: write one JSON object")
    wrong = _first_violation(tool, value)
    if wrong:
        raise Unfit(wrong)
    return value


def schema_error(schema: dict[str, Any]) -> str | None:
    """What is wrong with a JSON Schema itself; None where it can be used."""
    if _REMOTE_REFERENCE.search(json.dumps(schema)):
        return "$ref must point into the schema itself (#/...): nothing is fetched from elsewhere"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{error.json_path}: {cut(error.message, DETAIL_CHARS)}"
    return None


def _first_violation(tool: Tool, value: dict[str, Any]) -> str | None:
    try:
        validator = _validator(json.dumps(tool.parameters, sort_keys=True))
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except Exception as error:  # a schema or a value can make the library raise nearly anything, e.g. on huge numbers
        return f"the arguments could not be checked ({type(error).__name__}: {cut(str(error), DETAIL_CHARS)})"
    return None if error is None else f"{error.json_path}: {cut(error.message, DETAIL_CHARS)}"


@lru_cache(maxsize=1_000)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    made = json.loads(schema)
    wrong = schema_error(made)
    if wrong:
        raise Unfit(f"the tool's schema cannot be used: {wrong}")
    return jsonschema.Draft202012Validator(made)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
