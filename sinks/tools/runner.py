"""The tool port: calls a tool of any kind, as often as its effect allows.

Only a tool that may be called twice is retried. Where the answer to any other was lost, nobody
knows whether it was carried out: that is `Uncertain`, not a failure, or a model would be told that
nothing happened and would try again. A reconcilable tool is asked by its second operation, with the
same idempotency key, and called again only where that says that it was not carried out.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from schemas.definitions.tools import McpTarget, PythonTarget, Reconcile, ToolTarget
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.circuit_breaker import BreakerTransitions, CircuitBreakers
from sinks.http import CallError, Secret
from sinks.redaction import SecretRedactor
from sinks.runtime import DEFAULT_RUNTIME, Runtime
from sinks.tools.kinds import ToolContext, ToolKind, ToolKinds
from sinks.tools.kinds.http import ask_reconcile
from sinks.tools.results import (
    REPEATABLE,
    LargeResultSlots,
    ToolResult,
    reconciled,
)

RETRIES = 2
PAUSE_S = 0.2
RECONCILE_S = 10.0
NO_PROVIDER = ""
"""A tool has no provider, and circuit breakers are kept by provider and name."""
DONE_REASONS = ("too_large", "bad_content_type", "bad_result")
"""Reasons to refuse a result that came: the tool has done its work."""
DONE = ". It was carried out, so it must not be called again for that"


Shortener = Callable[[ToolQuestion, ToolAnswer], Awaitable[ToolAnswer | Failure]]


class ToolRunner:
    """The port `tool`: an async callable that never raises for what the other side does.

    `shorten` makes a result that is longer than a model may read short enough. `kinds` are further
    kinds of tools, or replace those of `sinks/tools/kinds`.
    """

    def __init__(
        self,
        context: ToolContext,
        secret: Secret,
        runtime: Runtime = DEFAULT_RUNTIME,
        shorten: Shortener | None = None,
        kinds: Mapping[str, ToolKind] | None = None,
    ):
        self._slots = LargeResultSlots()
        self._context = replace(context, before_large=self._slots.take)
        self._kinds = ToolKinds(self._context, kinds or {})
        self._secret = secret
        self._runtime = runtime
        self._shorten = shorten
        self._transitions = BreakerTransitions("tool", runtime)
        self._breakers = CircuitBreakers(self._transitions)
        self._limits: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def __call__(self, question: ToolQuestion) -> ToolAnswer | Failure | Uncertain:
        try:
            answer = await self._ended(question)
            if (
                self._shorten
                and isinstance(answer, ToolAnswer)
                and len(answer.content) > question.shown_chars
            ):
                answer = await self._shorten(question, answer)
        finally:
            self._slots.release(question.idempotency_key)
        return replace(answer, moved=self._transitions.take())

    async def _ended(self, question: ToolQuestion) -> ToolAnswer | Failure | Uncertain:
        """How the call ended, with the secrets redacted."""
        started_at = self._runtime.now()
        secret = SecretRedactor(self._secret)
        deadline = asyncio.get_running_loop().time() + question.timeout_ms / 1000
        call = ToolCall(question, deadline)
        try:
            async with self._concurrency(call):
                result = await self._with_retries(call, secret)
        except CallError as error:
            return self._failed(call, error, secret, started_at)
        text = secret.redact(result.text)
        return ToolAnswer(text, started_at, self._runtime.now(), ends=result.ends)

    def _failed(
        self, call: "ToolCall", last: CallError, secret: SecretRedactor, started_at: datetime
    ) -> Failure | Uncertain:
        question = call.question
        detail = secret.redact_refusal(last.detail)
        now = self._runtime.now()
        repeatable = question.effect in REPEATABLE
        if last.uncertain and not repeatable:
            words = f"{last.reason}: {detail}. Whether {question.tool} was carried out is not known"
            return Uncertain(words, started_at, now)
        if last.reason in DONE_REASONS and not repeatable:
            detail += DONE
        return Failure(last.reason, detail, started_at, now, max(1, call.sent))

    @asynccontextmanager
    async def _concurrency(self, call: "ToolCall") -> AsyncIterator[None]:
        """Waits until fewer calls of this tool are under way than it allows. Raises CallError when
        the timeout is over.
        """
        limit = call.question.concurrency
        tool = call.question.tool
        if limit is None:
            yield
            return
        slots = self._limits.setdefault((tool, limit), asyncio.Semaphore(limit))
        try:
            async with asyncio.timeout(max(0.0, call.left_s())):
                await slots.acquire()
        except TimeoutError as error:
            raise CallError(
                "busy",
                f"{limit} calls of {tool} were under way all the time (its concurrency), so this "
                "one was not started",
            ) from error
        try:
            yield
        finally:
            slots.release()

    async def _with_retries(self, call: "ToolCall", secret: Secret) -> ToolResult:
        """The result, after as many attempts as the tool's effect allows. Raises the last
        CallError.
        """
        question = call.question
        begun = question.begun
        while True:
            if begun:
                found = await self._reconcile(question, secret)
                if found is not None:
                    return found
                begun = False
                if call.sent > RETRIES or call.left_s() <= 0:
                    raise CallError(
                        "not_done", f"the answer was lost, and {question.tool} was not carried out"
                    )
            try:
                return await self._once(call, secret)
            except CallError as error:
                last = error
            if last.uncertain and question.effect == "reconcilable" and question.reconcile:
                begun = True
                continue
            again = last.retryable and call.sent <= RETRIES and call.may_repeat()
            if not again or not await self._paused(call, last):
                raise last

    async def _paused(self, call: "ToolCall", last: CallError) -> bool:
        """Waits before the next attempt; False where there is no time left for it."""
        pause_s = PAUSE_S * 2 ** (call.sent - 1) * (0.5 + self._runtime.chance())
        pause_s = pause_s if last.retry_after_s is None else last.retry_after_s
        if pause_s >= call.left_s():
            return False
        await self._runtime.sleep(pause_s)
        return True

    async def _once(self, call: "ToolCall", secret: Secret) -> ToolResult:
        """One attempt, unless the tool's circuit breaker is open."""
        clock = asyncio.get_running_loop().time
        name = call.question.tool
        good: bool | None = None
        probe = self._breakers.admit(NO_PROVIDER, name, clock())
        if probe is None:
            wait_s = self._breakers.wait_s(NO_PROVIDER, name, clock())
            raise CallError(
                "breaker_open",
                f"{name} failed too often, so it was not called: it is tried again in "
                f"{wait_s:.0f} s",
            )
        call.sent += 1
        try:
            kind = self._kinds.find(call.question.target.via)
            result = await kind(call.question, call.left_s(), secret)
            good = True
            return result
        except CallError as error:
            # Any other error is the caller's mistake, or the tool's considered answer.
            good = False if error.retryable or error.uncertain else None
            raise
        finally:
            self._breakers.record(NO_PROVIDER, name, probe, good, clock())

    async def _reconcile(self, question: ToolQuestion, secret: Secret) -> ToolResult | None:
        """Asks the second operation until it says whether the first was carried out. Raises
        CallError, uncertain, where it never does. It has a timeout of its own, because the call may
        have used all of its.
        """
        second = question.reconcile
        if second is None:
            raise CallError(
                "begun", "it was begun before a crash, and has no `reconcile`", uncertain=True
            )
        clock = asyncio.get_running_loop().time
        deadline = clock() + RECONCILE_S
        tried = 0
        while True:
            try:
                left_s = deadline - clock()
                return reconciled(await self._second(question, second, left_s, secret))
            except CallError as error:
                pause_s = PAUSE_S * 2**tried * (0.5 + self._runtime.chance())
                tried += 1
                if not error.retryable or pause_s >= deadline - clock():
                    raise
                await self._runtime.sleep(pause_s)

    async def _second(
        self, question: ToolQuestion, second: Reconcile, left_s: float, secret: Secret
    ) -> ToolResult | CallError:
        """The answer of the second operation, or why there is none."""
        try:
            if second.url:
                return await ask_reconcile(self._context, question, left_s, secret)
            call = replace(
                question,
                effect="pure",
                reconcile=None,
                target=second_target(question.target, second),
                arguments=f'{{"idempotency_key": "{question.idempotency_key}"}}',
            )
            return await self._kinds.find(call.target.via)(call, left_s, secret)
        except CallError as error:
            return error


def second_target(target: ToolTarget, second: Reconcile) -> ToolTarget:
    """The tool of the same server, or the Python function, that says whether a call was carried
    out.
    """
    if isinstance(target, McpTarget):
        return target.model_copy(update={"mcp_tool": second.mcp_tool})
    if isinstance(target, PythonTarget):
        return target.model_copy(update={"entry": second.entry})
    return target


class ToolCall:
    """One call, how often it was sent, and how long it may still take."""

    def __init__(self, question: ToolQuestion, deadline: float):
        self.question = question
        self._deadline = deadline
        self.sent = 0

    def left_s(self) -> float:
        """The seconds until the call's timeout."""
        return self._deadline - asyncio.get_running_loop().time()

    def may_repeat(self) -> bool:
        """Whether a call that was surely not carried out may be sent again."""
        effect = self.question.effect
        reconcilable = effect == "reconcilable" and self.question.reconcile is not None
        return effect in REPEATABLE or reconcilable
