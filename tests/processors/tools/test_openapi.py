"""Is an operation of an OpenAPI document read whole, and is what cannot be used told with its
place?
"""

import copy
from datetime import UTC, datetime

import jsonschema
import pytest

from processors.tools.openapi import OpenApiError, Spec
from processors.tools.provider_schemas import provider_errors

ORDER = {
    "type": "object",
    "required": ["id", "note", "made"],
    "properties": {
        "id": {"type": "integer", "nullable": True},
        "note": {"type": "string", "example": "x", "x-own": 1},
        "made": {"type": "string", "readOnly": True},
        "parent": {"$ref": "#/components/schemas/Order"},
        "weight": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    },
}
SHOP = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://{env}.shop/api/", "variables": {"env": {"default": "eu"}}}],
    "paths": {
        "/orders/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {"operationId": "order", "description": "One order."},
            "patch": {
                "operationId": "change",
                "summary": "Change it.",
                "parameters": [
                    {
                        "name": "filter[x]",
                        "in": "query",
                        "style": "deepObject",
                        "schema": {"type": "object"},
                    },
                    {
                        "name": "tags",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array"},
                        "description": "Its tags.",
                    },
                    {
                        "name": "where",
                        "in": "query",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    },
                    {
                        "name": "X-Shop",
                        "in": "header",
                        "required": True,
                        "schema": {"enum": ["a", "b"]},
                    },
                    {"name": "Authorization", "in": "header"},
                    {"name": "Idempotency-Key", "in": "header", "required": True},
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/merge-patch+json": {
                            "schema": {"$ref": "#/components/schemas/Order"}
                        }
                    },
                },
            },
        },
        "/notes": {
            "post": {
                "operationId": "note",
                "requestBody": {"content": {"*/*": {"schema": {"type": "array"}}}},
            },
            "put": {
                "operationId": "put",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/x-www-form-urlencoded": {
                            "schema": {
                                "allOf": [
                                    {"$ref": "#/components/schemas/Part"},
                                    {
                                        "type": "object",
                                        "properties": {"b": {"type": "string"}},
                                        "required": ["b"],
                                    },
                                ]
                            }
                        }
                    },
                },
            },
            "get": {
                "operationId": "find",
                "parameters": [{"name": "key", "in": "query", "required": True}],
            },
        },
    },
    "components": {
        "parameters": {
            "Id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        },
        "schemas": {
            "Order": ORDER,
            "Part": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
    },
}


def places(operation):
    return {name: (place.where, place.name) for name, place in operation.places.items()}


def test_parameters_and_body_become_arguments():
    before = copy.deepcopy(SHOP)
    change = Spec(SHOP).operation("change")
    assert (change.method, change.url, change.description, change.body_type) == (
        "PATCH",
        "https://eu.shop/api/orders/{id}",
        "Change it.",
        "application/merge-patch+json",
    )
    assert places(change) == {
        "id": ("path", "id"),
        "filter_x": ("query", "filter[x]"),
        "tags": ("query", "tags"),
        "where": ("query", "where"),
        "X-Shop": ("header", "X-Shop"),
        "id_2": ("body", "id"),
        "note": ("body", "note"),
        "parent": ("body", "parent"),
        "weight": ("body", "weight"),
    }
    assert change.parameters["required"] == ["id", "X-Shop", "id_2", "note"]
    inner = change.parameters["properties"]
    assert inner["tags"] == {"type": "array", "items": {}, "description": "Its tags."}
    assert (inner["id_2"], inner["note"], inner["weight"]) == (
        {"type": ["integer", "null"]},
        {"type": "string"},
        {"type": "number", "exclusiveMinimum": 0},
    )
    assert [change.places[name].style for name in ("filter_x", "where", "tags")] == [
        "deepObject",
        "json",
        "form",
    ]
    assert not change.places["tags"].explode
    assert not [*provider_errors(change.parameters)] and before == SHOP
    jsonschema.Draft202012Validator.check_schema(change.parameters)


def test_of_a_long_description_and_a_summary_the_one_that_providers_take_is_used():
    assert (
        Spec(changed(description="x" * 1025, summary="Short.")).operation("a").description
        == "Short."
    )
    assert (
        Spec(changed(description="Long.", summary="Short.")).operation("a").description == "Long."
    )
    assert len(Spec(changed(description="x" * 1025)).operation("a").description) == 1025


def test_bodies_that_are_no_plain_object_are_one_argument_and_several_plain_ones_are_one():
    note = Spec(SHOP).operation("POST /notes")
    assert places(note) == {"body": ("whole", "body")} and note.body_type == "application/json"
    assert note.parameters["required"] == []
    put = Spec(SHOP).operation("put")
    assert places(put) == {"a": ("body", "a"), "b": ("body", "b")} and put.parameters[
        "required"
    ] == ["b"]


@pytest.mark.parametrize(
    "servers, base, given, url",
    [
        ([{"url": "https://a/v1/"}], "", "", "https://a/v1/notes"),
        ([{"url": "/v2"}], "https://b/x/y.json", "", "https://b/v2/notes"),
        ([{"url": "./v3"}], "https://b/x/y.json", "", "https://b/x/v3/notes"),
        (None, "https://b/x/y.json", "", "https://b/notes"),
        (None, "/home/x.yaml", "https://c/v4/", "https://c/v4/notes"),
    ],
)
def test_where_the_server_is(servers, base, given, url):
    assert Spec(SHOP | {"servers": servers}, base, given).operation("find").url == url


def test_a_second_operation_is_asked_with_the_key():
    assert Spec(SHOP).asked_with_key("order") == "https://eu.shop/api/orders/{key}"
    assert Spec(SHOP).asked_with_key("find") == "https://eu.shop/api/notes?key={key}"
    with pytest.raises(OpenApiError, match="our key alone"):
        Spec(SHOP).asked_with_key("change")


def changed(**operation):
    return SHOP | {"paths": {"/a": {"get": {"operationId": "a", **operation}}}}


@pytest.mark.parametrize(
    "document, words, where",
    [
        ({"swagger": "2.0"}, "Swagger 2.0", ()),
        ([], "no OpenAPI 3", ()),
        ({"openapi": "4.0"}, "no OpenAPI 3", ()),
        (SHOP | {"paths": {}}, "there are: none", ("paths",)),
        (changed(servers=[{"url": "v1"}]), "no whole address", ("servers",)),
        (changed(parameters=[{"name": "x"}]), "`in`", ("paths", "/a", "get", "parameters", 0)),
        (changed(parameters=[7]), "object should stand", ("paths", "/a", "get", "parameters", 0)),
        (
            changed(parameters=[{"$ref": "#/nothing"}]),
            "points at nothing",
            ("paths", "/a", "get", "parameters", 0),
        ),
        (
            changed(parameters=[{"name": "x", "in": "query", "schema": {"$ref": "b.yaml#/x"}}]),
            "out of the document",
            ("paths", "/a", "get", "parameters", 0, "schema"),
        ),
        (
            changed(parameters=[{"name": "x", "in": "path", "style": "matrix"}]),
            "'matrix'",
            ("paths", "/a", "get", "parameters", 0),
        ),
        (
            changed(requestBody={"content": {"multipart/form-data": {}}}),
            "multipart/form-data",
            ("paths", "/a", "get", "requestBody", "content"),
        ),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(document, words, where):
    with pytest.raises(OpenApiError, match=words) as told:
        Spec(document).operation("a")
    assert told.value.where == where


def test_a_date_in_a_yaml_document_does_no_harm():
    seen = Spec(
        changed(
            parameters=[
                {
                    "name": "x",
                    "in": "query",
                    "schema": {"example": datetime(2026, 11, 2, tzinfo=UTC)},
                }
            ]
        )
    ).operation("a")
    assert seen.parameters["properties"] == {"x": {}}
