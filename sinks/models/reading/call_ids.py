"""Ids of tool calls that are told apart: the provider's own where they can be, else ours.

Some providers leave ids out, give two calls the same one, or begin anew with each answer. Ours are
derived from the request and the place of the call, so that the same request makes the same again.
"""

import hashlib
from collections.abc import Iterable

from schemas.events.values import Message, ToolRequest

ID_CHARS_MAX = 200
MINTED_CHARS = 24


def with_distinct_ids(
    calls: Iterable[ToolRequest], messages: Iterable[Message], seed: str
) -> tuple[ToolRequest, ...]:
    """The calls, each with an id that no other call of the answer or of the turn has.

    A turn begins with the user's last message. Ids of earlier turns may come again: a provider that
    counts from the beginning in each turn is sent its own ids back.
    """
    taken = {call.id for message in turn_of(messages) for call in message.tool_calls}
    distinct: list[ToolRequest] = []
    for nth, call in enumerate(calls):
        if not call.id.strip() or len(call.id) > ID_CHARS_MAX or call.id in taken:
            call = call.model_copy(update={"id": minted(seed, nth)})
        taken.add(call.id)
        distinct.append(call)
    return tuple(distinct)


def turn_of(messages: Iterable[Message]) -> list[Message]:
    """The messages after the user's last one."""
    turn: list[Message] = []
    for message in messages:
        turn = [] if message.role == "user" else [*turn, message]
    return turn


def minted(seed: str, nth: int) -> str:
    """An id of ours, which every protocol accepts."""
    return "call_" + hashlib.sha256(f"{seed}/{nth}".encode()).hexdigest()[:MINTED_CHARS]
