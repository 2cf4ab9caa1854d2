"""What vendors report that a model call took, as tokens by kind.

Vendors disagree in three things: the names, whether the input includes what was read from and
written to a cache, and whether the output includes reasoning. Names decide where they can; where a
total is reported and input and output are too few for it, the total decides. A count that cannot be
one is unknown, and unknown is never zero.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.events.values import Tokens

TOKENS_MAX = 100_000_000
"""Of one call and kind: ten times the largest context that any model has."""
WRAPPERS = ("usage", "usageMetadata", "usage_metadata", "billed_units", "billedUnits")

CACHES_INSIDE = (
    "prompt_tokens",
    "promptTokens",
    "promptTokenCount",
    "prompt_token_count",
    "prompt_eval_count",
)
"""Names of an input that includes what was read from a cache, whatever that is called."""
INPUT = (
    *CACHES_INSIDE,
    "input_tokens",
    "inputTokens",
    "inputTokenCount",
    "input_token_count",
    "total_input_tokens",
)
OUTPUT = (
    "completion_tokens",
    "completionTokens",
    "candidatesTokenCount",
    "candidates_token_count",
    "eval_count",
    "output_tokens",
    "outputTokens",
    "outputTokenCount",
    "output_token_count",
    "generated_token_count",
    "total_output_tokens",
)
TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
DETAILS_OF_INPUT = (
    "prompt_tokens_details",
    "input_tokens_details",
    "promptTokensDetails",
    "prompt_token_details",
    "inputTokenDetails",
    "inputTokensDetails",
    "input_token_details",
)
DETAILS_OF_OUTPUT = (
    "completion_tokens_details",
    "output_tokens_details",
    "candidatesTokensDetails",
    "candidates_tokens_details",
    "completion_token_details",
    "outputTokenDetails",
    "outputTokensDetails",
    "output_token_details",
)
CACHED_INSIDE = (
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "promptCacheHitTokens",
    "num_cached_tokens",
    "cachedContentTokenCount",
    "cached_content_token_count",
    "cachedInputTokens",
    "cachedPromptTokens",
    "cached_input_tokens",
)
CACHED_IN_DETAILS = (
    "cached_tokens",
    "cachedTokens",
    "cache_read_tokens",
    "cacheReadTokens",
    "cache_read_input_tokens",
    "cache_read",
)
CACHED_BESIDE = ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount")
WRITTEN_IN_DETAILS = (
    "cache_write_tokens",
    "cacheWriteTokens",
    "cache_creation_tokens",
    "cached_creation_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
)
WRITTEN_BESIDE = (
    "cache_creation_input_tokens",
    "cacheCreationInputTokens",
    "cacheWriteInputTokens",
    "cacheWriteInputTokenCount",
    "cache_write_input_tokens",
)
REASONING = ("reasoning_tokens", "reasoningTokens", "thinking_tokens", "reasoning")
THOUGHTS_BESIDE = ("thoughtsTokenCount", "thoughts_token_count", "total_thought_tokens")
"""Reasoning that is never part of the output beside it."""
PROMPTS_OF_TOOLS = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")
"""Input that is never part of the input beside it."""


NO_TOKENS = Tokens()


@dataclass(frozen=True)
class ReportedUsage:
    """Tokens as far as they were reported. `known` where both input and output were: only then is
    there a price. `reported` where anything was.
    """

    tokens: Tokens = NO_TOKENS
    known: bool = False
    reported: bool = False


UNKNOWN = ReportedUsage()


def usage_of(told: Any) -> ReportedUsage:
    """The tokens in a usage object of any vendor, or one that was read already; nothing is known of
    what is no object.
    """
    if isinstance(told, ReportedUsage):
        return told
    if not isinstance(told, dict):
        return UNKNOWN
    for wrapper in WRAPPERS:
        if isinstance(told.get(wrapper), dict):
            return usage_of({**told, **told[wrapper], wrapper: None})
    found = _Counts(told)
    if found.wrong:
        return ReportedUsage(reported=True)
    return found.usage()


def larger(one: ReportedUsage, other: ReportedUsage) -> ReportedUsage:
    """Of two reports on one call, the larger input and the larger output: reports of a stream are
    running totals, and one that leaves a side out often says zero. Of equal ones the more detailed.
    """
    if not (one.reported and other.reported):
        return one if one.reported else other
    inputs = max(one.tokens, other.tokens, key=_input_weight)
    outputs = max(one.tokens, other.tokens, key=_output_weight)
    of_output = {name: getattr(outputs, name) for name in OUTPUT_KINDS}
    both = one.known or other.known or (inputs.input_tokens > 0 and outputs.output_tokens > 0)
    return ReportedUsage(inputs.model_copy(update=of_output), both, True)


OUTPUT_KINDS = ("output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens")


def _input_weight(tokens: Tokens) -> tuple[int, int]:
    details = tokens.cached_input_tokens + tokens.cache_write_tokens
    details += tokens.input_audio_tokens + tokens.input_image_tokens + tokens.cache_write_1h_tokens
    return tokens.input_tokens, details


def _output_weight(tokens: Tokens) -> tuple[int, int]:
    details = tokens.reasoning_tokens + tokens.output_audio_tokens + tokens.output_image_tokens
    return tokens.output_tokens, details


def whole_count(value: Any) -> int | None:
    """A count as servers write it: a whole number, or its text. None for what cannot be one."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return None
    try:
        count = int(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return count if 0 <= count <= TOKENS_MAX else None


class _Counts:
    """The counts of one usage object. `wrong` names those that cannot be counts."""

    def __init__(self, told: dict[str, Any]):
        self.wrong: list[str] = []
        self._told = told
        self._of_input = self._details(DETAILS_OF_INPUT)
        self._of_output = self._details(DETAILS_OF_OUTPUT)
        self._by_age = told.get("cache_creation") or self._of_input.get("cache_creation")

    def usage(self) -> ReportedUsage:
        """Input with its caches, output with its reasoning, held against the total."""
        input_name, input_tokens = self._first(self._told, INPUT)
        output_tokens = self._first(self._told, OUTPUT)[1]
        total = self._first(self._told, TOTAL)[1]
        cached, cached_beside = self._cached(input_name)
        written, written_1h, written_beside = self._written(input_name)
        thoughts = self._first(self._told, THOUGHTS_BESIDE)[1]
        reasoning = thoughts or self._first_in((self._of_output, self._told), REASONING)
        if input_tokens is not None:
            of_tools = self._first(self._told, PROMPTS_OF_TOOLS)[1] or 0
            input_tokens += cached_beside + written_beside + of_tools
        elif cached_beside or written_beside:
            input_tokens = cached_beside + written_beside
        if thoughts:
            output_tokens = (output_tokens or 0) + thoughts
        caches = cached + written
        input_tokens, output_tokens = held_to_total(
            input_tokens, output_tokens, total, caches, reasoning
        )
        if self.wrong:
            return ReportedUsage(reported=True)
        tokens = Tokens(
            input_tokens=input_tokens or 0,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(written_1h, written),
            output_tokens=output_tokens or 0,
            reasoning_tokens=reasoning,
            **self._media(),
        )
        known = input_tokens is not None and output_tokens is not None
        return ReportedUsage(tokens, known, known or tokens != NO_TOKENS or total is not None)

    def _cached(self, input_name: str) -> tuple[int, int]:
        """What was read from a cache, and how much of it the input leaves out."""
        beside = self._first(self._told, CACHED_BESIDE)[1] or 0
        inside = max(
            self._first(self._told, CACHED_INSIDE)[1] or 0,
            self._first(self._of_input, CACHED_IN_DETAILS)[1] or 0,
        )
        cached = max(inside, beside)
        return cached, 0 if inside or input_name in CACHES_INSIDE else beside

    def _written(self, input_name: str) -> tuple[int, int, int]:
        """What was written to a cache, how much of it for an hour, and how much the input leaves
        out.
        """
        ages = self._by_age if isinstance(self._by_age, dict) else {}
        by_age = {age: self._count(count, age) or 0 for age, count in ages.items()}
        hour = sum(count for age, count in by_age.items() if "1h" in age)
        for each in self._told.get("cacheDetails") or ():
            if isinstance(each, dict) and each.get("ttl") == "1h":
                hour += self._count(each.get("inputTokens"), "cacheDetails") or 0
        inside = self._first(self._of_input, WRITTEN_IN_DETAILS)[1] or 0
        beside = self._first(self._told, WRITTEN_BESIDE)[1] or 0
        written = max(inside, beside, sum(by_age.values()), hour)
        is_inside = bool(inside) or input_name in CACHES_INSIDE
        return written, hour, 0 if is_inside else written

    def _media(self) -> dict[str, int]:
        """Tokens of audio and images, as far as they are told apart."""
        cached = self._details(("cacheTokensDetails", "cache_tokens_details"))
        nested = self._of_input.get("cached_tokens_details")
        cached = cached or (nested if isinstance(nested, dict) else {})
        sides = {"input": self._of_input, "output": self._of_output, "cached": cached}
        media: dict[str, int] = {}
        for side, details in sides.items():
            for kind in ("audio", "image"):
                count = self._first(details, (f"{kind}_tokens", f"{kind}Tokens", kind))[1]
                media[f"{side}_{kind}_tokens"] = count or 0
        return media

    def _details(self, names: Iterable[str]) -> dict[str, Any]:
        """The details under the first of the names; a list by modality becomes an object."""
        for name in names:
            found = self._told.get(name)
            if isinstance(found, dict):
                return found
            if isinstance(found, list):
                each = (one for one in found if isinstance(one, dict))
                return {
                    str(one.get("modality", "")).lower(): one.get(
                        "tokenCount", one.get("token_count")
                    )
                    for one in each
                }
        return {}

    def _first_in(self, places: Iterable[dict[str, Any]], names: Iterable[str]) -> int:
        return next((n for place in places if (n := self._first(place, names)[1])), 0)

    def _first(self, place: dict[str, Any], names: Iterable[str]) -> tuple[str, int | None]:
        """The first count that is not zero, else a zero, else None; and its name."""
        zero = ""
        for name in names:
            value = place.get(name)
            if value is None or isinstance(value, dict | list):
                continue
            count = self._count(value, name)
            if count:
                return name, count
            zero = zero or name
        return zero, 0 if zero else None

    def _count(self, value: Any, name: str) -> int | None:
        count = None if value is None else whole_count(value)
        if value is not None and count is None:
            self.wrong.append(name)
        return count


def held_to_total(
    input_tokens: int | None,
    output_tokens: int | None,
    total: int | None,
    caches: int,
    reasoning: int,
) -> tuple[int | None, int | None]:
    """Input and output of a call, so that they are enough for its total, for what was read from and
    written to caches, and for its reasoning.

    What is missing in the total is the caches where it is as much, else it is output. A total that
    is smaller than both, and one of zero, decides nothing.
    """
    if total and output_tokens is None and input_tokens is not None and total >= input_tokens:
        output_tokens = total - input_tokens
    elif total and input_tokens is None and output_tokens is not None and total >= output_tokens:
        input_tokens = total - output_tokens
    elif total and input_tokens is not None and output_tokens is not None:
        missing = total - input_tokens - output_tokens
        beside = caches if caches and missing in (caches, caches + reasoning) else 0
        input_tokens += beside
        output_tokens += max(0, missing - beside)
    if input_tokens is not None and caches > input_tokens:
        input_tokens += caches
    if output_tokens is not None and reasoning > output_tokens:
        output_tokens += reasoning
    return input_tokens, output_tokens
