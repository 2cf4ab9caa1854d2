"""What MCP servers answer: one file of the corpus a case, each with tools of both effects."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from schemas.definitions.tools import McpServer, McpTarget
from schemas.ports import ToolAnswer, ToolQuestion, Uncertain
from sinks.runtime import Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.kinds.mcp import McpTools
from sinks.tools.mcp_answers import no_session
from sinks.tools.runner import ToolRunner
from tests.support.mcp_servers import FaultyNetwork

CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "corpus" / "mcp").glob("*.json"))
}
SERVER = McpServer(url="http://127.0.0.1:8000/mcp", headers={})
QUESTION = ToolQuestion(
    "book", McpTarget(server=SERVER, mcp_tool="book"), "{}", 4_000, 1_000, "pure", "key-1", {}
)


async def answers(network, effect, questions=1, timeout_ms=4_000):
    async def sleep(_):
        return None

    tools = McpTools(transport=network)
    http = httpx.AsyncClient()
    port = ToolRunner(ToolContext(http, http), str, Runtime(sleep=sleep), kinds={"mcp": tools})
    question = replace(QUESTION, effect=effect, timeout_ms=timeout_ms)
    said = [await port(question) for _ in range(questions)]
    await asyncio.gather(*(one.close() for one in tools._connections.values()))
    return said


WAYS = [
    pytest.param("pure", False, id="pure"),
    pytest.param("idempotent", True, id="idempotent-sse"),
    pytest.param("reconcilable", False, id="reconcilable"),
    pytest.param("once", False, id="once"),
    pytest.param("once", True, id="once-sse"),
]


@pytest.mark.parametrize("effect, streamed", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_tool_that_has_answered_is_not_called_again_and_not_called_undone(name, effect, streamed):
    case = CASES[name]
    right = case["rights"][effect] if "rights" in case else case["right"]
    network = FaultyNetwork(case, streamed)
    last = asyncio.run(answers(network, effect, right.get("questions", 1)))[-1]
    assert type(last).__name__ == right["kind"], last
    assert network.calls == right["calls"], last
    if right["kind"] == "ToolAnswer":
        assert last.content == right["text"]
    elif right["kind"] == "Uncertain":
        assert right["text"] in last.detail
    else:
        assert (last.reason, right["text"] in last.detail) == (right["reason"], True), last


def test_the_timeout_of_a_tool_holds_when_the_call_hangs():
    async def run():
        clock = asyncio.get_running_loop().time
        begun = clock()
        [answer] = await answers(FaultyNetwork({"call": "hang"}), "once", timeout_ms=400)
        return answer, clock() - begun

    answer, took_s = asyncio.run(run())
    assert isinstance(answer, Uncertain) and "timeout" in answer.detail
    assert took_s < 4


def test_the_list_of_tools_is_not_asked_for_when_a_tool_is_called():
    network = FaultyNetwork({})
    [answer] = asyncio.run(answers(network, "once"))
    assert isinstance(answer, ToolAnswer)
    assert network.listed == 0


@pytest.mark.parametrize(
    "words, gone",
    [
        ("Session not found", True),
        ("Bad Request: No valid session ID provided", True),
        ("Bad Request: Mcp-Session-Id header is required", True),
        ("Invalid or expired session", True),
        ("Missing session ID", True),
        ("session 4f2a-11 does not exist", True),
        ("Your session has timed out", True),
        ("Server not initialized", True),
        ("Invalid params: session date is required", False),
        ("the course 'Night session' is unknown", False),
        ("no seats in the session room", False),
        ("bad arguments", False),
        ("", False),
    ],
)
def test_how_a_server_says_that_it_does_not_know_a_session(words, gone):
    assert no_session(words) is gone
