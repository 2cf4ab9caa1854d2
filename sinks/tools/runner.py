"""What does a tool return, however it is reached?

Only a tool that may be called twice is. Where the answer to any other was lost, nobody knows
whether it was done: that is `Uncertain`, not a failure, or a model would be told that nothing
happened and try again. A reconcilable tool is asked instead, by its second operation and with the
same key, and called again only when that says that it was not done.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import httpx

from schemas.definitions.tools import McpTarget, PythonTarget, Reconcile, ToolTarget
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.http import Refusal, Secret, now_utc
from sinks.models.circuit_breaker import Breakers, Meter, Moves
from sinks.tools.http import REPEATABLE, HttpTools
from sinks.tools.results import Discreet, Kind, Result, Room, settled, unreachable

RETRIES = 2
PAUSE_S = 0.2
RECONCILE_S = 10.0
NOBODY = ""
"""The provider of a tool: breakers ask for one."""
DONE = ("too_large", "bad_content_type", "bad_result")
"""Refusals of a result that came: whatever was asked has been done."""


Keep = Callable[[ToolQuestion, ToolAnswer], Awaitable[ToolAnswer | Failure]]


class ToolRunner:
    """The port `tool`: an async callable that never raises for what the world does.

    `fresh` is a client without reused connections, for what may be called only once. `keep` makes
    of a result that is longer than a model may see one that is not. `more` are further ways to
    reach a tool, by the name that definitions give them as `via`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        secret: Secret,
        fresh: httpx.AsyncClient | None = None,
        now: Callable[[], datetime] = now_utc,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        more: Mapping[str, Kind] | None = None,
        meter: Meter | None = None,
        runner: str = "",
        keep: Keep | None = None,
    ):
        self._room = Room()
        self._keep = keep
        self._web = HttpTools(http, fresh or http, self._room.take)
        self._kinds: dict[str, Kind] = {"http": self._web, "openapi": self._web, **(more or {})}
        self._secret = secret
        self._now = now
        self._sleep = sleep
        self._chance = chance
        self._moves = Moves("tool", now, meter, runner)
        self._breakers = Breakers(self._moves)
        self._places: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def __call__(self, question: ToolQuestion) -> ToolAnswer | Failure | Uncertain:
        try:
            answer = await self._settled(question)
            if (
                self._keep
                and isinstance(answer, ToolAnswer)
                and len(answer.content) > question.shown_chars
            ):
                answer = await self._keep(question, answer)
        finally:
            self._room.leave(question.idempotency_key)
        return replace(answer, moved=self._moves.take())

    async def _settled(self, question: ToolQuestion) -> ToolAnswer | Failure | Uncertain:
        started_at = self._now()
        secret = Discreet(self._secret)
        call = Attempts(question, asyncio.get_running_loop().time() + question.timeout_ms / 1000)
        try:
            async with self._place(call):
                result = await self._through(call, secret)
        except Refusal as refusal:
            return self._refused(question, refusal, call, secret, started_at)
        return ToolAnswer(secret.hide(result.text), started_at, self._now(), ends=result.ends)

    def _refused(
        self,
        question: ToolQuestion,
        last: Refusal,
        call: "Attempts",
        secret: Discreet,
        started_at: datetime,
    ) -> Failure | Uncertain:
        detail = secret.hide(last.detail)
        repeatable = question.effect in REPEATABLE
        if last.unsure and not repeatable:
            return Uncertain(
                f"{last.reason}: {detail}. Whether {question.tool} was carried out is not known",
                started_at,
                self._now(),
            )
        if last.reason in DONE and not repeatable:
            detail += ". It was carried out, so it must not be called again for that"
        return Failure(last.reason, detail, started_at, self._now(), max(1, call.sent))

    @asynccontextmanager
    async def _place(self, call: "Attempts") -> AsyncIterator[None]:
        """Waits until fewer calls of this tool are under way than it allows. Raises Refusal when
        time is over.
        """
        limit = call.question.concurrency
        tool = call.question.tool
        if limit is None:
            yield
            return
        places = self._places.setdefault((tool, limit), asyncio.Semaphore(limit))
        try:
            async with asyncio.timeout(max(0.0, call.left_s())):
                await places.acquire()
        except TimeoutError as error:
            raise Refusal(
                "busy",
                f"{limit} calls of {tool} were under way all the time (its concurrency), so this one "
                "was not begun",
            ) from error
        try:
            yield
        finally:
            places.release()

    async def _through(self, call: "Attempts", secret: Secret) -> Result:
        """The result, after as many attempts as the tool's effect allows. Raises the last Refusal."""
        question = call.question
        begun = call.question.begun
        while True:
            if begun:
                found = await self._happened(question, secret)
                if found is not None:
                    return found
                begun = False
                if call.sent > RETRIES or call.left_s() <= 0:
                    raise Refusal(
                        "not_done", f"the answer was lost, and {question.tool} was not carried out"
                    )
            try:
                return await self._once(call, secret)
            except Refusal as refusal:
                last = refusal
            if last.unsure and question.effect == "reconcilable" and question.reconcile:
                begun = True
            elif (
                not last.again
                or call.sent > RETRIES
                or not call.may_repeat()
                or not await self._paused(call, last)
            ):
                raise last

    async def _paused(self, call: "Attempts", last: Refusal) -> bool:
        """Waits before the next attempt; False where there is no time left for it."""
        pause_s = PAUSE_S * 2 ** (call.sent - 1) * (0.5 + self._chance())
        pause_s = pause_s if last.retry_after_s is None else last.retry_after_s
        if pause_s >= call.left_s():
            return False
        await self._sleep(pause_s)
        return True

    async def _once(self, call: "Attempts", secret: Secret) -> Result:
        """One attempt, unless the tool failed so often lately that its breaker is open."""
        clock = asyncio.get_running_loop().time
        name = call.question.tool
        good = None
        probe = self._breakers.admit(NOBODY, name, clock())
        if probe is None:
            raise Refusal(
                "breaker_open",
                f"{name} failed too often lately, so it was not called: it is tried again in "
                f"{self._breakers.wait_s(NOBODY, name, clock()):.0f} s",
            )
        call.sent += 1
        try:
            result = await self._reached(call.question, call.left_s(), secret)
            good = True
            return result
        except Refusal as refusal:
            good = (
                False if refusal.again or refusal.unsure else None
            )  # else it was our mistake, or its considered no
            raise
        finally:
            self._breakers.ended(NOBODY, name, probe, good, clock())

    async def _reached(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        kind = self._kinds.get(question.target.via)
        if kind is None:
            raise unreachable(question)
        return await kind(question, left_s, secret)

    async def _happened(self, question: ToolQuestion, secret: Secret) -> Result | None:
        """Asks the second operation until it says whether the first happened. Raises Refusal,
        unsure, when it never does: it has a time of its own, because the call may have used all of
        its.
        """
        second = question.reconcile
        if second is None:
            raise Refusal(
                "begun",
                "it was begun before a crash, and has no `reconcile` to be asked",
                unsure=True,
            )
        clock = asyncio.get_running_loop().time
        deadline = clock() + RECONCILE_S
        tried = 0
        while True:
            try:
                try:
                    asked = await self._second(question, deadline - clock(), secret)
                except Refusal as refusal:
                    asked = refusal
                return settled(asked)
            except Refusal as refusal:
                pause_s = PAUSE_S * 2**tried * (0.5 + self._chance())
                tried = tried + 1
                if not refusal.again or pause_s >= deadline - clock():
                    raise
                await self._sleep(pause_s)

    async def _second(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        second = question.reconcile
        if second is None or second.url:
            return await self._web.happened(question, left_s, secret)
        asked = replace(
            question,
            effect="pure",
            reconcile=None,
            target=_second_target(question.target, second),
            arguments=f'{{"idempotency_key": "{question.idempotency_key}"}}',
        )
        return await self._reached(asked, left_s, secret)


def _second_target(target: ToolTarget, second: Reconcile) -> ToolTarget:
    """The tool of the same server, or the Python function, that says whether a call happened."""
    if isinstance(target, McpTarget):
        return target.model_copy(update={"mcp_tool": second.mcp_tool})
    if isinstance(target, PythonTarget):
        return target.model_copy(update={"entry": second.entry})
    return target


class Attempts:
    """One call, how often it was sent, and how long it may still take."""

    def __init__(self, question: ToolQuestion, deadline: float):
        self.question = question
        self._deadline = deadline
        self.sent = 0

    def left_s(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def may_repeat(self) -> bool:
        """Whether what was surely not done may be tried again by itself."""
        effect = self.question.effect
        return effect in REPEATABLE or (
            effect == "reconcilable" and self.question.reconcile is not None
        )
