"""The kinds of tools: one module each, found by the `via` of a tool's definition.

A module of this folder has a function `make(context) -> ToolKind`. README.md says how to add one.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import httpx

from schemas.ports import ToolQuestion
from sinks.http import CallError, Secret
from sinks.tools.results import ToolResult


class ToolKind(Protocol):
    """One way to reach a tool: awaited, it returns the result of a call. Raises CallError."""

    async def __call__(self, call: ToolQuestion, left_s: float, secret: Secret, /) -> ToolResult:
        """`left_s` bounds the call; `secret` resolves references to secrets (`env:NAME`)."""
        ...


async def no_limit(_key: str) -> None:
    """Large results without a limit."""


@dataclass(frozen=True)
class ToolContext:
    """What the kinds of tools are made with.

    `fresh` is a client without reused connections, for calls that may be sent only once.
    `before_large` is awaited with the call's key before a large result is read on.
    `python_modules` may be imported, `mcp_programs` started.
    """

    http: httpx.AsyncClient
    fresh: httpx.AsyncClient
    before_large: Callable[[str], Awaitable[None]] = no_limit
    python_modules: tuple[str, ...] = ()
    mcp_programs: tuple[str, ...] = ()


class ToolKinds:
    """The kinds by name. Each is made when its first call comes; `given` ones come before this
    folder's.
    """

    def __init__(self, context: ToolContext, given: Mapping[str, ToolKind]):
        self._context = context
        self._made: dict[str, ToolKind] = dict(given)

    def find(self, name: str) -> ToolKind:
        """The kind of this name. Raises CallError where there is none."""
        if name not in self._made:
            module = f"{__name__}.{name}"
            if not name.isidentifier() or name.startswith("_") or find_spec(module) is None:
                raise CallError("unknown_kind", f"there is no kind of tools named {name!r}")
            self._made[name] = importlib.import_module(module).make(self._context)
        return self._made[name]
