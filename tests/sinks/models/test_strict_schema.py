"""Is a provider told only what it can be strict with, and nothing where it could not be?"""

import pytest

from infra.examples.structured.orders import Order
from sinks.models.strict_schema import strict_form

TEXT = {"type": "string"}


def closed(**fields):
    return {
        "type": "object",
        "properties": fields,
        "required": [*fields],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema, form",
    [
        (closed(a=TEXT), closed(a=TEXT)),
        (
            closed(a={"type": "integer", "minimum": 1, "default": 2, "description": "How many"}),
            closed(a={"type": "integer", "description": "How many"}),
        ),
        (closed(minLength=TEXT | {"minLength": 1}), closed(minLength=TEXT)),
        (
            closed(a={"oneOf": [TEXT, {"type": "null"}]}),
            closed(a={"anyOf": [TEXT, {"type": "null"}]}),
        ),
        (
            closed(a={"$ref": "#/$defs/A", "description": "x"}) | {"$defs": {"A": closed(b=TEXT)}},
            closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": closed(b=TEXT)}},
        ),
        (
            closed(a={"type": ["array", "null"], "items": TEXT, "minItems": 1}),
            closed(a={"type": ["array", "null"], "items": TEXT}),
        ),
        (
            closed(a={"enum": ["x", 1]}, b={"const": 2}),
            closed(a={"enum": ["x", 1]}, b={"const": 2}),
        ),
    ],
)
def test_what_a_provider_takes(schema, form):
    assert strict_form(schema) == form


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "array", "items": TEXT},
        {},
        closed(a={}),
        closed(a=True),
        closed(a={"type": "array"}),
        closed(a=TEXT) | {"required": []},
        closed(a={"type": "object", "properties": {"b": TEXT}}),
        {"anyOf": [closed(a=TEXT), closed(b=TEXT)]},
        closed(a={"not": TEXT}),
        closed(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": {}}},
    ],
)
def test_with_what_nobody_can_be_strict(schema):
    assert strict_form(schema) is None


def test_a_pydantic_model_that_forbids_more_is_one():
    form = strict_form(Order.model_json_schema())
    assert form["$defs"]["OrderLine"]["properties"]["pieces"] == {
        "title": "Pieces",
        "type": "integer",
    }


def ref(name):
    return {"$ref": f"#/$defs/{name}"}


PART = closed(name=TEXT, parts={"type": "array", "items": ref("Part")})
TREE = closed(root=ref("Part")) | {"$defs": {"Part": PART}}
OLDER = {"$ref": "#/definitions/X"}


@pytest.mark.parametrize(
    ("schema", "form", "without_circles"),
    [
        (TREE, TREE, None),
        (closed(next={"$ref": "#"}), closed(next={"$ref": "#"}), None),
        (
            closed(a=ref("A")) | {"$defs": {"A": closed(b=ref("B")), "B": closed(a=ref("A"))}},
            closed(a=ref("A")) | {"$defs": {"A": closed(b=ref("B")), "B": closed(a=ref("A"))}},
            None,
        ),
        (closed(a=ref("A")) | {"$defs": {"A": ref("A")}}, None, None),
        (closed(a=ref("A")) | {"$defs": {"A": ref("B"), "B": ref("A")}}, None, None),
        (
            closed(a=OLDER) | {"definitions": {"X": TEXT}},
            closed(a=ref("X")) | {"$defs": {"X": TEXT}},
            closed(a=ref("X")) | {"$defs": {"X": TEXT}},
        ),
        (closed(a=TEXT) | {"$defs": {"Part": PART}}, closed(a=TEXT), closed(a=TEXT)),
        (closed(a=ref("Gone")), None, None),
        (closed(a={"$ref": "#/properties/b"}, b=TEXT), None, None),
        (closed(a={"$ref": "https://x.test/s.json"}), None, None),
    ],
)
def test_references_are_sent_with_what_they_name(schema, form, without_circles):
    assert strict_form(schema) == form
    assert strict_form(schema, circles=False) == without_circles
