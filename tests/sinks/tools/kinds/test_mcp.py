"""Is a tool of a real MCP server called, in the protocols with and without sessions, and over
standard streams?
"""

import asyncio
import sys
from pathlib import Path

import httpx
import httpx2
import pytest

from schemas.definitions.tools import McpServer, McpTarget
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.http import CallError
from sinks.runtime import Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.kinds.mcp import McpTools
from sinks.tools.mcp_session import MESSAGE_BYTES_MAX
from sinks.tools.runner import ToolRunner
from tests.support.mcp_servers import SEEN, Network

SHOP = McpServer(url="http://127.0.0.1:8000/mcp", headers={"authorization": "Bearer env:KEY"})
COMMAND = McpServer(
    command=(sys.executable, str(Path(__file__).parents[3] / "support" / "mcp_command.py")),
    env={"SHOP_TOKEN": "env:KEY"},
)
GONE = httpx2.ConnectError("refused")


def question(tool, arguments="{}", effect="pure", timeout_ms=5_000, chars=1_000, server=SHOP):
    return ToolQuestion(
        "shop",
        McpTarget(server=server, mcp_tool=tool),
        arguments,
        timeout_ms,
        chars,
        effect,
        "key-1",
        {"tenant": "acme", "traceparent": "00-1-2-01"},
    )


async def port_to(tools):
    async def sleep(_):
        return None

    http = httpx.AsyncClient()
    return ToolRunner(
        ToolContext(http, http),
        {"env:KEY": "sesame-7"}.__getitem__,
        runtime=Runtime(sleep=sleep),
        kinds={"mcp": tools},
    )


def over_http(*questions, older=False, streamed=False, fails=(), bytes_max=MESSAGE_BYTES_MAX):
    async def run():
        async with Network(older, streamed) as network:
            network.fails += fails
            port = await port_to(McpTools(transport=network, bytes_max=bytes_max))
            return [await port(one) for one in questions], network.asked

    return asyncio.run(run())


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_result_comes_back_and_the_connection_is_kept(older, streamed):
    one = question("left", '{"item": "coat"}')
    answers, asked = over_http(one, one, older=older, streamed=streamed)
    assert [type(answer) for answer in answers] == [ToolAnswer, ToolAnswer]
    assert '"left": 4' in answers[0].content
    assert asked.count("server/discover") == 1 and asked.count("initialize") == older
    assert asked.count("tools/call") == 2


def test_who_asks_goes_beside_the_call():
    SEEN.clear()
    over_http(question("who"))
    assert (
        SEEN[0]
        | {"weir/idempotency-key": "key-1", "weir/tenant": "acme", "traceparent": "00-1-2-01"}
        == SEEN[0]
    )


@pytest.mark.parametrize(
    "tool, arguments, effect, fails, kind, reason",
    [
        ("refuse", '{"why": "no coats"}', "once", [], Failure, "tool_error"),
        ("nothing", "{}", "once", [], Failure, ""),
        ("large", '{"chars": 1001}', "pure", [], Failure, "too_large"),
        ("left", '{"item": "a"}', "once", [GONE], Failure, "refused"),
        ("left", '{"item": "a"}', "pure", [GONE], ToolAnswer, ""),
        ("left", '{"item": "a"}', "once", [httpx2.ReadError("cut")], Uncertain, "reset"),
        ("left", '{"item": "a"}', "pure", [httpx2.ReadError("cut")], ToolAnswer, ""),
        (
            "left",
            '{"item": "a"}',
            "pure",
            [httpx2.Response(401, text="Bearer sesame-7?")],
            Failure,
            "http_401",
        ),
        ("left", '{"item": "a"}', "pure", [httpx2.Response(503)], ToolAnswer, ""),
        ("left", '{"item": "a"}', "once", [httpx2.Response(502)], Uncertain, "http_502"),
        (
            "left",
            '{"item": "a"}',
            "once",
            [httpx2.Response(200, text="<html>", headers={"content-type": "text/html"})],
            Uncertain,
            "mcp_error",
        ),
        ("hang", "{}", "once", [], Uncertain, "timeout"),
    ],
)
def test_what_becomes_of_a_call(tool, arguments, effect, fails, kind, reason):
    [answer], _ = over_http(
        question(tool, arguments, effect, timeout_ms=80 if tool == "hang" else 5_000), fails=fails
    )
    assert isinstance(answer, kind), answer
    assert reason in getattr(answer, "reason" if kind is Failure else "detail", "")
    assert "sesame" not in str(answer)


@pytest.mark.parametrize("streamed", [False, True])
def test_of_a_large_result_no_more_is_read_than_the_limit(streamed):
    [answer], _ = over_http(
        question("large", '{"chars": 100000}', "once", chars=1_000_000),
        streamed=streamed,
        bytes_max=50_000,
    )
    assert (
        isinstance(answer, Failure)
        and answer.reason == "too_large"
        and "carried out" in answer.detail
    ), answer


def test_one_call_that_fails_leaves_the_others_alone():
    async def run():
        async with Network() as network:
            port = await port_to(McpTools(transport=network))
            await port(question("who"))
            slow = asyncio.create_task(port(question("hang", timeout_ms=300)))
            await asyncio.sleep(0.02)
            network.fails.append(httpx2.ConnectError("refused"))
            refused = await port(question("who", effect="once"))
            network.fails.append(httpx2.ReadError("cut"))
            return refused, await port(question("who")), (await slow).reason

    failed, answered, slow = asyncio.run(run())
    assert (failed.reason, type(answered), slow) == ("refused", ToolAnswer, "timeout")


def test_a_session_that_the_server_forgot_is_made_anew():
    async def run():
        async with Network(older=True) as network:
            port = await port_to(McpTools(transport=network))
            first = await port(question("who", effect="once"))
            await network.restart()
            return first, await port(question("who", effect="once")), network.asked

    first, second, asked = asyncio.run(run())
    assert (type(first), type(second), asked.count("initialize")) == (ToolAnswer, ToolAnswer, 2)


def test_a_connection_that_nobody_uses_any_more_is_ended_when_another_is_made():
    other = SHOP.model_copy(update={"headers": {"x-shop": "2"}})

    async def run():
        async with Network() as network:
            tools = McpTools(transport=network, idle_s=0.0)
            port = await port_to(tools)
            said = [await port(question("who", server=server)) for server in (SHOP, other)]
            return [type(one) for one in said], [key[1] for key in tools._connections]

    assert asyncio.run(run()) == ([ToolAnswer, ToolAnswer], [("x-shop", "2")])


def test_a_command_is_started_once_and_again_when_it_ended():
    async def run():
        tools = McpTools((sys.executable,))
        port = await port_to(tools)
        said = [
            await port(question("who", server=COMMAND, timeout_ms=20_000)),
            await port(question("who", server=COMMAND, timeout_ms=20_000)),
            await port(question("die", effect="once", server=COMMAND, timeout_ms=20_000)),
            await port(question("who", server=COMMAND, timeout_ms=20_000)),
        ]
        await asyncio.gather(*(session.close() for session in tools._connections.values()))
        return said

    first, second, died, third = asyncio.run(run())
    assert first.content == second.content != third.content
    assert (
        third.content.startswith("hello env:KEY from")
        and "[image of type image/png, left out]" in third.content
    )
    assert isinstance(died, Uncertain) and "reset" in died.detail


def test_of_what_a_command_says_no_more_is_read_than_the_limit_and_the_others_go_on():
    async def run():
        tools = McpTools((sys.executable,), bytes_max=50_000)
        port = await port_to(tools)
        large, small = (
            question(
                tool,
                f'{{"chars": {chars}}}',
                "once",
                chars=1_000_000,
                server=COMMAND,
                timeout_ms=20_000,
            )
            for tool, chars in (("large", 200_000), ("large", 20_000))
        )
        said = await asyncio.gather(port(large), port(small))
        after = await port(small)
        await asyncio.gather(*(session.close() for session in tools._connections.values()))
        return *said, after

    large, small, after = asyncio.run(run())
    assert (large.reason, "carried out" in large.detail) == ("too_large", True), large
    assert [len(one.content) for one in (small, after)] == [20_000, 20_000]


@pytest.mark.parametrize(
    "command, programs, reason, words",
    [
        (("rm", "-rf"), (), "not_allowed", "WEIR_MCP_COMMANDS"),
        (("/no/such/program",), ("/no/such/program",), "refused", "No such"),
        (
            (sys.executable, "-c", "raise SystemExit('the shop is closed')"),
            (sys.executable,),
            "refused",
            "the shop is closed",
        ),
    ],
)
def test_a_command_that_does_not_start(command, programs, reason, words):
    async def run():
        return await (await port_to(McpTools(programs)))(
            question("who", effect="once", server=McpServer(command=command))
        )

    failure = asyncio.run(run())
    assert isinstance(failure, Failure) and failure.reason == reason and words in failure.detail


def test_a_command_that_never_answers_is_given_up():
    silent = McpServer(command=(sys.executable, "-c", "import sys; sys.stdin.read()"))

    async def run():
        with pytest.raises(CallError, match="did not connect within"):
            await McpTools((sys.executable,)).describe(silent, "who", 0.2, str)

    asyncio.run(run())


def test_a_server_describes_its_tools():
    async def run(tool):
        async with Network() as network:
            return await McpTools(transport=network).describe(SHOP, tool, 5, lambda _: "sesame-7")

    words, schema = asyncio.run(run("left"))
    assert words == "How many of an item are left." and [*schema["properties"]] == ["item", "shelf"]
    with pytest.raises(CallError, match="it has: left, who"):
        asyncio.run(run("right"))
