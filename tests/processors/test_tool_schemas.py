"""Are tools put into the form that model providers take, and is what they refuse told with its place?"""

import json
import re

import jsonschema
import pytest

from processors.arguments import schema_error
from processors.tool_schemas import Unresolvable, name_error, provider_errors, renamed, written


def obj(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize("loose, strict", [
    ({"type": "dict", "properties": {"x": {"type": "float"}}}, obj(x={"type": "number"})),
    (obj(x={"type": "tuple"}), obj(x={"type": "array", "items": {}})),
    (obj(x={"type": "list", "items": {"type": "int"}}), obj(x={"type": "array", "items": {"type": "integer"}})),
    (obj(x={"type": "any", "description": "d"}), obj(x={"description": "d"})),
    (obj(x={"type": ["str", "None"]}), obj(x={"type": ["string", "null"]})),
    ({}, obj()), ({"properties": {"x": {"type": "bool"}}}, obj(x={"type": "boolean"})),
    (obj(x={"type": "string", "optional": True}) | {"required": ["x"]}, obj(x={"type": "string"}) | {"required": []}),
    (obj(optional={"type": "string"}), obj(optional={"type": "string"})),
    (obj(x={"$ref": "#/$defs/a", "description": "d"}) | {"$defs": {"a": {"type": "str"}}},
     obj(x={"type": "string", "description": "d"})),
    (obj(x={"$ref": "#/definitions/t"}) | {"definitions": {"t": {"type": "object", "properties": {
        "next": {"$ref": "#/definitions/t", "description": "and so on"}}}}},
     obj(x={"type": "object", "properties": {"next": {"description": "and so on"}}})),
    (obj(x={"anyOf": [{"type": "tuple", "prefixItems": [{"type": "int"}]}, {"type": "none"}]}),
     obj(x={"anyOf": [{"type": "array", "prefixItems": [{"type": "integer"}], "items": {}}, {"type": "null"}]})),
])
def test_a_loose_schema_is_written_as_providers_take_it(loose, strict):
    before = json.dumps(loose)
    assert written(loose) == strict and written(strict) == strict
    assert not [*provider_errors(strict)] and schema_error(strict) is None and json.dumps(loose) == before


@pytest.mark.parametrize("schema, words", [
    (obj(x={"$ref": "#/$defs/gone"}), "points at nothing"), (obj(x={"$ref": "other.yaml#/a"}), "out of the document"),
    (obj(x={"$ref": "#/a"}) | {f"{c}": obj(**{n: {"$ref": f"#/{d}"} for n in "abcdefghij"})
                               for c, d in zip("abcde", "bcdef", strict=True)} | {"f": {}}, "20,000")])
def test_what_cannot_be_written_is_said(schema, words):
    with pytest.raises(Unresolvable, match=words):
        written(schema)


@pytest.mark.parametrize("schema, path, words", [
    ({"type": "string"}, ("type",), "one object"), (obj() | {"anyOf": []}, ("anyOf",), "two tools"),
    (obj() | {"enum": [{}]}, ("enum",), "enum"), (obj(x={"type": ["array", "null"]}), ("properties", "x"), "items"),
    (obj(**{"a b": {}}), ("properties", "a b"), "'a b'"), (obj(x=obj(**{"ä": {}})), ("properties", "x", "properties", "ä"), "ä"),
    (obj(x={"items": {"type": "array"}}), ("properties", "x", "items"), "items"),
])
def test_what_providers_refuse_is_told_with_its_place(schema, path, words):
    [(at, sentence)] = provider_errors(schema)
    assert at == path and words in sentence


def test_arguments_that_providers_refuse_get_other_names():
    schema = obj(**{"año": {}, "ano": {}, "日付": {}, "a[b]": {}, "x" * 70: {}}) | {"required": ["año", "ano"]}
    made, names = renamed(schema)
    assert names == {"ano_2": "año", "argument": "日付", "a_b": "a[b]", "x" * 60: "x" * 70}
    assert [*made["properties"]] == ["ano_2", "ano", "argument", "a_b", "x" * 60] and made["required"] == ["ano_2", "ano"]
    assert not [*provider_errors(made)] and renamed(made) == (made, {})


def test_names():
    assert name_error("look_up-2") is None
    assert "'math_sqrt'" in name_error("math.sqrt") and "'" + "x" * 64 + "'" in name_error("x" * 65)


def test_every_single_turn_schema_of_bfcl_is_accepted(shared_data):
    path, seen = shared_data / "tools" / "bfcl_single_turn.jsonl", 0
    for line in path.read_text().splitlines():
        for function in json.loads(line)["functions"]:
            name = re.sub(r"[^a-zA-Z0-9_-]", "_", function["name"])
            made, _ = renamed(written(function["parameters"]))
            jsonschema.Draft202012Validator.check_schema(made)
            assert (name_error(name), [*provider_errors(made)]) == (None, []), function
            assert made["type"] == "object"
            seen += 1
    assert seen > 4_000
