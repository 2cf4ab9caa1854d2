"""A kind of tools is found by its name."""

import asyncio
from pathlib import Path

import httpx
import pytest

from sinks.http import CallError
from sinks.tools import kinds
from sinks.tools.kinds import ToolContext, ToolKinds
from tests.support.seams import extended

ECHO = '''"""Tools that return their arguments."""

from sinks.tools.results import ToolResult


def make(context):
    """The kind `echo`."""

    async def echo(call, left_s, secret):
        return ToolResult(call)

    return echo
'''


def kinds_of() -> ToolKinds:
    http = httpx.AsyncClient()
    return ToolKinds(ToolContext(http, http), {})


def test_a_new_file_is_a_kind(tmp_path: Path):
    (tmp_path / "echo.py").write_text(ECHO)
    with extended(kinds, tmp_path):
        result = asyncio.run(kinds_of().find("echo")("hello", 1.0, str))
    assert result.text == "hello"


@pytest.mark.parametrize("name", ["echo", "", "..runner", "__init__"])
def test_an_unknown_kind_is_an_error(name):
    with pytest.raises(CallError, match="no kind of tools"):
        kinds_of().find(name)
