"""What did a tool say, is it short enough, and did it say whether something was done?"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.ports import ToolQuestion
from sinks.http import Refusal, Secret

CHARS_HIDDEN_MIN = 6
LARGE_AT_ONCE = 8
NOT_DONE = ("http_404", "http_410")
UNDER_WAY = ("http_202", "http_409", "http_425")


@dataclass(frozen=True)
class Result:
    """A tool's result as text. `ends` where the tool said that nothing is left to do."""

    text: str
    ends: bool = False
    status: int = 200


def unreachable(question: ToolQuestion) -> Refusal:
    """The refusal of a call whose target this kind of tool does not reach."""
    via = question.target.via
    return Refusal("unknown_kind", f"nothing here reaches a tool via {via}")


def short_enough(text: str, chars_max: int) -> str:
    """The text. Raises Refusal where it is longer than the tool may answer."""
    if len(text) > chars_max:
        raise Refusal(
            "too_large",
            f"the result has {len(text):,} characters, the tool's limit is {chars_max:,}: ask for "
            "less, or raise result_chars (result_bytes where long results are shortened) of the tool",
        )
    return text


def settled(asked: Result | Refusal) -> Result | None:
    """What the second operation of a reconcilable tool says of the first: its result, or None where
    it was not done.

    Raises Refusal where it does not say, with `again` where it may later.
    """
    if isinstance(asked, Refusal):
        if asked.reason in NOT_DONE:
            return None
        raise Refusal(
            asked.reason, asked.detail, again=asked.again or asked.reason in UNDER_WAY, unsure=True
        )
    if asked.status == 202:
        raise Refusal("under_way", "it is still under way", again=True, unsure=True)
    try:
        told: Any = json.loads(asked.text)
    except (ValueError, RecursionError):
        return asked
    if not isinstance(told, dict) or "done" not in told:
        return asked
    if told["done"] is None:
        raise Refusal("under_way", "it is still under way", again=True, unsure=True)
    if told["done"] is False:
        return None
    return Result(as_text(told["result"]), asked.ends) if "result" in told else asked


def as_text(value: Any) -> str:
    """A value as a model reads it: text as it is, nothing as nothing, anything else as JSON.

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


class Discreet:
    """Resolves secrets, remembers what it gave, and takes it out of every text that goes further."""

    def __init__(self, secret: Secret):
        self._secret = secret
        self._given = {}

    def __call__(self, reference: str) -> str:
        value = self._secret(reference)
        self._given[value] = reference
        return value

    def hide(self, text: str) -> str:
        """The text with every secret that was given replaced by its reference. Longer ones first:
        one may hold another.
        """
        for value, reference in sorted(self._given.items(), key=lambda item: -len(item[0])):
            if len(value) >= CHARS_HIDDEN_MIN:
                text = text.replace(value, reference)
        return text


class Room:
    """So many large results are in memory at once; whoever reads another one waits."""

    def __init__(self, places: int = LARGE_AT_ONCE):
        self._free = asyncio.Semaphore(places)
        self._taken = set[str]()

    async def take(self, key: str) -> None:
        """A place for the call of this key, which may have one already."""
        if key not in self._taken:
            await self._free.acquire()
            self._taken.add(key)

    def leave(self, key: str) -> None:
        if key in self._taken:
            self._taken.remove(key)
            self._free.release()


Kind = Callable[..., Any]
"""`kind(question, left_s, secret) -> Result`, awaited: one way to reach a tool. Raises Refusal."""
