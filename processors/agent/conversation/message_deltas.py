"""Message deltas: a question to a model carries only the messages that are new.

A question carries a whole conversation while that is short. Beyond it carries what was added since
the last one, and names what came before by a digest; who makes the call remembers conversations of
its partitions. One that does not know what came before (it was restarted, or the partition moved)
asks no model and says so: the question is then asked again, whole. So a call needs nothing but its
event and a memory that may be lost at any time. 100 results of 5 KB make 0.6 MB of questions, where
whole conversations make 26 MB.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from processors.agent.conversation.messages import chars_in
from schemas.events.values import Message

WHOLE_CHARS = 32_000
UNKNOWN = "history_unknown"
"""The reason of a question that failed: the call runner does not know the conversation it names."""


@dataclass(frozen=True)
class Sent:
    """What a model was asked last: how many messages of how many characters, and their digest."""

    count: int
    chars: int
    digest: str


@dataclass(frozen=True)
class MessageDelta:
    """The messages of a question. They come after those that `follows` names, of `follows_chars`
    characters (empty: they are all there are); `digest` names them all, where a later question may
    follow.
    """

    messages: tuple[Message, ...]
    follows: str = ""
    follows_chars: int = 0
    digest: str = ""


def delta_of(sent: Sent | None, messages: tuple[Message, ...]) -> tuple[MessageDelta, Sent | None]:
    """The question that brings these messages after what was `sent`, and what was sent with it."""
    chars = chars_in(messages)
    if chars <= WHOLE_CHARS:
        return MessageDelta(messages), None
    if sent is None or digest_of(messages[: sent.count]) != sent.digest:
        digest = digest_of(messages)
        return MessageDelta(messages, digest=digest), Sent(len(messages), chars, digest)
    new = messages[sent.count :]
    digest = digest_of(new, sent.digest)
    delta = MessageDelta(new, sent.digest, sent.chars, digest)
    return delta, Sent(len(messages), chars, digest)


def digest_of(messages: Iterable[Message], before: str = "") -> str:
    """A name for these messages after those of the digest `before`."""
    for message in messages:
        text = before.encode() + message.model_dump_json().encode()
        before = hashlib.sha256(text).hexdigest()[:32]
    return before
