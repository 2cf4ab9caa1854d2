"""An answer is held to its agent's JSON Schema: taken out of its wrapping and repaired a bounded
number of times, or the run fails.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.agent.conversation.structured_output import read_output
from processors.agent.machine import advance
from processors.agent.state import Idle
from processors.common.json_schema import InvalidValueError
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import RunFinished
from tests.support.processors import AGENT, call, cleared, company, heard, told

SCHEMA = {
    "type": "object",
    "required": ["late", "days"],
    "additionalProperties": False,
    "properties": {"late": {"type": "boolean"}, "days": {"type": "integer", "minimum": 0}},
}
STRICT = AGENT.model_copy(update={"output": SCHEMA})
GIVEN = company(STRICT)
GOOD = '{"days":2,"late":true}'


def play(*events, given=GIVEN):
    session = Idle()
    said = []
    for event in events:
        session, more = advance(session, event, given)
        said += more
    return session, said


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        ' { "late": true,\n"days": 2 } ',
        f"```json\n{GOOD}\n```",
        f"Here:\n\n```\n{GOOD}\n```\nAnything else?",
        f"It is {GOOD}, I think.",
        f"Let {{x}} be it: {GOOD}",
    ],
)
def test_json_is_found_in_its_wrapping_and_written_canonically(text):
    assert read_output(STRICT, text) == GOOD


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Two days late.", "not valid JSON"),
        (f"{GOOD} or {GOOD}", "2 JSON values"),
        ('{"late":true}', "'days' is a required"),
        ('{"late":1,"days":-1,"x":0}', "$.days"),
        ("```json\n{\n```", "fenced block"),
        ("{" * 9_000, "not valid JSON"),
        ("[" * 9_000, "not valid JSON"),
        ('{"late":true,"days":NaN}', "not valid JSON"),
        ("[1]", "not of type 'object'"),
        ('{"late":true,"days":1e999}', "days"),
    ],
)
def test_what_does_not_fit_is_said(text, words):
    with pytest.raises(InvalidValueError) as raised:
        read_output(STRICT, text)
    assert words in str(raised.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_value_comes_back_equal(value):
    anything = AGENT.model_copy(update={"output": {}})
    once = read_output(anything, json.dumps(value))
    assert json.loads(once) == value
    assert read_output(anything, once) == once


def test_the_question_carries_the_schema_and_the_answer_is_canonical():
    _, [asked, finished] = play(cleared(), heard(content=f"```json\n{GOOD}\n```"))
    assert json.loads(asked.output_schema) == SCHEMA
    assert asked.messages[0].content.startswith("Be brief.\n")
    assert asked.output_schema in asked.messages[0].content
    assert (finished.outcome, finished.answer) == ("completed", GOOD)


def test_the_model_is_shown_its_errors_and_may_mend_them():
    _, said = play(cleared(), heard(content='{"late":"yes"}'), heard(step=2, content=GOOD))
    first, second, finished = said
    assert second.messages[: len(first.messages)] == first.messages
    assert [m.role for m in second.messages[-2:]] == ["assistant", "user"]
    assert "'yes' is not of type 'boolean'" in second.messages[-1].content
    assert "'days' is a required property" in second.messages[-1].content
    assert (finished.outcome, finished.answer, finished.model_calls) == ("completed", GOOD, 2)


def test_after_the_last_repair_the_run_fails_and_its_text_is_kept():
    _, said = play(cleared(), *(heard(step=step, content=f"No. {step}") for step in (1, 2, 3)))
    assert [type(event) for event in said] == [ModelAsked, ModelAsked, ModelAsked, RunFinished]
    assert (said[-1].outcome, said[-1].reason, said[-1].answer) == ("failed", "bad_output", "No. 3")
    assert "after 2 repairs" in said[-1].detail


def test_without_repairs_the_first_misfit_fails():
    none = company(STRICT.model_copy(update={"output_repairs": 0}))
    assert play(cleared(), heard(content="?"), given=none)[1][-1].reason == "bad_output"


def test_a_truncated_answer_is_a_failure_even_if_it_fits():
    _, said = play(cleared(), heard(content=GOOD, finish_reason="length"))
    assert (said[-1].outcome, said[-1].reason, said[-1].answer) == ("failed", "truncated", None)


@pytest.mark.parametrize(
    ("content", "outcome", "answer"),
    [(f" {GOOD} ", "completed", GOOD), ("A person takes over.", "failed", "A person takes over.")],
)
def test_a_tool_that_ends_the_run_is_held_to_the_schema_too(content, outcome, answer):
    _, said = play(
        cleared(), heard(calls=(call("hand_over", "{}"),)), told(tool="hand_over", content=content)
    )
    assert (said[-1].outcome, said[-1].answer) == (outcome, answer)
