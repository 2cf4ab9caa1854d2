"""The story of a run names causes, people and costs."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from processors.agent.conversation.messages import NOT_CALLED, error_result, tool_says, user_says
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import ToolReturned
from schemas.events.values import Body, Message
from streams.cli.runs import run_story

OF_RUN = {
    "id": UUID(int=1),
    "at": datetime(2026, 5, 4, tzinfo=UTC),
    "tenant": "acme",
    "session": "s",
    "run": UUID(int=2),
    "agent": "a",
    "step": 2,
}
TURN = Message(role="assistant")
NO_TOOL, TOO_MANY = (
    error_result(NOT_CALLED, words)
    for words in ("there is no tool of this name", "$.n: 9 is too many")
)


@pytest.mark.parametrize(
    "messages, line",
    [
        (
            (
                user_says("Go"),
                TURN,
                tool_says("c1", "look", "found"),
                tool_says("c2", "fly", NO_TOOL),
                tool_says("c3", "add", TOO_MANY),
            ),
            "not called fly: there is no tool of this name; not called add: $.n: 9 is too many",
        ),
        ((TURN, tool_says("c1", "fly", NO_TOOL), TURN, tool_says("c2", "look", "found")), None),
        ((tool_says("c1", "look", error_result("http_500", "no")),), None),
        ((tool_says("c1", "look", '{"error": "not_called", "detail": '),), None),
        ((), None),
    ],
)
def test_a_wish_that_was_not_granted(messages, line):
    assert run_story.line(ModelAsked(**OF_RUN, model="m", messages=messages)) == line


def test_a_result_of_which_the_model_sees_a_part():
    whole = Body(key="tenant=acme/ab/abcd", bytes=20_000_000, sha256="abcd")
    event = ToolReturned(
        **OF_RUN, call="c1", tool="look", started_at=OF_RUN["at"], content="rows", whole=whole
    )
    assert (
        run_story.line(event)
        == "result     look in 0 ms: rows (20,000,000 bytes in all, kept as tenant=acme/ab/abcd)"
    )
