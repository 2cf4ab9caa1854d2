"""Tools of every kind serve one agent, in the example `infra/examples/warehouse`."""

import sys

import pytest

from schemas.definitions.tools import McpServer
from schemas.events.agent.runs import ToolFailed, ToolReturned
from sinks.tools.kinds.mcp import McpTools
from sinks.tools.kinds.python import PythonTools
from streams.definitions import folder
from tests.support.examples import FOLDER, ends, playing

VOLUMES = McpServer(command=(sys.executable, str(FOLDER / "warehouse" / "volumes.py")))


@pytest.fixture
def more():
    return {"python": PythonTools(("infra.examples",)), "mcp": McpTools((sys.executable,))}


def heard(events):
    return {
        event.tool: event.content if isinstance(event, ToolReturned) else event.reason
        for event in events
        if isinstance(event, ToolReturned | ToolFailed)
    }


@pytest.mark.parametrize(
    "text, shelf, courier, answer",
    [
        (
            "Where is SH-200? And a courier for W-1",
            '{"shelf":"B 14","left":7}',
            '{"courier":"Ada"}',
            "Done: Ada comes for it.",
        ),
        (
            "Where is SH-201? And a courier for W-2",
            "bad_result",
            '{"courier": "Grace"}',
            "Done: Grace comes for it.",
        ),
        (
            "Where is SH-999? And a courier for W-1",
            "http_404",
            '{"courier":"Ada"}',
            "Done: Ada comes for it.",
        ),
    ],
)
def test_tools_of_every_kind_answer_one_turn(more, text, shelf, courier, answer):
    volume = next(d for d in folder.load(FOLDER / "warehouse", 1).definitions if d.name == "volume")
    with playing(
        "warehouse",
        volume.model_copy(update={"target": volume.target.model_copy(update={"server": VOLUMES})}),
        more=more,
    ) as (_, ask):
        events = ask(text, "packer")
    [end] = ends(events)
    assert (end.outcome, end.answer) == ("completed", answer)
    assert heard(events) == {
        "find_shelf": shelf,
        "volume": "60 litres",
        "book_courier": courier,
        "days_until": '{"days": 11, "day": "Friday"}',
    }


def test_what_is_not_allowed_is_told_to_the_model():
    with playing("warehouse", more={"python": PythonTools(()), "mcp": McpTools()}) as (_, ask):
        events = ask("Where is SH-200? And a courier for W-1", "packer")
    assert heard(events) | {"volume": "not_allowed", "days_until": "not_allowed"} == heard(events)
    assert ends(events)[0].outcome == "completed"
