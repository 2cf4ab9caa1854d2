"""How does a function in somebody's Python package answer as a tool?

`entry: shop.stock:left` is called with the arguments by name; a parameter `idempotency_key` is
given our key, a parameter `context` who asks (tenant, session, run). What it returns is the result:
text as it is, anything else as JSON. It runs in a thread of its own, a coroutine in a loop of its
own, so that nothing that it does holds up other calls. A thread cannot be ended: one that is still
running when the time is over goes on, and counts against the most that may run.
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
from sinks.http import DETAIL_CHARS, Refusal, Secret
from sinks.tools.results import Result, as_text, short_enough, unreachable

THREADS_MAX = 64
LOST = re.compile("Time(d)?out|Connect(ion)?(Reset|Error)|ReadError|RemoteProtocol")
"""Names of exceptions of HTTP and database libraries that say that an answer did not come: nobody
knows what was done. Any other exception says that it was not.
"""
GIVEN = ("idempotency_key", "context")


class PythonTools:
    """`allowed` are the names of modules and packages whose functions may be called: nothing else
    is imported.
    """

    def __init__(self, allowed: tuple[str, ...]):
        self._allowed = allowed
        self._running = 0

    async def __call__(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        target = question.target
        if not isinstance(target, PythonTarget):
            raise unreachable(question)
        entry = target.entry
        module = entry.partition(":")[0]
        if not any(module == name or module.startswith(f"{name}.") for name in self._allowed):
            raise Refusal(
                "not_allowed",
                f"{entry} is not of a module in the setting python_tools: add {module}, "
                "or a package above it, to WEIR_PYTHON_TOOLS where the workers start",
            )
        if self._running >= THREADS_MAX:
            raise Refusal(
                "busy",
                f"{THREADS_MAX} Python tools run already: give them time-outs that they keep, or "
                "start more call runners",
                again=True,
            )
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._start(entry, question, left_s, answered)
        try:
            async with asyncio.timeout(left_s):
                return Result(short_enough(await answered, question.result_chars))
        except TimeoutError as error:
            raise Refusal(
                "timeout",
                f"{entry} did not return within {left_s:.1f} s; its thread goes on",
                unsure=True,
            ) from error

    def _start(
        self, entry: str, question: ToolQuestion, left_s: float, answered: asyncio.Future[str]
    ) -> None:
        loop = asyncio.get_running_loop()

        def over(error: Refusal | None, text: str) -> None:
            self._running -= 1
            if not answered.done():
                answered.set_exception(error) if error else answered.set_result(text)

        def work() -> None:
            error = None
            text = ""
            try:
                text = returned(entry, question, left_s)
            except Refusal as refusal:
                error = refusal
            with contextlib.suppress(
                RuntimeError
            ):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(over, error, text)

        self._running += 1
        threading.Thread(target=work, name=f"tool {question.tool}", daemon=True).start()


def returned(entry: str, question: ToolQuestion, left_s: float) -> str:
    """What the function returns, as text. Raises Refusal, whatever it does."""
    function = found(entry)
    arguments = json.loads(question.arguments or "{}")
    extra = {"idempotency_key": question.idempotency_key, "context": dict(question.context)}
    try:
        takes = inspect.signature(function).parameters
        arguments |= {
            name: extra[name] for name in GIVEN if name in takes and name not in arguments
        }
        inspect.signature(function).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise Refusal(
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
        raise Refusal(
            "raised", f"{type(error).__name__}: {error}"[:DETAIL_CHARS], again=lost, unsure=lost
        ) from error
    try:
        return as_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refusal(
            "bad_result",
            f"{entry} returned a {type(value).__name__} that is no JSON ({error})"[:DETAIL_CHARS],
        ) from error


async def _within(value: Any, left_s: float) -> Any:
    async with asyncio.timeout(left_s):
        return await value


def found(entry: str) -> Callable[..., Any]:
    """The function that an entry names. Raises Refusal."""
    module, _, name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything when it is imported
        raise Refusal(
            "no_entry",
            f"{entry} cannot be imported where the workers run ({type(error).__name__}: {error})"[
                :DETAIL_CHARS
            ],
        ) from error
    if not callable(function):
        raise Refusal("no_entry", f"{entry} is no function")
    return function
