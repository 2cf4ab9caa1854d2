"""The part of a JSON Schema that providers can enforce while a model writes.

Providers support a small part of JSON Schema, and refuse the whole request for one keyword more
(`minimum` with Anthropic, `default` with OpenAI, an object that leaves a field open with both). So
they are sent that part and no more: what is left out here is checked when the answer is there, as
all of it is. A reference is sent where what it names is sent too; a schema that contains itself
only where the provider takes such.
"""

from collections.abc import Mapping
from typing import Any

KEPT = ("type", "enum", "const", "description", "title")
SAYS = ("type", "enum", "const", "anyOf", "$ref")
ROOT = "#"
DEFINITIONS = ("#/$defs/", "#/definitions/")


class NotStrictError(Exception):
    """No provider could enforce this schema."""


def strict_form(schema: dict[str, Any], circles: bool = True) -> dict[str, Any] | None:
    """The schema as providers take it; None where they cannot enforce it, or where it contains
    itself and `circles` are not taken.
    """
    try:
        forms = _Forms({**schema.get("definitions", {}), **schema.get("$defs", {})})
        form = forms.form(schema, ROOT)
        forms.check(circles)
    except (NotStrictError, RecursionError):
        return None
    if forms.used:
        form["$defs"] = forms.used
    return form if form.get("type") == "object" else None


class _Forms:
    """The forms of a schema and of the definitions that it uses, and who refers to whom."""

    def __init__(self, definitions: Mapping[str, Any]):
        self._definitions = definitions
        self._refers: dict[str, set[str]] = {}
        self.used: dict[str, dict[str, Any]] = {}

    def form(self, schema: Any, owner: str) -> dict[str, Any]:
        """The form of a schema that stands in `owner`: in a definition, or in the root."""
        if not isinstance(schema, dict):
            raise NotStrictError("a schema that is true or false")
        if "$ref" in schema:
            return self._reference(schema["$ref"], owner)  # nothing may stand beside it
        form = {key: schema[key] for key in KEPT if key in schema}
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            form["anyOf"] = [self.form(each, owner) for each in choices]
        types = schema.get("type", ())
        if types == "object" or "object" in types or "properties" in schema:
            form |= self._closed(schema, owner)
        if types == "array" or "array" in types:
            if "items" not in schema:
                raise NotStrictError("an array of anything")
            form["items"] = self.form(schema["items"], owner)
        if not any(key in form for key in SAYS):
            raise NotStrictError("anything")
        return form

    def _closed(self, schema: dict[str, Any], owner: str) -> dict[str, Any]:
        """The fields of an object that names and requires all of them."""
        fields = schema.get("properties", {})
        required = set(schema.get("required", ()))
        if schema.get("additionalProperties") is not False or required != set(fields):
            raise NotStrictError("an object that leaves a field open")
        return {
            "properties": {name: self.form(each, owner) for name, each in fields.items()},
            "required": [*fields],
            "additionalProperties": False,
        }

    def _reference(self, reference: Any, owner: str) -> dict[str, Any]:
        """A reference to the root or to a definition, whose form is made with it."""
        name = definition_of(reference)
        self._refers.setdefault(owner, set()).add(name)
        if name == ROOT:
            return {"$ref": ROOT}
        if name not in self._definitions:
            raise NotStrictError("a reference to nowhere")
        if name not in self.used:
            self.used[name] = {}  # it is being made: a definition may contain itself
            self.used[name] = self.form(self._definitions[name], name)
        return {"$ref": f"{DEFINITIONS[0]}{name}"}

    def check(self, circles: bool) -> None:
        """Raises NotStrictError where a definition is nothing but itself, or contains itself and
        may not.
        """
        for name, form in self.used.items():
            if "$ref" in form and self._reaches(definition_of(form["$ref"]), name):
                raise NotStrictError("a definition that is nothing but itself")
        if not circles and any(self._reaches(name, name) for name in (ROOT, *self.used)):
            raise NotStrictError("a schema that contains itself")

    def _reaches(self, start: str, end: str) -> bool:
        """Whether references lead from one definition to another, over one step or more."""
        open_names = [start]
        seen: set[str] = set()
        while open_names:
            for name in self._refers.get(open_names.pop(), ()):
                if name == end:
                    return True
                if name not in seen:
                    seen.add(name)
                    open_names.append(name)
        return False


def definition_of(reference: Any) -> str:
    """The name of the definition that a reference means. Raises NotStrictError for other places."""
    if reference == ROOT:
        return ROOT
    if isinstance(reference, str):
        for prefix in DEFINITIONS:
            name = reference.removeprefix(prefix)
            if name != reference and "/" not in name and "~" not in name and "%" not in name:
                return name
    raise NotStrictError("a reference to another place than the definitions")
