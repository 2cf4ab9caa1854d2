"""Which messages of a question are new, and how does whoever answers it know those that came
before?

A question carries a whole conversation while that is short. Beyond it carries what was added since
the last one, and names what came before by a digest; the call runner remembers the conversations of
its partitions. One that does not know what came before (it was restarted, or the partition moved)
asks no model and says so: the question is then asked again, whole. So a call needs nothing but its
event and a memory that may be lost at any time. 100 results of 5 KB make 0.6 MB of questions, where
whole conversations make 26 MB.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from processors.agent.conversation.messages import chars_in
from schemas.events.values import Message

WHOLE_CHARS = 32_000
UNKNOWN = "history_unknown"
"""Why a question failed that named a conversation which the call runner does not know."""


@dataclass(frozen=True)
class Sent:
    """What a model was asked last: how many messages of how many characters, and their digest."""

    count: int
    chars: int
    digest: str


def fields(sent: Sent | None, messages: tuple[Message, ...]) -> tuple[dict[str, Any], Sent | None]:
    """The fields of a ModelAsked that bring these messages, and what was sent then."""
    chars = chars_in(messages)
    if chars <= WHOLE_CHARS:
        return {"messages": messages}, None
    if sent is None or digest_of(messages[: sent.count]) != sent.digest:
        digest = digest_of(messages)
        return {"messages": messages, "digest": digest}, Sent(len(messages), chars, digest)
    new = messages[sent.count :]
    digest = digest_of(new, sent.digest)
    return (
        {"messages": new, "follows": sent.digest, "follows_chars": sent.chars, "digest": digest},
        Sent(len(messages), chars, digest),
    )


def digest_of(messages: Iterable[Message], before: str = "") -> str:
    """A name for these messages after those of the digest `before`."""
    for message in messages:
        before = hashlib.sha256(before.encode() + message.model_dump_json().encode()).hexdigest()[
            :32
        ]
    return before
