"""Is what a run still asks given up when the run is over, and nothing else: no other run's call,
none that acts?
"""

import asyncio
import threading
from dataclasses import dataclass

import httpx
import pytest

from schemas.events.agent.models import ModelFailed
from schemas.ports import RUN_OVER, Failure, ToolAnswer
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from streams.engine.calls.cancellation import Endings
from streams.engine.calls.conversation_cache import Remembering
from streams.engine.calls.dispatcher import Lanes, Part, Question
from streams.engine.calls.offset_tracker import Tracker
from streams.engine.monitoring.telemetry import Metrics
from streams.topology import PIPELINE
from tests.processors.models.test_call import ASKED
from tests.streams.engine.calls.test_dispatcher import NOW, called
from tests.support.processors import company


def test_a_model_that_is_asked_for_a_run_that_is_over_is_given_up_and_its_attempt_is_booked():
    asked, under_way, gone = ASKED, threading.Event(), threading.Event()

    async def hangs(request):
        under_way.set()
        try:
            await asyncio.sleep(60)
        finally:
            gone.set()

    chat = Remembering(
        ModelClient(http_sender(httpx.AsyncClient(transport=httpx.MockTransport(hangs)), str))
    )
    [step] = (step for step in PIPELINE if step.name == "ask_model")
    lanes = Lanes({"chat": chat}, company, 10, lambda: True, threading.Event(), Metrics())
    try:
        lanes.dispatch([Question(Part("questions", 0, step, Tracker(0)), 0, asked)])
        assert under_way.wait(5) and lanes.endings.waits(asked.partition_key())
        lanes.over(asked.partition_key(), called(1).run)  # another run of the session
        assert not gone.wait(0.05)
        lanes.over(asked.partition_key(), asked.run)
        [failed] = lanes.done.get(timeout=5).outcome.events
        assert gone.wait(5) and not lanes.endings.waits(asked.partition_key())
    finally:
        lanes.close()
    assert isinstance(failed, ModelFailed) and (failed.reason, failed.detail) == (
        "run_over",
        RUN_OVER,
    )
    [attempt] = failed.attempts_made
    assert (attempt.reason, attempt.wasted, attempt.cost_usd) == ("cancelled", True, None), (
        "nobody knows what it took"
    )


@pytest.mark.parametrize(
    ("effect", "given_up"),
    [("pure", True), ("idempotent", False), ("reconcilable", False), ("once", False)],
)
def test_a_tool_that_changes_something_is_let_run(effect, given_up):
    @dataclass(frozen=True)
    class Asked:
        effect: str

    async def played():
        endings, event, go = Endings(), called(1), asyncio.Event()

        async def port(_asked):
            await go.wait()
            return ToolAnswer("done", NOW, NOW)

        answer = asyncio.create_task(endings.answer(event, Asked(effect), port))
        await asyncio.sleep(0)
        endings.over(event.partition_key(), event.run)
        await asyncio.sleep(0)
        go.set()
        return await answer

    answer = asyncio.run(played())
    assert isinstance(answer, Failure if given_up else ToolAnswer)


def test_a_call_that_is_cancelled_for_another_reason_is_cancelled():
    async def played():
        endings, event = Endings(), called(1)
        call = asyncio.create_task(endings.answer(event, event, lambda asked: asyncio.sleep(60)))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        return call.cancelled(), endings.waits(event.partition_key())

    assert asyncio.run(played()) == (True, False)
