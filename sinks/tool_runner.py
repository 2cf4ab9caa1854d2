"""What does a tool return, called over HTTP?

Only a tool that may be called twice is. Where the answer to any other was lost, nobody knows whether it was done: that
is `Uncertain`, not a failure, or a model would be told that nothing happened and try again.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx

from schemas.calls import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.http import Refusal, Reply, Secret, context_headers, fetch, now_utc, with_secrets

RETRIES = 2
PAUSE_S = 0.2
REPEATABLE = ("pure", "idempotent")
TEXT_TYPES = ("json", "text/plain", "text/csv", "text/markdown", "xml", "yaml")
ENDS = "weir-ends"


class ToolRunner:
    """The port `tool`: an async callable that never raises for what the world does.

    `fresh` is a client without reused connections, for what may be called only once.
    """

    def __init__(self, http: httpx.AsyncClient, secret: Secret, fresh: httpx.AsyncClient | None = None,
                 now: Callable[[], datetime] = now_utc, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
                 chance: Callable[[], float] = random.random):
        self._http, self._fresh, self._secret = http, fresh or http, secret
        self._now, self._sleep, self._chance = now, sleep, chance

    async def __call__(self, question: ToolQuestion) -> ToolAnswer | Failure | Uncertain:
        started_at, clock = self._now(), asyncio.get_running_loop().time
        deadline, repeatable = clock() + question.timeout_ms / 1000, question.effect in REPEATABLE
        retry = 0
        while True:
            try:
                reply = await self._ask(question, deadline - clock())
                return ToolAnswer(read_result(reply, question.result_chars), started_at, self._now(),
                                  ends=reply.headers.get(ENDS, "").lower() == "true")
            except Refusal as refusal:
                last = refusal
            pause_s = PAUSE_S * 2**retry * (0.5 + self._chance()) if last.retry_after_s is None else last.retry_after_s
            retry += 1
            if not (repeatable and last.again) or retry > RETRIES or pause_s >= deadline - clock():
                break
            await self._sleep(pause_s)
        if last.unsure and not repeatable:
            return Uncertain(f"{last.reason}: {last.detail}. Whether {question.tool} was carried out is not known",
                             started_at, self._now())
        return Failure(last.reason, last.detail, started_at, self._now(), retry)

    async def _ask(self, question: ToolQuestion, left_s: float) -> Reply:
        headers = context_headers(question.context) | {"idempotency-key": question.idempotency_key}
        headers |= {name.lower(): with_secrets(value, self._secret) for name, value in question.headers.items()}
        http = self._http if question.effect in REPEATABLE else self._fresh
        if question.method == "GET":
            return await fetch(http, "GET", question.url, headers, left_s, params=query_of(question.arguments))
        headers = {"content-type": "application/json"} | headers
        return await fetch(http, question.method, question.url, headers, left_s,
                           content=question.arguments.encode("utf-8", "replace"))


def query_of(arguments: str) -> dict[str, str]:
    """Arguments as a query string has them: text as it is, anything else as JSON."""
    values: Any = json.loads(arguments or "{}")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def read_result(reply: Reply, chars_max: int) -> str:
    """The result as text, exactly as received. Raises Refusal where it is none that a model should see."""
    kind = reply.content_type
    if kind and not any(text in kind for text in TEXT_TYPES) or kind.endswith("xhtml+xml"):
        raise Refusal("bad_content_type", f"the tool answered {reply.status} with {kind}: it should be JSON or plain text")
    text = reply.body.decode("utf-8", "replace")
    if len(text) > chars_max:
        raise Refusal("too_large", f"the result has {len(text)} characters, the tool's limit (result_chars) is {chars_max}")
    return text
