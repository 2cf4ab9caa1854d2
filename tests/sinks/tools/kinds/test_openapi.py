"""Requests of OpenAPI operations: every argument at its place, in its style."""

import pytest

from schemas.definitions.tools import ArgumentPlace, OpenApiTarget
from sinks.http import CallError
from sinks.tools.kinds.openapi import FORM, openapi_request

URL = "https://shop/orders/{id}"


def request_parts(url, arguments, places, body_type):
    target = OpenApiTarget(spec="x", operation="x", url=url, places=places, body_type=body_type)
    made = openapi_request(target, arguments)
    return made.headers, made.url, made.content


def place(where, name="x", style="form", explode=True):
    return {"x": ArgumentPlace(where=where, name=name, style=style, explode=explode)}


@pytest.mark.parametrize(
    "there, value, url",
    [
        (place("query"), "a b&c=ü", "?x=a+b%26c%3D%C3%BC"),
        (place("query"), [1, "b"], "?x=1&x=b"),
        (place("query", explode=False), [1, "b"], "?x=1%2Cb"),
        (place("query"), {"a": 1, "b": True}, "?a=1&b=true"),
        (place("query", explode=False), {"a": 1}, "?x=a%2C1"),
        (place("query", "f[]", "deepObject"), {"a": [1]}, "?f%5B%5D%5Ba%5D=%5B1%5D"),
        (place("query", style="json"), {"a": 1}, "?x=%7B%22a%22%3A+1%7D"),
        (place("query"), None, "?x=null"),
        (place("query"), [], ""),
        (place("query"), "\ud83d", "?x=%3F"),
        ({}, "of no place", ""),
    ],
)
def test_a_query(there, value, url):
    assert request_parts("https://shop/", {"x": value}, there, "") == (
        {},
        "https://shop/" + url,
        None,
    )


@pytest.mark.parametrize(
    "value, path",
    [("A/1?", "A%2F1%3F"), (["a", "b"], "a%2Cb"), ({"a": 1}, "a%2C1"), (7, "7"), ("...", "...")],
)
def test_a_path(value, path):
    assert (
        request_parts(URL, {"x": value}, place("path", "id"), "")[1]
        == f"https://shop/orders/{path}"
    )


@pytest.mark.parametrize("value", ["", ".", "..", []])
def test_a_value_that_would_make_another_address_is_refused(value):
    with pytest.raises(CallError, match="changes the address"):
        request_parts(URL, {"x": value}, place("path", "id"), "")


def test_headers_and_cookies_stay_on_their_line():
    assert request_parts(URL, {"x": "a\r\nb: c"}, place("header", "X-A"), "")[0] == {
        "x-a": "a%0D%0Ab: c"
    }
    assert request_parts(URL, {"x": "a; b=c"}, place("cookie", "c"), "")[0] == {
        "cookie": "c=a%3B%20b%3Dc"
    }


@pytest.mark.parametrize(
    "there, kind, value, body",
    [
        (place("body", "own"), "application/json", [1], b'{"own": [1]}'),
        (place("whole"), "application/json", [1], b"[1]"),
        (place("body", "own"), FORM, "a b", b"own=a+b"),
        (place("whole"), FORM, {"a": 1, "b": [2]}, b"a=1&b=%5B2%5D"),
        (place("query"), "application/json", 1, b"{}"),
        (place("query"), FORM, 1, b""),
    ],
)
def test_a_body(there, kind, value, body):
    headers, _, content = request_parts(URL, {"x": value}, there, kind)
    assert (headers["content-type"], content) == (kind, body)
