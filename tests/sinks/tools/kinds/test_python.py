"""Is a function called as a tool with its arguments and our key, only where it is allowed, and
never for longer than its time?
"""

import asyncio
import threading
from dataclasses import dataclass

import httpx
import pytest

from schemas.definitions.tools import PythonTarget, Reconcile
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.runtime import Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.kinds.python import PythonTools
from sinks.tools.runner import ToolRunner

HERE = __name__
RELEASE = threading.Event()
BOOKED = {}


@dataclass
class Stock:
    shelf: str
    left: int


def left(item: str, shelf: str = "A") -> Stock:
    return Stock(shelf, len(item))


async def later(item: str) -> list[str]:
    await asyncio.sleep(0)
    return [item]


async def never() -> None:
    await asyncio.Event().wait()


def book(seats: int, idempotency_key: str, context: dict[str, str]) -> str:
    BOOKED[idempotency_key] = seats
    return f"{seats} for {context['tenant']} as {idempotency_key}"


def lose(seats: int, idempotency_key: str) -> str:
    if seats:
        BOOKED[idempotency_key] = seats
    raise ConnectionResetError("the line went dead")


def booked(idempotency_key: str) -> dict:
    return (
        {"done": True, "result": f"{BOOKED[idempotency_key]} booked"}
        if idempotency_key in BOOKED
        else {"done": False}
    )


def refuse(sort: str) -> None:
    raise {"value": ValueError("no such item"), "exit": SystemExit(1), "time": TimeoutError("db")}[
        sort
    ]


def hang() -> None:
    RELEASE.wait(5)


async def run(
    entry,
    arguments="{}",
    effect="pure",
    allowed=("tests.sinks",),
    timeout_ms=3_000,
    chars=1_000,
    **more,
):
    async def sleep(_):
        return None

    async with httpx.AsyncClient() as http:
        port = ToolRunner(
            ToolContext(http, http),
            str,
            runtime=Runtime(sleep=sleep),
            kinds={"python": PythonTools(allowed)},
        )
        return await port(
            ToolQuestion(
                "stock",
                PythonTarget(entry=entry),
                arguments,
                timeout_ms,
                chars,
                effect,
                "key-1",
                {"tenant": "acme"},
                **more,
            )
        )


@pytest.mark.parametrize(
    "name, arguments, content",
    [
        ("left", '{"item": "coat"}', '{"shelf": "A", "left": 4}'),
        ("later", '{"item": "hat"}', '["hat"]'),
        ("book", '{"seats": 2}', "2 for acme as key-1"),
    ],
)
def test_what_a_function_returns_is_the_result(name, arguments, content):
    answer = asyncio.run(run(f"{HERE}:{name}", arguments))
    assert isinstance(answer, ToolAnswer) and answer.content == content


@pytest.mark.parametrize(
    "entry, arguments, reason, words",
    [
        ("os:getcwd", "{}", "not_allowed", "WEIR_PYTHON_TOOLS"),
        ("tests.sinksplus:x", "{}", "not_allowed", "python_tools"),
        (f"{HERE}:nothing", "{}", "no_entry", "nothing"),
        ("tests.sinks.gone:x", "{}", "no_entry", "gone"),
        (f"{HERE}:HERE", "{}", "no_entry", "no function"),
        (f"{HERE}:left", '{"colour": 1}', "bad_arguments", "parameters"),
        (f"{HERE}:refuse", '{"sort": "value"}', "raised", "no such item"),
        (f"{HERE}:refuse", '{"sort": "exit"}', "raised", "SystemExit"),
        (f"{HERE}:left", '{"item": "coat", "shelf": "' + "x" * 2_000 + '"}', "too_large", "1,000"),
    ],
)
def test_what_goes_wrong_is_a_failure(entry, arguments, reason, words):
    failure = asyncio.run(run(entry, arguments))
    assert isinstance(failure, Failure) and failure.reason == reason and words in failure.detail


@pytest.mark.parametrize("name", ["hang", "never"])
@pytest.mark.parametrize("effect, kind", [("pure", Failure), ("once", Uncertain)])
def test_time_is_over(name, effect, kind):
    RELEASE.clear()
    try:
        assert isinstance(asyncio.run(run(f"{HERE}:{name}", effect=effect, timeout_ms=40)), kind)
    finally:
        RELEASE.set()


def test_an_exception_says_that_it_was_not_done_unless_the_answer_was_lost():
    assert isinstance(asyncio.run(run(f"{HERE}:refuse", '{"sort": "value"}', "once")), Failure)
    assert isinstance(asyncio.run(run(f"{HERE}:refuse", '{"sort": "time"}', "once")), Uncertain)


@pytest.mark.parametrize(
    "seats, kind, says", [(3, ToolAnswer, "3 booked"), (0, Failure, "not_done")]
)
def test_a_reconcilable_one_is_asked_whether_it_happened(seats, kind, says):
    BOOKED.clear()
    answer = asyncio.run(
        run(
            f"{HERE}:lose",
            f'{{"seats": {seats}}}',
            "reconcilable",
            reconcile=Reconcile(entry=f"{HERE}:booked"),
        )
    )
    assert isinstance(answer, kind) and says in (answer.content if seats else answer.reason)
    assert seats or answer.attempts == 3
