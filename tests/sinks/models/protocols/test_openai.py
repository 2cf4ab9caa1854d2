"""Does a question become the body that the chat completions protocol wants?"""

import json
from dataclasses import replace

import pytest

from schemas.ports import ChatQuestion, Endpoint
from sinks.models.protocols.openai import request_body


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            True,
        ),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "additionalProperties": False,
            },
            False,
        ),
    ],
)
def test_a_schema_goes_to_a_model_that_knows_them_strictly_where_it_can_be(schema, strict):
    endpoint = Endpoint("m", "openai", "http://m/v1", "u", json_schema=True)
    asked = ChatQuestion(
        (endpoint,), (), (), None, None, 1_000, "k", output_schema=json.dumps(schema)
    )
    body = request_body(endpoint, asked)
    assert body["response_format"]["json_schema"] == {
        "name": "answer",
        "schema": schema,
        "strict": strict,
    }
    assert "response_format" not in request_body(replace(endpoint, json_schema=False), asked)


@pytest.mark.parametrize(
    "schema", [{"type": "array", "items": {"type": "string"}}, {"anyOf": [{"type": "object"}]}, {}]
)
def test_a_schema_of_anything_but_an_object_is_ours_to_check(schema):
    endpoint = Endpoint("m", "openai", "http://m/v1", "u", json_schema=True)
    asked = ChatQuestion(
        (endpoint,), (), (), None, None, 1_000, "k", output_schema=json.dumps(schema)
    )
    assert "response_format" not in request_body(endpoint, asked)
