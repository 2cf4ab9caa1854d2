"""Does the OpenAPI document say of every route who may ask, what is answered, and how it looks; and
are its examples true?
"""

import json

import pytest

from streams.gateway.otlp.routes import JSON, PROTOBUF

JSON_PROBLEM = "application/problem+json"
BEYOND_KEYS = {"/v1/feedback": 404, "/v1/approvals/{approval}": 404, "/v1/runs/{run}/cancel": 404}
"""Their examples name a run that nobody asked for."""


@pytest.fixture
def document(http):
    return http(lambda client: client.get("/openapi.json")).json()


def operations(document):
    return [
        (path, method, one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]


def example_of(document, content):
    if "example" in content:
        return content["example"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][name].get("examples", [{}])[0]


def test_every_operation_is_described_whole(document):
    assert (
        set(document["components"]["securitySchemes"]) == {"bearer", "key", "tenant"}
        and document["security"]
    )
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, one in operations(document):
        answers = one["responses"]
        assert {"4XX", "429", "500", "503"} <= answers.keys() and set(one["tags"]) <= tags, (
            path,
            method,
        )
        assert one.get("description") or one["summary"], (path, method)
        for status, answer in answers.items():
            assert answer["description"] and answer["content"], (path, method, status)
            for kind, content in answer["content"].items():
                assert content["schema"], (path, method, status, kind)
            if status in ("4XX", "429", "500", "503"):
                assert answer["content"][JSON_PROBLEM]["schema"] == {
                    "$ref": "#/components/schemas/Problem"
                }
        wanted = (
            {"application/json", "text/event-stream"}
            if path in ("/v1/chat/completions", "/v1/responses", "/v1/messages")
            and method == "post"
            else set()
        )
        assert wanted <= answers.get("200", {"content": {}})["content"].keys()


def test_every_example_of_a_body_is_taken(http, document):
    async def send(client):
        found = {}
        for path, method, one in operations(document):
            for kind, content in one.get("requestBody", {}).get("content", {}).items():
                if kind == PROTOBUF or path in ("/v1/traces", "/v1/logs"):
                    continue
                filled = path.format(
                    run="0b9f6bd0-5f4e-4d0c-8a8e-0e3f4f5f2d11",
                    session="s",
                    name="paid",
                    approval="0b9f6bd0-5f4e-4d0c-8a8e-0e3f4f5f2d11",
                )
                headers = {"content-type": kind} | (
                    {
                        "ce-specversion": "1.0",
                        "ce-id": "1",
                        "ce-source": "/x",
                        "ce-type": "AgentRequested",
                    }
                    if path == "/v1/events" and kind == JSON
                    else {}
                )
                body = json.dumps(example_of(document, content))
                found[path, kind] = (
                    await client.request(method, filled, content=body, headers=headers)
                ).status_code
        return found

    found = http(send)
    assert {
        at: status
        for at, status in found.items()
        if status >= 400 and BEYOND_KEYS.get(at[0]) != status
    } == {}
    assert len(found) >= 12


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"]
)
def test_every_example_of_an_answer_looks_like_one(http, document, path):
    one = document["paths"][path]["post"]
    body = example_of(document, one["requestBody"]["content"]["application/json"])
    body.pop("stream", None)
    answered = http(lambda client: client.post(path, json=body)).json()
    shown = one["responses"]["200"]["content"]["application/json"]["example"]
    assert shape(answered) == shape(shown)


def shape(value):
    """What there is, whatever it says. What is null may be left out: FastAPI leaves it out of its
    document.
    """
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items() if each is not None}
    return (
        [shape(value[0])]
        if isinstance(value, list) and value and isinstance(value[0], dict)
        else type(value) is list
    )
