"""One request over several endpoints: one after the other, and with a hedge the next beside a slow
one.
"""

import asyncio
from collections import deque
from typing import Any

from schemas.ports import Endpoint
from sinks.http import CallError
from sinks.models.latency import HedgeBudgets
from sinks.models.request_state import RequestState
from sinks.models.retries import Retries

EndpointTask = asyncio.Task[tuple[dict[str, Any], int]]


class HedgedRequest:
    """Calls the waiting endpoints until one answers. The first good answer wins; calls that are
    still under way are cancelled and recorded as wasted.
    """

    def __init__(
        self,
        state: RequestState,
        waiting: deque[Endpoint],
        retries: Retries,
        budgets: HedgeBudgets,
    ):
        self._state = state
        self._waiting = waiting
        self._retries = retries
        self._budgets = budgets
        self._ways = state.question.ways
        self._running: dict[EndpointTask, Endpoint] = {}
        self.last: Endpoint | None = None
        state.on_first_text = self._cancel_others

    async def run(self) -> tuple[Endpoint, dict[str, Any], int]:
        """Which endpoint answered, its answer, and the number of the attempt. Raises the last
        CallError; that of an open circuit breaker only where there is no other.
        """
        failed: CallError | None = None
        try:
            while self._running or self._waiting:
                if not self._running:
                    self._start(hedge=False)
                for task in await self._first_done():
                    endpoint = self._running.pop(task)
                    if task.cancelled():
                        continue
                    error = task.exception()
                    if error is None:
                        return endpoint, *task.result()
                    if not isinstance(error, CallError):
                        raise error
                    if failed is None or error.reason != "breaker_open":
                        failed = error
                        self.last = endpoint
                    if error.partial and not self._state.is_checked(endpoint):
                        # Its text was published already: another model's would contradict it.
                        raise error
            raise failed or CallError("no_endpoint", "the question names no model")
        finally:
            await self._cancel_all()

    async def _first_done(self) -> set[EndpointTask]:
        """Waits until a call is over; meanwhile the hedge begins when its time has come."""
        if self._ways.hedge_ms is not None and len(self._running) == 1 and self._waiting:
            done, _ = await asyncio.wait(self._running, timeout=self._ways.hedge_ms / 1000)
            if done:
                return done
            if self._state.speaker is None and self._budgets.take(self._ways.name):
                self._start(hedge=True)
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        return done

    def _start(self, hedge: bool) -> None:
        endpoint = self._waiting.popleft()
        work = self._retries.call(self._state, endpoint, hedge)
        self._running[asyncio.get_running_loop().create_task(work)] = endpoint

    def _cancel_others(self, name: str) -> None:
        """Text of this endpoint is published: the calls of the others are cancelled."""
        for task, endpoint in self._running.items():
            if endpoint.name != name:
                task.cancel()

    async def _cancel_all(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
