"""Results and refusals are read in the charset that they declare: one file of the corpus a case."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.common.json_schema import result_error
from schemas.definitions.tools import HttpTarget
from schemas.ports import Failure, ToolAnswer, ToolQuestion
from sinks.charsets import codec_of, text_of
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner

CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "corpus" / "tool_charsets").glob("*.json"))
}


def called(case):
    def reply(_request):
        return httpx.Response(
            case["status"],
            content=bytes.fromhex(case["body_hex"]),
            headers={"content-type": case["type"]},
        )

    http = httpx.AsyncClient(transport=httpx.MockTransport(reply))
    target = HttpTarget(url="http://shop.test/look", method="GET")
    question = ToolQuestion("look", target, "{}", 2_000, 1_000, "pure", "key-1", {})
    return asyncio.run(ToolRunner(ToolContext(http, http), str)(question))


@pytest.mark.parametrize("name", CASES)
def test_a_tool_is_read_in_the_charset_that_it_declares(name):
    case = CASES[name]
    answer = called(case)
    if case["status"] < 300:
        assert isinstance(answer, ToolAnswer)
        assert answer.content == case["right"]
    else:
        assert isinstance(answer, Failure)
        assert answer.detail == case["right"]
    if "json" in case["type"]:
        assert result_error({"type": "object"}, case["right"]) is None


@given(st.binary(max_size=80), st.text(max_size=40))
def test_any_bytes_with_any_content_type_are_a_text(body, content_type):
    text_of(body, content_type)
    text_of(body, f"text/plain; charset={content_type}")
    assert b"".decode(codec_of(content_type)) == ""
