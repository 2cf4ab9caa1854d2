"""The part of a JSON Schema that providers can enforce while a model writes.

Providers support a small part of JSON Schema, and refuse the whole request for one keyword more
(`minimum` with Anthropic, `default` with OpenAI, an object that leaves a field open with both). So
they are sent that part and no more: what is left out here is checked when the answer is there, as
all of it is.
"""

from typing import Any

KEPT = ("type", "enum", "const", "description", "title", "$defs")
SAYS = ("type", "enum", "const", "anyOf", "$ref")


class NotStrictError(Exception):
    """No provider could enforce this schema."""


def strict_form(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema as providers take it; None where they cannot enforce it."""
    try:
        form = _form(schema)
    except (NotStrictError, RecursionError):
        return None
    return form if form.get("type") == "object" else None


def _form(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise NotStrictError("a schema that is true or false")
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}  # nothing may stand beside it
    form = {key: schema[key] for key in KEPT if key in schema}
    if "$defs" in schema:
        form["$defs"] = {name: _form(each) for name, each in schema["$defs"].items()}
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        form["anyOf"] = [_form(each) for each in choices]
    types = schema.get("type", ())
    if types == "object" or "object" in types or "properties" in schema:
        form |= _closed(schema)
    if types == "array" or "array" in types:
        if "items" not in schema:
            raise NotStrictError("an array of anything")
        form["items"] = _form(schema["items"])
    if not any(key in form for key in SAYS):
        raise NotStrictError("anything")
    return form


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object that names and requires all of them."""
    fields = schema.get("properties", {})
    if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(
        fields
    ):
        raise NotStrictError("an object that leaves a field open")
    return {
        "properties": {name: _form(each) for name, each in fields.items()},
        "required": [*fields],
        "additionalProperties": False,
    }
