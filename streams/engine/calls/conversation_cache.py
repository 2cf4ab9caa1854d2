"""Remembers the messages of a conversation that a later request does not carry again.

A memory of the conversations that a worker has asked about, by session: nothing is lost with
it but a repeated question (see `processors/agent/conversation/message_deltas.py`).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from processors.agent.conversation.message_deltas import UNKNOWN
from processors.agent.conversation.messages import chars_in
from schemas.events.values import Message
from schemas.ports import ChatAnswer, ChatQuestion, Failure, Impossible
from sinks.runtime import now_utc

CHARS_MAX = 32_000_000
MARKS_MAX = 4
"""A question that comes again after an abort follows one before the last."""


@dataclass
class Known:
    """A conversation, and how many of its messages each of the last digests names."""

    messages: tuple[Message, ...] = ()
    marks: dict[str, int] = field(default_factory=dict)
    chars: int = 0


class Conversations:
    """The conversations asked about last, up to so many characters; the one unused longest is
    forgotten first.
    """

    def __init__(self, chars_max: int = CHARS_MAX):
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._chars, self._chars_max = 0, chars_max

    def whole(self, question: ChatQuestion) -> ChatQuestion | Impossible:
        """The question with its whole conversation; Impossible where that is not known."""
        if not question.digest:
            return question
        key = question.context.get("tenant", ""), question.context.get("session", "")
        messages = self.join(key, question.messages, question.follows, question.digest)
        if messages is None:
            return Impossible(
                UNKNOWN, "what was said before is not known here any more: it is asked again, whole"
            )
        return replace(question, messages=messages, follows="")

    def join(
        self, key: tuple[str, str], new: tuple[Message, ...], follows: str, digest: str
    ) -> tuple[Message, ...] | None:
        """All messages after those that `follows` names, known as `digest` from now on; None where
        it names nothing.
        """
        known = self._known.pop(key, Known())
        self._chars -= known.chars
        count = known.marks.get(follows) if follows else 0
        if count is None:
            return None
        messages = (*known.messages[:count], *new)
        marks = (
            {mark: place for mark, place in known.marks.items() if place <= count}
            if follows
            else {}
        )
        marks = dict(list((marks | {digest: len(messages)}).items())[-MARKS_MAX:])
        self._known[key] = Known(messages, marks, chars_in(messages))
        self._chars += self._known[key].chars
        while self._chars > self._chars_max and len(self._known) > 1:
            self._chars -= self._known.popitem(last=False)[1].chars
        return messages


class Remembering:
    """The port `chat` of a worker, which is asked with whole conversations only."""

    def __init__(
        self,
        chat: Callable[[ChatQuestion], Awaitable[ChatAnswer | Failure]],
        now: Callable[[], datetime] = now_utc,
    ):
        self._chat, self._now, self._conversations = chat, now, Conversations()

    async def __call__(self, question: ChatQuestion) -> Any:
        whole = self._conversations.whole(question)
        if isinstance(whole, Impossible):
            at = self._now()
            return Failure(whole.reason, whole.detail, at, at, attempts=0)
        return await self._chat(whole)
