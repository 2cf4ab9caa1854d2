"""Ids of tool calls that are told apart: the provider's own where they can be, else ours.

Some providers leave ids out, give two calls the same one, or begin anew with each answer. Ours are
derived from the request and the place of the call, so that the same request makes the same again.
"""

import hashlib
from collections.abc import Iterable

from schemas.events.values import ToolRequest

ID_CHARS_MAX = 200
MINTED_CHARS = 24


def with_distinct_ids(calls: Iterable[ToolRequest], seed: str) -> tuple[ToolRequest, ...]:
    """The calls, each with an id that no other call of the answer has.

    Ids of earlier answers may come again: a provider that counts from the beginning in each answer
    is sent its own ids back.
    """
    taken: set[str] = set()
    distinct: list[ToolRequest] = []
    for nth, call in enumerate(calls):
        if not call.id.strip() or len(call.id) > ID_CHARS_MAX or call.id in taken:
            call = call.model_copy(update={"id": minted(seed, nth)})
        taken.add(call.id)
        distinct.append(call)
    return tuple(distinct)


def minted(seed: str, nth: int) -> str:
    """An id of ours, which every protocol accepts."""
    return "call_" + hashlib.sha256(f"{seed}/{nth}".encode()).hexdigest()[:MINTED_CHARS]
