"""Which endpoint answers a question, after how many attempts?

Each endpoint is tried up to three times, with jittered pauses and as long as Retry-After asks; then the next one.
What asking again cannot mend (a timeout, a 400, an answer that makes no sense) goes to the next endpoint at once. The
question's time bounds all of it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime

import httpx

from schemas.calls import ChatAnswer, ChatQuestion, Failure
from sinks.attempt import ask
from sinks.http import Refusal, Secret, now_utc
from sinks.streaming import Hear

RETRIES = 2
PAUSE_S = 0.25
Heard = Callable[[ChatQuestion, int], Hear]
"""`heard(question, attempt)`: who is told the text of this attempt as it comes; attempts are counted from 1."""


def unheard(_question: ChatQuestion, _attempt: int) -> Hear:
    return lambda _text, _last: None


class ModelApi:
    """The port `chat`: an async callable that never raises for what the world does."""

    def __init__(self, http: httpx.AsyncClient, secret: Secret, now: Callable[[], datetime] = now_utc,
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, chance: Callable[[], float] = random.random,
                 heard: Heard = unheard):
        self._http, self._secret, self._now, self._sleep, self._chance = http, secret, now, sleep, chance
        self._heard = heard

    async def __call__(self, question: ChatQuestion) -> ChatAnswer | Failure:
        started_at, deadline = self._now(), asyncio.get_running_loop().time() + question.timeout_ms / 1000
        attempts, last, tried = 0, Refusal("no_endpoint", "the question names no model"), ""
        for endpoint in question.endpoints:
            tried = endpoint.name
            for retry in range(RETRIES + 1):
                left_s = deadline - asyncio.get_running_loop().time()
                if left_s <= 0:
                    break
                attempts += 1
                try:
                    said = await ask(self._http, endpoint, question, self._secret, left_s,
                                     self._heard(question, attempts))
                    return ChatAnswer(endpoint.name, endpoint.provider, **said, started_at=started_at, at=self._now(),
                                      attempts=attempts)
                except Refusal as refusal:
                    last = refusal
                pause_s = self._pause_s(last, retry)
                if not last.again or retry == RETRIES or pause_s >= deadline - asyncio.get_running_loop().time():
                    break
                await self._sleep(pause_s)
            if last.begun:  # somebody reads its text already: another model's would contradict it
                break
        return Failure(last.reason, last.detail, started_at, self._now(), attempts, tried)

    def _pause_s(self, refusal: Refusal, retry: int) -> float:
        if refusal.retry_after_s is not None:
            return refusal.retry_after_s
        return PAUSE_S * 2**retry * (0.5 + self._chance())
