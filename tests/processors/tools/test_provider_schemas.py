"""Are tools put into the form that model providers take, and is what they refuse told with its
place?
"""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.common.json_schema import schema_error
from processors.tools.provider_schemas import (
    UnresolvableReferenceError,
    name_error,
    provider_errors,
    renamed,
    written,
)


def obj(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    "loose, strict",
    [
        ({"type": "dict", "properties": {"x": {"type": "float"}}}, obj(x={"type": "number"})),
        (obj(x={"type": "tuple"}), obj(x={"type": "array", "items": {}})),
        (
            obj(x={"type": "list", "items": {"type": "int"}}),
            obj(x={"type": "array", "items": {"type": "integer"}}),
        ),
        (obj(x={"type": "any", "description": "d"}), obj(x={"description": "d"})),
        (obj(x={"type": ["str", "None"]}), obj(x={"type": ["string", "null"]})),
        ({}, obj()),
        ({"properties": {"x": {"type": "bool"}}}, obj(x={"type": "boolean"})),
        (
            obj(x={"type": "string", "optional": True}) | {"required": ["x"]},
            obj(x={"type": "string"}) | {"required": []},
        ),
        (obj(optional={"type": "string"}), obj(optional={"type": "string"})),
        (
            obj(x={"$ref": "#/$defs/a", "description": "d"}) | {"$defs": {"a": {"type": "str"}}},
            obj(x={"type": "string", "description": "d"}),
        ),
        (
            obj(x={"$ref": "#/definitions/t"})
            | {
                "definitions": {
                    "t": {
                        "type": "object",
                        "properties": {
                            "next": {"$ref": "#/definitions/t", "description": "and so on"}
                        },
                    }
                }
            },
            obj(x={"type": "object", "properties": {"next": {"description": "and so on"}}}),
        ),
        (
            obj(
                x={"anyOf": [{"type": "tuple", "prefixItems": [{"type": "int"}]}, {"type": "none"}]}
            ),
            obj(
                x={
                    "anyOf": [
                        {"type": "array", "prefixItems": [{"type": "integer"}], "items": {}},
                        {"type": "null"},
                    ]
                }
            ),
        ),
    ],
)
def test_a_loose_schema_is_written_as_providers_take_it(loose, strict):
    before = json.dumps(loose)
    assert written(loose) == strict and written(strict) == strict
    assert (
        not [*provider_errors(strict)]
        and schema_error(strict) is None
        and json.dumps(loose) == before
    )


@pytest.mark.parametrize(
    "schema, words",
    [
        (obj(x={"$ref": "#/$defs/gone"}), "points at nothing"),
        (obj(x={"$ref": "other.yaml#/a"}), "out of the document"),
        (
            obj(x={"$ref": "#/a"})
            | {
                f"{c}": obj(**{n: {"$ref": f"#/{d}"} for n in "abcdefghij"})
                for c, d in zip("abcde", "bcdef", strict=True)
            }
            | {"f": {}},
            "20,000",
        ),
    ],
)
def test_what_cannot_be_written_is_said(schema, words):
    with pytest.raises(UnresolvableReferenceError, match=words):
        written(schema)


@pytest.mark.parametrize(
    "schema, path, words",
    [
        ({"type": "string"}, ("type",), "one object"),
        (obj() | {"anyOf": []}, ("anyOf",), "two tools"),
        (obj() | {"enum": [{}]}, ("enum",), "enum"),
        (obj(x={"type": ["array", "null"]}), ("properties", "x"), "items"),
        (obj(**{"a b": {}}), ("properties", "a b"), "'a b'"),
        (obj(x=obj(**{"ä": {}})), ("properties", "x", "properties", "ä"), "ä"),
        (obj(x={"items": {"type": "array"}}), ("properties", "x", "items"), "items"),
    ],
)
def test_what_providers_refuse_is_told_with_its_place(schema, path, words):
    [(at, sentence)] = provider_errors(schema)
    assert at == path and words in sentence


def test_arguments_that_providers_refuse_get_other_names():
    schema = obj(**{"año": {}, "ano": {}, "日付": {}, "a[b]": {}, "x" * 70: {}}) | {
        "required": ["año", "ano"]
    }
    made, names = renamed(schema)
    assert names == {"ano_2": "año", "argument": "日付", "a_b": "a[b]", "x" * 60: "x" * 70}
    assert [*made["properties"]] == ["ano_2", "ano", "argument", "a_b", "x" * 60] and made[
        "required"
    ] == ["ano_2", "ano"]
    assert not [*provider_errors(made)] and renamed(made) == (made, {})


def test_names():
    assert name_error("look_up-2") is None
    assert "'math_sqrt'" in name_error("math.sqrt") and "'" + "x" * 64 + "'" in name_error("x" * 65)


NAMES = st.sampled_from(["a", "b c", "ü", "properties", "type", "$ref", "x" * 70])
LOOSE = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                ["dict", "float", "tuple", "any", "string", "int", "array", ["list", "None"]]
            ),
            "description": st.just("d"),
            "optional": st.booleans(),
            "enum": st.just(["a"]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["dict", "tuple"]),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
        },
    ),
    max_leaves=6,
)


@given(LOOSE)
@settings(max_examples=30, deadline=None)
def test_whatever_is_written_is_a_schema_and_is_written_once(loose):
    made = written(loose)
    assert schema_error(made) is None and written(made) == made
    named, names = renamed(made)
    assert len(named.get("properties", {})) == len(made.get("properties", {}))
    assert not [
        path for path, _ in provider_errors(named) if len(path) == 2 and path[0] == "properties"
    ]
    assert {names.get(name, name) for name in named.get("properties", {})} == set(
        made.get("properties", {})
    )


def shape(value, key=""):
    """What the schema of schemas looks at: not the words, not the names."""
    if isinstance(value, dict):
        parts = [
            shape(part, name) if key == "properties" else (name, shape(part, name))
            for name, part in value.items()
        ]
        return tuple(sorted(set(map(repr, parts))))
    return (
        tuple(sorted({shape(part) for part in value}, key=repr))
        if isinstance(value, list)
        else (value if key == "type" else type(value).__name__)
    )


def test_every_single_turn_schema_of_bfcl_is_accepted(shared_data):
    path, shapes = shared_data / "tools" / "bfcl_single_turn.jsonl", {}
    functions = [
        function
        for line in path.read_text().splitlines()
        for function in json.loads(line)["functions"]
    ]
    for function in functions:
        made, _ = renamed(written(function["parameters"]))
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", function["name"])
        assert (name_error(name), [*provider_errors(made)], made["type"]) == (None, [], "object"), (
            function
        )
        shapes.setdefault(shape(made), made)
    assert (
        len(functions) > 4_000
        and [wrong for made in shapes.values() if (wrong := schema_error(made))] == []
    )
