"""What does one endpoint's turn come to: an answer, or a refusal after up to three attempts?

Its own time bounds the turn, retries and pauses included, so that one that hangs leaves the next
its own. What asking again cannot mend (a timeout, a 400, an answer that makes no sense) ends the
turn at once, and so does an open breaker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from schemas.ports import ChatQuestion, Endpoint, Tried
from sinks.http import Refusal
from sinks.models.circuit_breaker import Breakers, Meter, Tell
from sinks.models.latency import Paces
from sinks.models.protocols.sse import Hear
from sinks.models.request_state import Inquiry, may_be_billed

RETRIES = 2
PAUSE_S = 0.25
TOO_SLOW = {"timeout", "first_token_timeout", "stream_idle"}
OUR_REASONS = {"no_secret", "bad_url", "too_large"}
THEIR_STATUS = {"http_408", "http_425", "http_429"}
Ask = Callable[[Endpoint, ChatQuestion, float, Hear], Awaitable[dict[str, Any]]]
"""`ask(endpoint, question, left_s, hear)`: one attempt. Raises Refusal."""
Heard = Callable[[ChatQuestion, int], Hear]
"""`heard(question, attempt)`: who is told the text of this attempt as it comes; attempts are
counted from 1.
"""


class Turns:
    """Takes turns, and remembers between questions how the endpoints did."""

    def __init__(
        self,
        ask: Ask,
        heard: Heard,
        sleep: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        moved: Tell,
        meter: Meter | None = None,
    ):
        self._ask = ask
        self._heard = heard
        self._sleep = sleep
        self._chance = chance
        self._meter = meter
        self.breakers = Breakers(moved)
        self.paces = Paces()

    async def take(
        self, inquiry: Inquiry, endpoint: Endpoint, hedge: bool = False
    ) -> tuple[dict[str, Any], int]:
        """What the endpoint answers, and the number of the attempt that it answered. Raises
        Refusal.
        """
        clock = asyncio.get_running_loop().time
        ends_at = min(inquiry.ends_at, clock() + endpoint.timeout_ms / 1000)
        last: Refusal | None = None
        for retry in range(RETRIES + 1):
            if ends_at <= clock():
                raise last or Refusal("timeout", "the time of the run is over")
            probe = self.breakers.admit(endpoint.provider, endpoint.name, clock())
            if probe is None:
                raise last or self._breaker_open(endpoint, clock())
            try:
                return await self._attempt(inquiry, endpoint, ends_at - clock(), probe, hedge)
            except Refusal as refusal:
                last = refusal
            pause_s = self._pause_s(last, retry)
            if not last.again or retry == RETRIES or pause_s >= ends_at - clock():
                break
            await self._sleep(pause_s)
        raise last

    async def _attempt(
        self, inquiry: Inquiry, endpoint: Endpoint, left_s: float, probe: bool, hedge: bool
    ) -> tuple[dict[str, Any], int]:
        """Whatever becomes of it, it is booked, and the breaker knows."""
        clock = asyncio.get_running_loop().time
        nth = inquiry.begin()
        began = clock()
        reason = "cancelled"
        unsure = True
        good = None
        tokens = None
        try:
            hear = inquiry.hearing(endpoint, self._heard(inquiry.question, nth))
            said = await self._ask(endpoint, inquiry.question, left_s, hear)
            reason = ""
            good = True
            tokens = said["tokens"]
            return said, nth
        except Refusal as refusal:
            reason = refusal.reason
            unsure = may_be_billed(refusal)
            good = judged(refusal, endpoint, left_s)
            raise
        finally:
            took_s = clock() - began
            self.breakers.ended(endpoint.provider, endpoint.name, probe, good, clock())
            if good or reason in TOO_SLOW:
                self.paces.note(endpoint.name, took_s, clock())
            inquiry.end(
                nth,
                Tried(
                    endpoint.name,
                    endpoint.provider,
                    reason,
                    round((began - inquiry.began) * 1000),
                    round(took_s * 1000),
                    tokens,
                    unsure,
                    hedge=hedge,
                ),
            )
            if self._meter:
                self._meter.count(
                    "weir_model_attempts", model=endpoint.name, outcome=reason or "answered"
                )

    def _pause_s(self, refusal: Refusal, retry: int) -> float:
        if refusal.retry_after_s is not None:
            return refusal.retry_after_s
        return PAUSE_S * 2**retry * (0.5 + self._chance())

    def _breaker_open(self, endpoint: Endpoint, now: float) -> Refusal:
        wait_s = self.breakers.wait_s(endpoint.provider, endpoint.name, now)
        return Refusal(
            "breaker_open",
            f"{endpoint.name} failed too often lately and is tried again in {wait_s:.0f} s: "
            "the table `attempts` says why; name a `fallback` of another provider",
        )


def judged(refusal: Refusal, endpoint: Endpoint, left_s: float) -> bool | None:
    """What a refusal says of the endpoint: False that it fails, None that it was our mistake, or
    had too little time.
    """
    if refusal.reason in OUR_REASONS:
        return None
    if refusal.reason[:6] in ("http_3", "http_4") and refusal.reason not in THEIR_STATUS:
        return None
    if refusal.reason == "timeout" and left_s < endpoint.timeout_ms / 2000:
        return None
    return False
