"""Which endpoint answers a question, after how many attempts?

Endpoints are gone through in order: each has up to three attempts in its own time (`model_turn`), a
slow one may get a rival (`model_race`), and where a route says so an answer has to stand a check
before it is taken. The question's time bounds all of it. An answer that was kept costs nothing
(`response_cache`).
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx

from schemas.ports import RUN_OVER, ChatAnswer, ChatQuestion, Endpoint, Failure, Tried
from sinks.http import Refusal, Secret, now_utc
from sinks.models import attempt
from sinks.models.circuit_breaker import Meter, Moves
from sinks.models.hedging import Race
from sinks.models.latency import HedgeBudgets
from sinks.models.protocols.sse import Hear
from sinks.models.request_state import Inquiry
from sinks.models.response_cache import ResponseCache
from sinks.models.retries import Ask, Heard, Turns


def unheard(_question: ChatQuestion, _attempt: int) -> Hear:
    return lambda _text, _last: None


class ModelApi:
    """The port `chat`: an async callable that never raises for what the world does."""

    def __init__(
        self,
        http: httpx.AsyncClient | None,
        secret: Secret,
        now: Callable[[], datetime] = now_utc,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        heard: Heard = unheard,
        meter: Meter | None = None,
        cache: ResponseCache | None = None,
        ask: Ask | None = None,
        runner: str = "",
    ):
        async def over_http(
            endpoint: Endpoint, question: ChatQuestion, left_s: float, hear: Hear
        ) -> dict[str, Any]:
            return await attempt.ask(http, endpoint, question, secret, left_s, hear)

        self._now = now
        self._cache = cache
        self._meter = meter
        self._moves = Moves("model", now, meter, runner)
        self._budgets = HedgeBudgets()
        self._turns = Turns(ask or over_http, heard, sleep, chance, self._moves, meter)

    async def __call__(self, question: ChatQuestion) -> ChatAnswer | Failure:
        kept = self._kept(question)
        if kept:
            return kept
        loop = asyncio.get_running_loop()
        started_at = self._now()
        ways = question.ways
        inquiry = Inquiry(question, loop.time(), loop.time() + question.timeout_ms / 1000)
        waiting = deque(self._ordered(question, loop.time()))
        preferred = waiting[0].name if waiting else ""
        if question.again and waiting:
            inquiry.tried.append(
                Tried(waiting[0].name, waiting[0].provider, "abandoned", unsure=True)
            )
        if ways.hedge_ms is not None:
            self._budgets.asked(ways.name, ways.hedge_budget)
        while True:
            race = Race(inquiry, waiting, self._turns, self._budgets)
            try:
                endpoint, said, nth = await race.run()
            except asyncio.CancelledError as error:
                if error.args != (RUN_OVER,):
                    raise
                tried = inquiry.book()
                return Failure(
                    "run_over",
                    RUN_OVER,
                    started_at,
                    self._now(),
                    len(tried),
                    preferred,
                    tried,
                    self._moves.take(),
                )
            except Refusal as refusal:
                tried = inquiry.book()
                return Failure(
                    refusal.reason,
                    refusal.detail,
                    started_at,
                    self._now(),
                    len(tried),
                    race.last.name if race.last else "",
                    tried,
                    self._moves.take(),
                )
            answer = ChatAnswer(
                endpoint.name,
                endpoint.provider,
                **said,
                started_at=started_at,
                at=self._now(),
                preferred=preferred,
            )
            if not self._goes_on(answer, endpoint, question, bool(waiting)):
                answer = replace(answer, attempts=len(inquiry.tried), tried=inquiry.book(nth))
                return replace(self._taken(answer, question), moved=self._moves.take())
            inquiry.reject(nth, "check_failed")

    def _ordered(self, question: ChatQuestion, now: float) -> list[Endpoint]:
        measured = question.endpoints[: question.ways.measured]
        by_name = {endpoint.name: endpoint for endpoint in measured}
        return [
            *(by_name[name] for name in self._turns.paces.fastest_first([*by_name], now)),
            *question.endpoints[len(measured) :],
        ]

    @staticmethod
    def _goes_on(
        answer: ChatAnswer, endpoint: Endpoint, question: ChatQuestion, others: bool
    ) -> bool:
        """Whether a better answer is asked for; where there is nobody else to ask, what there is is
        taken.
        """
        ways = question.ways
        checked = (
            others
            and ways.wrong_with is not None
            and endpoint in question.endpoints[: ways.checked]
        )
        return checked and ways.wrong_with(answer) is not None

    def _kept(self, question: ChatQuestion) -> ChatAnswer | None:
        if self._cache is None or question.kept is None:
            return None
        found = self._cache.find(question.kept, self._now())
        if self._meter:
            self._meter.count("weir_cache_lookups", outcome="hit" if found else "miss")
        return found and replace(found, preferred=found.endpoint)

    def _taken(self, answer: ChatAnswer, question: ChatQuestion) -> ChatAnswer:
        if self._cache is not None and question.kept is not None:
            self._cache.keep(question.kept, answer, self._now())
        return answer
