"""A pydantic model is an agent's structured output, from its file to the answer."""

import pytest

from infra.examples.structured.orders import Order
from schemas.definitions.kinds import Agent
from schemas.events.agent.models import ModelAsked
from streams.config import settings
from streams.definitions import output_models
from streams.definitions.folder import DefinitionsError, definition_in
from tests.support.examples import ends, playing, questions


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setattr(
        output_models,
        "settings",
        lambda: settings().model_copy(update={"python_tools": "infra.examples"}),
    )


def test_an_answer_that_breaks_the_model_is_mended_by_what_is_said_of_it():
    with playing("structured") as (_, ask):
        said = ask("Two SH-200 by courier, Ada", "reader")
    [end] = ends(said)
    assert (end.outcome, end.model_calls) == ("completed", 2)
    assert Order.model_validate_json(end.answer).lines[0].pieces == 2
    complaint = questions(said)[1].messages[-1].content
    assert "$.lines[0].pieces: 0 is less than the minimum of 1" in complaint


@pytest.mark.parametrize(
    "agent, text, reason, answer",
    [
        ("rusher", "urgent: three SH-200", "bad_output", "It is for Grace, and it is urgent."),
        ("talker", "Hello", "truncated", None),
    ],
)
def test_what_does_not_fit_in_the_end_is_a_failure(agent, text, reason, answer):
    with playing("structured") as (_, ask):
        said = ask(text, agent)
    [end] = ends(said)
    assert (end.outcome, end.reason, end.answer) == ("failed", reason, answer)
    assert sum(isinstance(event, ModelAsked) for event in said) == 1 + (agent == "rusher")


@pytest.mark.parametrize(
    "named, words",
    [
        ("infra.examples.structured.orders:Ordre", "has no attribute 'Ordre'"),
        ("infra.examples.nothing:Order", "No module named"),
        ("shop:Order", "not in the setting python_tools"),
        ("an order", "neither a JSON Schema nor a module:Class"),
        ("infra.examples.structured.orders:Field", "has no schema"),
    ],
)
def test_what_names_no_model_is_told_with_its_line(tmp_path, named, words):
    (file := tmp_path / "reader.yaml").write_text(
        f"prompt: Read.\nmodel: small\noutput: {named!r}\n"
    )
    with pytest.raises(DefinitionsError, match=rf"reader.yaml, line 3: .*{words}"):
        definition_in(file, "agent")


def test_what_a_definition_publishes_is_the_schema(tmp_path):
    (file := tmp_path / "reader.yaml").write_text(
        "prompt: Read.\nmodel: small\noutput: infra.examples.structured.orders:Order\n"
    )
    assert definition_in(file, "agent") == Agent(
        name="reader", prompt="Read.", model="small", output=Order.model_json_schema()
    )
