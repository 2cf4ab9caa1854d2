"""Requests of tools at an address: arguments in paths and queries."""

import pytest

from sinks.tools.kinds.http import in_path, with_query


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
