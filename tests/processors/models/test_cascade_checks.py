"""Does a check let pass what it should, and say of the rest what is wrong?"""

from dataclasses import replace

import pytest

from processors.models.cascade_checks import wrong_with
from schemas.definitions.routes import Check
from schemas.events.values import Tokens
from schemas.ports import ChatAnswer
from tests.support.processors import NOON, call

ANSWER = ChatAnswer("cheap", "stub", "", "", (), "stop", Tokens(), NOON, NOON)
SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    ("check", "text", "wrong"),
    [
        (Check(), "", None),
        (Check(min_chars=3), " ab ", "has 2 characters, 3 are asked for"),
        (Check(min_chars=3), "abc", None),
        (Check(max_chars=3), "abcd", "3 are allowed"),
        (Check(contains=("Order",)), "your order is here", None),
        (Check(contains=("order",)), "it is here", "does not contain 'order'"),
        (Check(not_contains=("I cannot",)), "Sorry, i cannot do that", "contains 'I cannot'"),
        (Check(json_schema=SCHEMA), '{"city": "Bern"}', None),
        (Check(json_schema=SCHEMA), '```json\n{"city": "Bern"}\n```', None),
        (Check(json_schema=SCHEMA), '{"city": 3}', "$.city"),
        (Check(json_schema=SCHEMA), "Bern", "is no JSON"),
        (Check(json_schema=SCHEMA), "[" * 100_000, "is no JSON"),
    ],
)
def test_an_answer_in_words(check, text, wrong):
    said = wrong_with(check, replace(ANSWER, content=text))
    assert said is None if wrong is None else wrong in said


def test_a_wish_to_call_a_tool_is_taken_and_an_answer_cut_off_is_not():
    strict = Check(min_chars=100)
    assert (
        wrong_with(
            strict, replace(ANSWER, tool_calls=(call("look", "{}"),), finish_reason="tool_calls")
        )
        is None
    )
    assert "not finished" in wrong_with(
        Check(), replace(ANSWER, content="abc", finish_reason="length")
    )
