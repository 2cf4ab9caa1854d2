"""Derives the JSON Schema of an agent's structured output from a pydantic type.

An agent's `output` may name a type, as `shop.orders:Refund`. It is imported when the definition is
read, and its schema is published: workers import nothing for it. Any type that pydantic can
validate is possible. Checks in the type's own code are not part of a schema.
"""

import importlib
import re
from typing import Any

from pydantic import TypeAdapter

from processors.common.json_schema import schema_error
from schemas.definitions.tools import ENTRY
from streams.config import names_in, settings


class OutputModelError(Exception):
    """Why there is no schema, and what to do."""


def with_schema(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an agent's file with the schema in place of the name of a class. Raises
    OutputModelError.
    """
    named = fields.get("output")
    return fields if not isinstance(named, str) else fields | {"output": schema_of(named)}


def schema_of(named: str) -> dict[str, Any]:
    """The schema of the type that `module:Class` names. Raises OutputModelError."""
    if not re.match(ENTRY, named):
        raise OutputModelError(
            f"output {named!r} is neither a JSON Schema nor a module:Class: write one of them"
        )
    module, _, name = named.partition(":")
    if not any(
        module == allowed or module.startswith(f"{allowed}.")
        for allowed in names_in(settings().python_tools)
    ):
        raise OutputModelError(
            f"{module} is not in the setting python_tools, so nothing of it is imported: add it, "
            "or a package "
            "above it, to WEIR_PYTHON_TOOLS here"
        )
    try:
        schema = TypeAdapter(getattr(importlib.import_module(module), name)).json_schema()
    except Exception as error:  # a module may raise anything when it is imported
        raise OutputModelError(
            f"output {named} has no schema ({type(error).__name__}: {error}): correct the name, "
            "or the class"
        ) from error
    wrong = schema_error(schema)
    if wrong:
        raise OutputModelError(f"output {named} has a schema that cannot be used: {wrong}")
    return schema
