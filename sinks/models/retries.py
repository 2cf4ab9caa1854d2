"""Up to three attempts at one endpoint, within its own timeout.

The timeout bounds retries and pauses too, so that an endpoint that hangs leaves the next one its
own time. What a retry cannot mend (a timeout, a 400, an answer that makes no sense) and an open
circuit breaker end it at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from schemas.ports import ChatQuestion, Endpoint, Tried
from schemas.vendors.usage import NO_TOKENS, UNKNOWN, ReportedUsage
from sinks.circuit_breaker import CircuitBreakers, OnTransition
from sinks.http import CallError
from sinks.models.latency import LatencyTracker
from sinks.models.provider_errors import attached_usage
from sinks.models.request_state import RequestState, may_be_billed
from sinks.models.sse import OnText
from sinks.runtime import Runtime

RETRIES = 2
PAUSE_S = 0.25
TOO_SLOW = {"timeout", "first_token_timeout", "stream_idle"}
CALLER_FAULTS = {"no_secret", "bad_url", "too_large"}
ENDPOINT_FAULT_STATUS = {"http_408", "http_425", "http_429"}
Send = Callable[[Endpoint, ChatQuestion, float, OnText], Awaitable[dict[str, Any]]]
"""`send(endpoint, question, left_s, on_text)`: one attempt. Raises CallError."""
ListenerOf = Callable[[ChatQuestion, int], OnText]
"""`listener_of(question, attempt)`: who receives the text of this attempt as it comes; attempts are
counted from 1.
"""


class Retries:
    """Calls endpoints with retries, and remembers between requests how they did."""

    def __init__(
        self, send: Send, listener_of: ListenerOf, runtime: Runtime, on_transition: OnTransition
    ):
        self._send = send
        self._listener_of = listener_of
        self._runtime = runtime
        self.breakers = CircuitBreakers(on_transition)
        self.latency = LatencyTracker()

    async def call(
        self, state: RequestState, endpoint: Endpoint, hedge: bool = False
    ) -> tuple[dict[str, Any], int]:
        """The endpoint's answer, and the number of the attempt that it answered. Raises CallError."""
        clock = asyncio.get_running_loop().time
        ends_at = min(state.ends_at, clock() + endpoint.timeout_ms / 1000)
        last = CallError("timeout", "the time of the run is over")
        for retry in range(RETRIES + 1):
            if ends_at <= clock():
                break
            probe = self.breakers.admit(endpoint.provider, endpoint.name, clock())
            if probe is None:
                raise last if retry else self._breaker_open(endpoint, clock())
            try:
                return await self._attempt(state, endpoint, ends_at - clock(), probe, hedge)
            except CallError as error:
                last = error
            pause_s = self._pause_s(last, retry)
            if not last.retryable or retry == RETRIES or pause_s >= ends_at - clock():
                break
            await self._runtime.sleep(pause_s)
        raise last

    async def _attempt(
        self, state: RequestState, endpoint: Endpoint, left_s: float, probe: bool, hedge: bool
    ) -> tuple[dict[str, Any], int]:
        """One attempt. However it ends, it is recorded, and the circuit breaker knows."""
        clock = asyncio.get_running_loop().time
        nth = state.begin()
        began = clock()
        reason = "cancelled"
        uncertain = True
        good: bool | None = None
        usage = UNKNOWN
        try:
            on_text = state.listener(endpoint, self._listener_of(state.question, nth))
            answer = await self._send(endpoint, state.question, left_s, on_text)
            reason = ""
            good = True
            usage = reported_in(answer)
            return answer, nth
        except CallError as error:
            reason = error.reason
            usage = attached_usage(error)
            uncertain = may_be_billed(error)
            good = endpoint_healthy(error, endpoint, left_s)
            raise
        except asyncio.CancelledError as error:
            usage = attached_usage(error)
            raise
        finally:
            took_s = clock() - began
            self.breakers.record(endpoint.provider, endpoint.name, probe, good, clock())
            if good or reason in TOO_SLOW:
                self.latency.note(endpoint.name, took_s, clock())
            after_ms = round((began - state.began) * 1000)
            ended = Tried(endpoint.name, endpoint.provider, reason, after_ms, round(took_s * 1000))
            ended = replace(
                ended,
                tokens=usage.tokens if usage.reported else None,
                usage_known=usage.known,
                unsure=uncertain,
                hedge=hedge,
            )
            state.end(nth, ended)
            if self._runtime.meter:
                self._runtime.meter.count(
                    "weir_model_attempts", model=endpoint.name, outcome=reason or "answered"
                )

    def _pause_s(self, error: CallError, retry: int) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s
        return PAUSE_S * 2**retry * (0.5 + self._runtime.chance())

    def _breaker_open(self, endpoint: Endpoint, now: float) -> CallError:
        wait_s = self.breakers.wait_s(endpoint.provider, endpoint.name, now)
        return CallError(
            "breaker_open",
            f"{endpoint.name} failed too often and is not called for {wait_s:.0f} s: the table "
            "`attempts` shows why; name a `fallback` of another provider",
        )


def reported_in(answer: dict[str, Any]) -> ReportedUsage:
    """The usage that an answer has."""
    tokens = answer["tokens"]
    known = answer.get("usage_known", True)
    return ReportedUsage(tokens, known, known or tokens != NO_TOKENS)


def endpoint_healthy(error: CallError, endpoint: Endpoint, left_s: float) -> bool | None:
    """What an error says of the endpoint: False where the endpoint failed, None where the request
    was at fault, or had too little time.
    """
    if error.reason in CALLER_FAULTS:
        return None
    if error.reason[:6] in ("http_3", "http_4") and error.reason not in ENDPOINT_FAULT_STATUS:
        return None
    if error.reason == "timeout" and left_s < endpoint.timeout_ms / 2000:
        return None
    return False
