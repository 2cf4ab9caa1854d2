"""Tools that are functions of a Python package.

`entry: shop.stock:left` is called with the arguments by name; a parameter `idempotency_key`
receives the idempotency key, a parameter `context` the tenant, session and run. What it returns is
the result: text as it is, anything else as JSON. It runs in a thread of its own, a coroutine in a
loop of its own, so that it delays no other call. A thread cannot be stopped: one that still runs
when the timeout is over goes on, and counts against the most that may run.
"""

import asyncio
import contextlib
import importlib
import inspect
import json
import re
import threading
from collections.abc import Callable
from typing import Any

from schemas.definitions.tools import PythonTarget
from schemas.ports import ToolQuestion
from sinks.http import DETAIL_CHARS, CallError, Secret
from sinks.tools.kinds import ToolContext, ToolKind
from sinks.tools.results import ToolResult, as_text, check_length, wrong_target

THREADS_MAX = 64
LOST = re.compile("Time(d)?out|Connect(ion)?(Reset|Error)|ReadError|RemoteProtocol")
"""Names of exceptions of HTTP and database libraries that say that an answer did not come: whether
the call was carried out is unknown. Any other exception says that it was not.
"""
INJECTED = ("idempotency_key", "context")


def make(context: ToolContext) -> ToolKind:
    """The kind `python`."""
    return PythonTools(context.python_modules)


class PythonTools:
    """Calls functions. `allowed` are the modules and packages whose functions may be called:
    nothing else is imported.
    """

    def __init__(self, allowed: tuple[str, ...]):
        self._allowed = allowed
        self._running = 0

    async def __call__(self, question: ToolQuestion, left_s: float, secret: Secret) -> ToolResult:
        target = question.target
        if not isinstance(target, PythonTarget):
            raise wrong_target(question)
        entry = target.entry
        module = entry.partition(":")[0]
        if not any(module == name or module.startswith(f"{name}.") for name in self._allowed):
            raise CallError(
                "not_allowed",
                f"{entry} is not of a module in the setting python_tools: add {module}, "
                "or a package above it, to WEIR_PYTHON_TOOLS where the workers start",
            )
        if self._running >= THREADS_MAX:
            raise CallError(
                "busy",
                f"{THREADS_MAX} Python tools run already: give them time-outs that they keep, or "
                "start more call runners",
                retryable=True,
            )
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._start(entry, question, left_s, answered)
        try:
            async with asyncio.timeout(left_s):
                return ToolResult(check_length(await answered, question.result_chars))
        except TimeoutError as error:
            raise CallError(
                "timeout",
                f"{entry} did not return within {left_s:.1f} s; its thread goes on",
                uncertain=True,
            ) from error

    def _start(
        self, entry: str, question: ToolQuestion, left_s: float, answered: asyncio.Future[str]
    ) -> None:
        loop = asyncio.get_running_loop()

        def over(error: CallError | None, text: str) -> None:
            self._running -= 1
            if not answered.done():
                answered.set_exception(error) if error else answered.set_result(text)

        def work() -> None:
            error = None
            text = ""
            try:
                text = call_function(entry, question, left_s)
            except CallError as failure:
                error = failure
            with contextlib.suppress(
                RuntimeError
            ):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(over, error, text)

        self._running += 1
        threading.Thread(target=work, name=f"tool {question.tool}", daemon=True).start()


def call_function(entry: str, question: ToolQuestion, left_s: float) -> str:
    """What the function returns, as text. Raises CallError, whatever the function does."""
    function = load_function(entry)
    arguments = json.loads(question.arguments or "{}")
    extra = {"idempotency_key": question.idempotency_key, "context": dict(question.context)}
    try:
        takes = inspect.signature(function).parameters
        arguments |= {
            name: extra[name] for name in INJECTED if name in takes and name not in arguments
        }
        inspect.signature(function).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise CallError(
            "bad_arguments",
            f"{entry} does not take these arguments ({error}): declare in the tool's "
            "parameters what the function has",
        ) from error
    try:
        value = function(**arguments)
        if inspect.isawaitable(value):
            value = asyncio.run(_within(value, left_s))
    except BaseException as error:  # SystemExit too: a tool does not end the worker
        lost = (
            isinstance(error, TimeoutError | ConnectionError)
            or LOST.search(type(error).__name__) is not None
        )
        raise CallError(
            "raised",
            f"{type(error).__name__}: {error}"[:DETAIL_CHARS],
            retryable=lost,
            uncertain=lost,
        ) from error
    try:
        return as_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise CallError(
            "bad_result",
            f"{entry} returned a {type(value).__name__} that is no JSON ({error})"[:DETAIL_CHARS],
        ) from error


async def _within(value: Any, left_s: float) -> Any:
    async with asyncio.timeout(left_s):
        return await value


def load_function(entry: str) -> Callable[..., Any]:
    """The function that an entry names. Raises CallError."""
    module, _, name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything when it is imported
        raise CallError(
            "no_entry",
            f"{entry} cannot be imported where the workers run ({type(error).__name__}: {error})"[
                :DETAIL_CHARS
            ],
        ) from error
    if not callable(function):
        raise CallError("no_entry", f"{entry} is no function")
    return function
