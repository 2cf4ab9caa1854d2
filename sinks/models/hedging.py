"""Which of several endpoints answers: one after the other, and with a hedge the next one beside one
that is slow?
"""

import asyncio
from collections import deque
from typing import Any

from schemas.ports import Endpoint
from sinks.http import Refusal
from sinks.models.latency import HedgeBudgets
from sinks.models.request_state import Inquiry
from sinks.models.retries import Turns

Turn = asyncio.Task[tuple[dict[str, Any], int]]


class Race:
    """One question's way through the endpoints that wait for their turn. The first good answer
    wins; whoever is still being asked is given up, and booked as wasted.
    """

    def __init__(
        self, inquiry: Inquiry, waiting: deque[Endpoint], turns: Turns, budgets: HedgeBudgets
    ):
        self._inquiry = inquiry
        self._waiting = waiting
        self._turns = turns
        self._budgets = budgets
        self._ways = inquiry.question.ways
        self._racing: dict[Turn, Endpoint] = {}
        self.last: Endpoint | None = None
        inquiry.spoke = self._only

    async def run(self) -> tuple[Endpoint, dict[str, Any], int]:
        """Who answered, what, and at which attempt. Raises the last Refusal, an open breaker's only
        where there is no other.
        """
        refused: Refusal | None = None
        try:
            while self._racing or self._waiting:
                if not self._racing:
                    self._start(hedge=False)
                for turn in await self._first_done():
                    endpoint = self._racing.pop(turn)
                    if turn.cancelled():
                        continue
                    error = turn.exception()
                    if error is None:
                        return endpoint, *turn.result()
                    if not isinstance(error, Refusal):
                        raise error
                    if refused is None or error.reason != "breaker_open":
                        refused = error
                        self.last = endpoint
                    if error.begun and not self._inquiry.unheard(endpoint):
                        # somebody reads its text already: another model's would contradict it
                        raise error
            raise refused or Refusal("no_endpoint", "the question names no model")
        finally:
            await self._give_up()

    async def _first_done(self) -> set[Turn]:
        """Waits until a turn is over; meanwhile the hedge begins where it is time."""
        if self._ways.hedge_ms is not None and len(self._racing) == 1 and self._waiting:
            done, _ = await asyncio.wait(self._racing, timeout=self._ways.hedge_ms / 1000)
            if done:
                return done
            if self._inquiry.speaker is None and self._budgets.take(self._ways.name):
                self._start(hedge=True)
        done, _ = await asyncio.wait(self._racing, return_when=asyncio.FIRST_COMPLETED)
        return done

    def _start(self, hedge: bool) -> None:
        endpoint = self._waiting.popleft()
        work = self._turns.take(self._inquiry, endpoint, hedge)
        self._racing[asyncio.get_running_loop().create_task(work)] = endpoint

    def _only(self, name: str) -> None:
        """This one is being read: the others are given up."""
        for turn, endpoint in self._racing.items():
            if endpoint.name != name:
                turn.cancel()

    async def _give_up(self) -> None:
        for turn in self._racing:
            turn.cancel()
        if self._racing:
            await asyncio.gather(*self._racing, return_exceptions=True)
