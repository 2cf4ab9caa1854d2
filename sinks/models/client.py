"""The model port: a question goes through its endpoints until one answers.

Endpoints are called in order: each has up to three attempts in its own time (`retries`), a slow one
may get a hedge (`hedging`), and where a route has a check the answer has to pass it. The question's
timeout bounds all of it. An answer in the response cache costs nothing (`response_cache`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from schemas.definitions.routes import Check
from schemas.ports import RUN_OVER, ChatAnswer, ChatQuestion, Endpoint, Failure, Tried
from sinks.circuit_breaker import BreakerTransitions
from sinks.http import CallError
from sinks.models.hedging import HedgedRequest
from sinks.models.latency import HedgeBudgets
from sinks.models.request_state import RequestState
from sinks.models.response_cache import ResponseCache
from sinks.models.retries import ListenerOf, Retries, Send
from sinks.models.sse import OnText
from sinks.runtime import DEFAULT_RUNTIME, Runtime

CheckAnswer = Callable[[Check, ChatAnswer], str | None]
"""`check_answer(check, answer)`: what is wrong with an answer; None where it passes."""


def no_listener(_question: ChatQuestion, _attempt: int) -> OnText:
    """A listener that drops the text."""
    return lambda _text, _last: None


def no_check(check: Check, _answer: ChatAnswer) -> str | None:
    """Raises ValueError: this client was made without a way to check answers."""
    raise ValueError(f"the route has a check ({check}), and this client has no check_answer")


class ModelClient:
    """The port `chat`: an async callable that never raises for what the other side does."""

    def __init__(
        self,
        send: Send,
        runtime: Runtime = DEFAULT_RUNTIME,
        listener_of: ListenerOf = no_listener,
        cache: ResponseCache | None = None,
        check_answer: CheckAnswer = no_check,
    ):
        self._runtime = runtime
        self._cache = cache
        self._check_answer = check_answer
        self._transitions = BreakerTransitions("model", runtime)
        self._budgets = HedgeBudgets()
        self._retries = Retries(send, listener_of, runtime, self._transitions)

    async def __call__(self, question: ChatQuestion) -> ChatAnswer | Failure:
        cached = self._cached(question)
        if cached:
            return cached
        now = asyncio.get_running_loop().time()
        state = RequestState(question, now, now + question.timeout_ms / 1000)
        waiting = deque(self._ordered(question, now))
        if question.again and waiting:
            abandoned = Tried(waiting[0].name, waiting[0].provider, "abandoned", unsure=True)
            state.tried.append(abandoned)
        if question.ways.hedge_ms is not None:
            self._budgets.asked(question.ways.name, question.ways.hedge_budget)
        return await self._answered(state, waiting)

    async def _answered(
        self, state: RequestState, waiting: deque[Endpoint]
    ) -> ChatAnswer | Failure:
        """Calls the endpoints until an answer passes its check, or none is left."""
        started_at = self._runtime.now()
        preferred = waiting[0].name if waiting else ""
        while True:
            hedged = HedgedRequest(state, waiting, self._retries, self._budgets)
            try:
                endpoint, fields, nth = await hedged.run()
            except asyncio.CancelledError as error:
                if error.args != (RUN_OVER,):
                    raise
                return self._failure(state, started_at, "run_over", RUN_OVER, preferred)
            except CallError as error:
                last = hedged.last.name if hedged.last else ""
                return self._failure(state, started_at, error.reason, error.detail, last)
            answer = ChatAnswer(
                endpoint.name,
                endpoint.provider,
                **fields,
                started_at=started_at,
                at=self._runtime.now(),
                preferred=preferred,
            )
            if waiting and self._fails_check(answer, endpoint, state.question):
                state.reject(nth, "check_failed")
                continue
            answer = replace(answer, attempts=len(state.tried), tried=state.attempts(nth))
            self._store(answer, state.question)
            return replace(answer, moved=self._transitions.take())

    def _failure(
        self, state: RequestState, started_at: datetime, reason: str, detail: str, model: str
    ) -> Failure:
        tried = state.attempts()
        ended = Failure(reason, detail, started_at, self._runtime.now(), len(tried), model)
        return replace(ended, tried=tried, moved=self._transitions.take())

    def _ordered(self, question: ChatQuestion, now: float) -> list[Endpoint]:
        """The endpoints in the order in which they are called: measured ones fastest first."""
        measured = question.endpoints[: question.ways.measured]
        by_name = {endpoint.name: endpoint for endpoint in measured}
        return [
            *(by_name[name] for name in self._retries.latency.fastest_first([*by_name], now)),
            *question.endpoints[len(measured) :],
        ]

    def _fails_check(self, answer: ChatAnswer, endpoint: Endpoint, question: ChatQuestion) -> bool:
        ways = question.ways
        if ways.check is None or endpoint not in question.endpoints[: ways.checked]:
            return False
        return self._check_answer(ways.check, answer) is not None

    def _cached(self, question: ChatQuestion) -> ChatAnswer | None:
        if self._cache is None or question.kept is None:
            return None
        found = self._cache.find(question.kept, self._runtime.now())
        if self._runtime.meter:
            outcome = "hit" if found else "miss"
            self._runtime.meter.count("weir_cache_lookups", outcome=outcome)
        return found and replace(found, preferred=found.endpoint)

    def _store(self, answer: ChatAnswer, question: ChatQuestion) -> None:
        if self._cache is not None and question.kept is not None:
            self._cache.store(question.kept, answer, self._runtime.now())
