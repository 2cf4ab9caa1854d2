"""What is known of a question while it is under way: how long it may take, what was tried, whose
words are being read?
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from schemas.ports import ChatQuestion, Endpoint, Tried
from sinks.http import Refusal
from sinks.models.protocols.sse import Hear

FREE = {"refused", "no_secret", "bad_url", "breaker_open"}
"""Refusals that cost nothing, beside those with a status: nothing was worked on."""


@dataclass(eq=False)
class Inquiry:
    """`began` and `ends_at` are times of the loop's clock. `tried` has a place for each attempt,
    filled when it is over.

    Of several endpoints asked at once the first to be heard is the only one heard: nobody reads two
    answers mixed.
    """

    question: ChatQuestion
    began: float
    ends_at: float
    tried: list[Tried | None] = field(default_factory=list)
    speaker: str | None = None
    spoke: Callable[[str], None] = lambda _name: None

    def begin(self) -> int:
        """The number of an attempt that begins, from 1."""
        self.tried.append(None)
        return len(self.tried)

    def end(self, nth: int, tried: Tried) -> None:
        self.tried[nth - 1] = tried

    def reject(self, nth: int, reason: str) -> None:
        """An answer that came and is not taken."""
        self.tried[nth - 1] = replace(self.tried[nth - 1], reason=reason)

    def book(self, taken: int = 0) -> tuple[Tried, ...]:
        """All attempts; wasted is each but the one that was taken. Of two good answers one came too
        late.
        """
        return tuple(
            replace(one, wasted=nth != taken, reason=one.reason or ("" if nth == taken else "late"))
            for nth, one in enumerate(self.tried, 1)
            if one is not None
        )

    def unheard(self, endpoint: Endpoint) -> bool:
        """Whether nobody hears this endpoint's answer as it comes: it is yet to be checked."""
        return endpoint in self.question.endpoints[: self.question.ways.checked]

    def hearing(self, endpoint: Endpoint, told: Hear) -> Hear:
        """The listener of an attempt at this endpoint."""
        if self.unheard(endpoint):
            return lambda _text, _last: None

        def hear(text: str, last: bool) -> None:
            if self.speaker is None:
                self.speaker = endpoint.name
                self.spoke(endpoint.name)
            if self.speaker == endpoint.name:
                told(text, last)

        return hear


def may_be_billed(refusal: Refusal) -> bool:
    """Whether an attempt that was refused may be on the bill nevertheless."""
    if refusal.begun or refusal.unsure:
        return True
    return not (refusal.reason in FREE or refusal.reason.startswith("http_"))
