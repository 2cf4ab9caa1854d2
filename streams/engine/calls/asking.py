"""One question put to its port: whatever happens, there is an answer."""

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from schemas.events.base import Event
from schemas.ports import Failure, Impossible
from streams.engine.calls.cancellation import Endings
from streams.engine.monitoring.telemetry import Metrics

log = logging.getLogger(__name__)

Port = Callable[[Any], Awaitable[Any]]


async def answer_of(
    name: str, port: Port, event: Event, asked: Any, endings: Endings, report: "Report"
) -> Any:
    """The answer of a port to what an event asks; a Failure where it raises or cannot be asked."""
    began, started_at = time.perf_counter(), datetime.now(UTC)
    if isinstance(asked, Impossible):
        answer: Any = Failure(asked.reason, asked.detail, started_at, started_at)
    else:
        try:
            answer = await endings.answer(event, asked, port)
        except Exception as error:
            log.exception("port %s raised", name)
            answer = Failure(
                "error", f"{type(error).__name__}: {error}", started_at, datetime.now(UTC)
            )
    report(name, answer, time.perf_counter() - began)
    return answer


class Report:
    """Counts the calls of one worker and measures how long they took."""

    def __init__(self, metrics: Metrics, consumer: str):
        self._metrics, self._consumer = metrics, consumer

    def __call__(self, port: str, answer: Any, seconds: float) -> None:
        outcome = answer.reason if isinstance(answer, Failure) else type(answer).__name__.lower()
        self._metrics.count("weir_calls", consumer=self._consumer, port=port, outcome=outcome)
        self._metrics.observe("weir_call_seconds", seconds, consumer=self._consumer, port=port)
