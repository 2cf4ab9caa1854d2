"""Results of tools: their length, their secrets, and what a reconcile operation says."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from schemas.ports import ToolQuestion
from sinks.http import CallError

LARGE_AT_ONCE = 8
REPEATABLE = ("pure", "idempotent")
"""Effects of tools that may be called again."""
NOT_DONE = ("http_404", "http_410")
UNDER_WAY = ("http_202", "http_409", "http_425")


@dataclass(frozen=True)
class ToolResult:
    """A tool's result as text. `ends`: the tool said that the run ends with it."""

    text: str
    ends: bool = False
    status: int = 200


def wrong_target(call: ToolQuestion) -> CallError:
    """The error of a call whose target is of another kind of tools."""
    return CallError("unknown_kind", f"there is no kind of tools named {call.target.via!r} here")


def check_length(text: str, chars_max: int) -> str:
    """The text. Raises CallError where it is longer than the tool's limit."""
    if len(text) > chars_max:
        raise CallError(
            "too_large",
            f"the result has {len(text):,} characters, the tool's limit is {chars_max:,}: ask for "
            "less, or raise result_chars (result_bytes where long results are shortened) of the "
            "tool",
        )
    return text


def reconciled(answer: ToolResult | CallError) -> ToolResult | None:
    """What the second operation of a reconcilable tool says of the first: its result, or None where
    it was not carried out.

    Raises CallError where it does not say, retryable where it may say so later.
    """
    if isinstance(answer, CallError):
        if answer.reason in NOT_DONE:
            return None
        later = answer.retryable or answer.reason in UNDER_WAY
        raise CallError(answer.reason, answer.detail, retryable=later, uncertain=True)
    if answer.status == 202:
        raise _under_way()
    try:
        body: Any = json.loads(answer.text)
    except (ValueError, RecursionError):
        return answer
    if not isinstance(body, dict) or "done" not in body:
        return answer
    if body["done"] is None:
        raise _under_way()
    if body["done"] is False:
        return None
    return ToolResult(as_text(body["result"]), answer.ends) if "result" in body else answer


def _under_way() -> CallError:
    return CallError("under_way", "it is still under way", retryable=True, uncertain=True)


def as_text(value: Any) -> str:
    """A value as a model reads it: text as it is, None as an empty text, anything else as JSON.

    Raises ValueError, TypeError or RecursionError where it is neither.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    for way in (lambda: value.model_dump(mode="json"), lambda: vars(value)):
        try:
            return way()
        except (AttributeError, TypeError):
            continue
    return str(value)


class LargeResultSlots:
    """How many large results are in memory at once; a call that reads another one waits."""

    def __init__(self, slots: int = LARGE_AT_ONCE):
        self._free = asyncio.Semaphore(slots)
        self._taken = set[str]()

    async def take(self, key: str) -> None:
        """A slot for the call of this key, which may have one already."""
        if key not in self._taken:
            await self._free.acquire()
            self._taken.add(key)

    def release(self, key: str) -> None:
        """Frees the slot of this key, if it has one."""
        if key in self._taken:
            self._taken.remove(key)
            self._free.release()
