"""Does every argument of an operation go where its place says, in OpenAPI's styles, and nowhere
else?
"""

import pytest

from schemas.definitions.tools import ArgumentPlace
from sinks.http import Refusal
from sinks.tools.http import FORM, in_path, placed, with_query

URL = "https://shop/orders/{id}"


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
    assert placed("https://shop/", {"x": value}, there, "") == ({}, "https://shop/" + url, None)


@pytest.mark.parametrize(
    "value, path",
    [("A/1?", "A%2F1%3F"), (["a", "b"], "a%2Cb"), ({"a": 1}, "a%2C1"), (7, "7"), ("...", "...")],
)
def test_a_path(value, path):
    assert placed(URL, {"x": value}, place("path", "id"), "")[1] == f"https://shop/orders/{path}"


@pytest.mark.parametrize("value", ["", ".", "..", []])
def test_a_value_that_would_make_another_address_is_refused(value):
    with pytest.raises(Refusal, match="another address"):
        placed(URL, {"x": value}, place("path", "id"), "")


def test_headers_and_cookies_stay_on_their_line():
    assert placed(URL, {"x": "a\r\nb: c"}, place("header", "X-A"), "")[0] == {"x-a": "a%0D%0Ab: c"}
    assert placed(URL, {"x": "a; b=c"}, place("cookie", "c"), "")[0] == {"cookie": "c=a%3B%20b%3Dc"}


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
    headers, _, content = placed(URL, {"x": value}, there, kind)
    assert (headers["content-type"], content) == (kind, body)


@pytest.mark.parametrize(
    "url, arguments, made, left",
    [
        ("http://x/{id}/y", '{"id": "A/1", "n":  2}', "http://x/A%2F1/y", '{"n": 2}'),
        ("http://x", '{"n":  2}', "http://x", '{"n":  2}'),
        ("http://x/{a}/{b}", '{"a": 1}', "http://x/1/{b}", "{}"),
    ],
)
def test_a_plain_tools_address_takes_arguments_in_braces(url, arguments, made, left):
    assert in_path(url, arguments) == (made, left)


def test_what_stands_in_a_query_stays():
    assert (
        with_query("http://x/y?a=1", [("b", "2")]) == "http://x/y?a=1&b=2"
        and with_query("http://x", []) == "http://x"
    )
