"""A model's JSON is read the same way as an answer, in a check, in a plan and in a critique."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.agent.plan_and_critique import _object_in, _steps
from processors.common.json_schema import InvalidValueError
from processors.common.model_json import value_in, without_thoughts
from processors.models.cascade_checks import wrong_with
from schemas.definitions.routes import Check
from schemas.events.values import Tokens
from schemas.ports import ChatAnswer
from tests.support.corpus import cases
from tests.support.processors import at

SCHEMA = {"type": "object", "required": ["sku", "count"]}


def answer(text: str) -> ChatAnswer:
    return ChatAnswer("m", "p", "", text, (), "stop", Tokens(), at(0), at(1))


@pytest.mark.parametrize("case", cases("model_json"))
def test_the_value_of_an_answer(case: dict[str, Any]) -> None:
    text = case["input"]
    if case["value"] is None:
        with pytest.raises(InvalidValueError):
            value_in(text)
    else:
        assert value_in(text) == case["value"]
    assert _object_in(text) == case["value"]
    passes = wrong_with(Check(json_schema=SCHEMA), answer(text)) is None
    assert passes == (case["value"] is not None)


def test_plans_and_failures_stand_behind_thoughts() -> None:
    assert _steps('<think>maybe {x}</think>{"steps": ["a"]}', 3) == (("a",), "")
    assert without_thoughts("<think>hm</think>\nFAILED: no stock").lstrip() == "FAILED: no stock"


@given(text=st.text(max_size=80))
def test_a_text_without_tags_stays_as_it_is(text: str) -> None:
    if "<" not in text and not text.lstrip().startswith("analysis"):
        assert without_thoughts(text) == text
