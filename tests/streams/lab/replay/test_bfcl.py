"""Cases of the Berkeley Function-Calling Leaderboard are read, and played to their end."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from infra.embedded.scripted import recorded
from processors.common.json_schema import InvalidValueError, read_arguments
from schemas.definitions.kinds import Agent, Definitions, Tool
from schemas.events.agent.runs import AgentRequested
from schemas.events.operations import DeadLettered
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.engine.in_memory import Local
from streams.lab.replay import bfcl, recording
from streams.lab.replay.player import WATCHED, Played, difference
from streams.topology import PIPELINE

MOVE = {
    "name": "mv",
    "description": "Moves.",
    "parameters": {
        "type": "dict",
        "required": ["source", "destination"],
        "properties": {
            "source": {"type": "string"},
            "destination": {"type": "string"},
            "deep": {"type": "float"},
        },
    },
}
CASE = {
    "turns": [
        [{"role": "user", "content": "Move a to b"}],
        [{"role": "user", "content": "Thanks"}],
    ],
    "involved_classes": ["GorillaFileSystem"],
    "ground_truth": [["mv('a', destination='b')", "mv('b', 'c', 1.5)"], []],
}


def recorded_in(folder, *rows):
    (folder / bfcl.FUNCTIONS).write_text(json.dumps({"gorilla_file_system": [MOVE]}))
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return recording.read(folder / "cases.jsonl")


def play(talks):
    """What is not as recorded, by conversation; nothing where all is."""
    path_free = [
        json.loads(line)["messages"] if line else []
        for line in recording.as_lines(talks).splitlines()
    ]
    app = recorded.application([[recorded.normal(m) for m in said] for said in path_free])
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
    local = Local(
        PIPELINE,
        Definitions.of(*recording.definitions(talks, "http://recorded")),
        {
            "chat": ModelClient(http_sender(http, str)),
            "tool": ToolRunner(ToolContext(http, http), str),
            "search": None,
        },
    )
    wrong = {}
    try:
        for talk in talks:
            played = Played()
            for turn in talk.turns:
                said = local.send(
                    AgentRequested(
                        id=uuid4(),
                        at=datetime.now(UTC),
                        tenant=recording.TENANT,
                        text=turn,
                        agent=talk.agent,
                        session=f"s-{talk.number}",
                    )
                )
                assert not [event for event in said if isinstance(event, DeadLettered)]
                for event in said:
                    played.note(event) if isinstance(event, WATCHED) else None
            if why := difference(talk, played):
                wrong[talk.number] = why
    finally:
        local.close()
    return wrong


def test_a_case_becomes_a_step_a_call_and_its_tools_have_their_schemas(tmp_path):
    [talk] = recorded_in(tmp_path, CASE)
    assert [call.arguments for m in talk.messages for call in m.tool_calls] == [
        '{"source": "a", "destination": "b"}',
        '{"source": "b", "destination": "c", "deep": 1.5}',
    ]
    assert (talk.turns, talk.model_calls, talk.tool_calls) == (("Move a to b", "Thanks"), 4, 2)
    made = recording.definitions([talk], "http://x")
    [tool] = [d for d in made if isinstance(d, Tool)]
    [agent] = [d for d in made if isinstance(d, Agent)]
    assert tool.parameters["properties"]["deep"] == {"type": "number"} and agent.tools == ("mv",)
    assert play([talk]) == {}


def test_a_call_that_breaks_its_schema_is_found(tmp_path):
    [talk] = recorded_in(tmp_path, CASE | {"ground_truth": [["mv('a', 7)"], []]})
    [tool] = [d for d in recording.definitions([talk], "http://x") if isinstance(d, Tool)]
    with pytest.raises(InvalidValueError, match="destination: 7 is not of type 'string'"):
        read_arguments(tool, talk.messages[2].tool_calls[0].arguments)


@pytest.mark.parametrize(
    "text, words",
    [
        ("mv(", "never closed"),
        ("rm('a')", "no function 'rm'"),
        ("os.system('x')", "no call of a function"),
        ("7", "no call"),
        ("mv(__import__('os'))", "malformed"),
        ("mv(1, 2, 3, 4)", "takes 3 arguments"),
    ],
)
def test_what_is_no_call_is_told_with_its_line(tmp_path, text, words):
    with pytest.raises(recording.RecordingError, match="line 1") as told:
        recorded_in(tmp_path, CASE | {"ground_truth": [[text], []]})
    assert words in str(told.value)


def test_without_the_functions_it_is_said_where_they_should_be(tmp_path):
    (tmp_path / "cases.jsonl").write_text(json.dumps(CASE))
    with pytest.raises(recording.RecordingError, match=bfcl.FUNCTIONS):
        recording.read(tmp_path / "cases.jsonl")


def test_real_cases_are_played_as_recorded(shared_data):
    talks = recording.read(shared_data / "tools" / "bfcl_multi_turn.jsonl")
    assert (len(talks), sum(talk.tool_calls for talk in talks)) == (100, 571)
    assert play(talks[::20]) == {}
