"""The state of one model request while it is under way: its deadline, its attempts, and whose text
is published.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from schemas.ports import ChatQuestion, Endpoint, Tried
from sinks.http import CallError
from sinks.models.sse import OnText

FREE = {"refused", "no_secret", "bad_url", "breaker_open"}
"""Reasons of attempts that cost nothing, beside those with an HTTP status: nothing was worked on.
"""


@dataclass(eq=False)
class RequestState:
    """`began` and `ends_at` are times of the loop's clock. `tried` has an entry for each attempt,
    filled when it is over.

    Of several endpoints called at once, only the first to send text is published: a reader never
    sees two answers mixed.
    """

    question: ChatQuestion
    began: float
    ends_at: float
    tried: list[Tried | None] = field(default_factory=list)
    speaker: str | None = None
    on_first_text: Callable[[str], None] = lambda _name: None

    def begin(self) -> int:
        """The number of an attempt that begins, from 1."""
        self.tried.append(None)
        return len(self.tried)

    def end(self, nth: int, tried: Tried) -> None:
        """Records how an attempt ended."""
        self.tried[nth - 1] = tried

    def reject(self, nth: int, reason: str) -> None:
        """Records why the answer of an attempt is not used."""
        tried = self.tried[nth - 1]
        if tried is None:
            raise ValueError(f"attempt {nth} has not ended: it cannot be rejected")
        self.tried[nth - 1] = replace(tried, reason=reason)

    def attempts(self, used: int = 0) -> tuple[Tried, ...]:
        """All attempts that ended; each but the used one is wasted. Of two good answers one came
        too late.
        """
        return tuple(
            replace(one, wasted=nth != used, reason=one.reason or ("" if nth == used else "late"))
            for nth, one in enumerate(self.tried, 1)
            if one is not None
        )

    def is_checked(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint's answer is checked before it is used, so nothing of it is
        published as it comes.
        """
        return endpoint in self.question.endpoints[: self.question.ways.checked]

    def listener(self, endpoint: Endpoint, on_text: OnText) -> OnText:
        """The listener of an attempt at this endpoint."""
        if self.is_checked(endpoint):
            return lambda _text, _last: None

        def publish(text: str, last: bool) -> None:
            if self.speaker is None:
                self.speaker = endpoint.name
                self.on_first_text(endpoint.name)
            if self.speaker == endpoint.name:
                on_text(text, last)

        return publish


def may_be_billed(error: CallError) -> bool:
    """Whether an attempt that failed may be on the bill nevertheless."""
    if error.partial or error.uncertain:
        return True
    return not (error.reason in FREE or error.reason.startswith("http_"))
