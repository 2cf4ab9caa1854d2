"""Reads operation, model, provider and tokens from the attributes of another application's span."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from processors.tracing.conventions import DIALECTS, MAKERS, OPENAI, OTEL, PLAIN, PROVIDERS, Dialect
from processors.tracing.messages import as_text, opened
from schemas.events.tracing import Operation
from schemas.events.values import Tokens
from schemas.vendors.usage import held_to_total, whole_count
from schemas.vendors.usage import usage_of as usage_of_vendor

TOTALS = (
    "gen_ai.usage.total_tokens",
    "llm.token_count.total",
    "ai.usage.totalTokens",
    "llm.usage.total_tokens",
    "usage.total_tokens",
    "openai.usage.total_tokens",
)
METADATA = ("ai.response.providerMetadata", "ai.result.providerMetadata")
"""Where the AI SDK keeps what a provider said beyond the SDK's own words."""
COUNTED = tuple(Tokens.model_fields)
OPERATIONS = frozenset(Operation.__args__)  # type: ignore[attr-defined]
NAMES = {
    dialect.name: {
        column: (*dialect.fields.get(column, ()), *OTEL.fields.get(column, ()))
        for column in {**dialect.fields, **OTEL.fields}
    }
    for dialect in (*DIALECTS, PLAIN)
}
"""Of each dialect and column: the attributes that may hold it, best first."""
KNOWN = frozenset(
    name for columns in NAMES.values() for names in columns.values() for name in names
)
MARKS = tuple((dialect, tuple(f"\n{mark}" for mark in dialect.marks)) for dialect in DIALECTS)
WHOLE_NAMES = frozenset({*PROVIDERS.values(), "azure.ai.inference", "ibm.watsonx.ai"})
Attributes = dict[str, Any]


@dataclass(frozen=True)
class Usage:
    """What a span says of tokens: `known` where it says anything, `wrong` the names of what cannot
    be.
    """

    tokens: Tokens = Tokens()
    known: bool = False
    wrong: tuple[str, ...] = ()


class Finder:
    """Finds a column's value in the dialect's own words, else in OpenTelemetry's; `used` is what
    stands in a column.
    """

    def __init__(self, attributes: Attributes):
        self.attributes, self.used = attributes, set[str]()
        self._names = "\n".join(("", *attributes))
        self.dialect = dialect_of(self._names)
        self._places = places_of(self.dialect.name, tuple(filter(KNOWN.__contains__, attributes)))

    def has(self, name: str) -> bool:
        """Whether there is an attribute of that name, or one that begins with it and a dot."""
        return name in self.attributes or f"\n{name}." in self._names

    def name(self, column: str) -> str | None:
        """The attribute that holds it, the best of those that may."""
        for name in self._places.get(column, ()):
            if self.attributes[name] not in (None, ""):
                return name
        return None

    def value(self, column: str) -> Any:
        """Looked at, and still to be kept among the attributes."""
        name = self.name(column)
        return None if name is None else self.attributes[name]

    def text(self, column: str) -> str:
        """Taken into the column."""
        name = self.name(column)
        if name is None:
            return ""
        self.used.add(name)
        return as_text(self.attributes[name])


@lru_cache(maxsize=4_096)
def places_of(dialect: str, there: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Of each column, those attributes that are there and may hold it. The spans of one place in a
    program have the same attributes, so this is looked for once for all of them.
    """
    known = frozenset(there)
    found = {
        column: tuple(filter(known.__contains__, names)) for column, names in NAMES[dialect].items()
    }
    return {column: names for column, names in found.items() if names}


def dialect_of(names: str) -> Dialect:
    """Looked for in all names as one text, each on a line: a tenth of the time that it takes name
    by name.
    """
    for dialect, marks in MARKS:
        for mark in marks:
            if mark in names:
                return dialect
    return PLAIN


def operation_of(find: Finder) -> str:
    """What the span did. Where it does not say, one with a model and tokens was a chat."""
    for dialect in (find.dialect, OTEL):
        for name in dialect.fields.get("operation", ()):
            given = as_text(find.attributes.get(name))
            named = dialect.operations.get(given, given)
            if named in OPERATIONS:
                return named
            if given and dialect.operations:
                return "other"
    if find.name("request_model") and (find.name("input_tokens") or find.name("output_tokens")):
        return "chat"
    return "execute_tool" if find.attributes.get("gen_ai.tool.name") else "other"


def provider_of(find: Finder, model: str) -> str:
    """The provider in OpenTelemetry's words. Vercel's `openai.chat` is openai; without any, the
    model's maker.
    """
    given = as_text(find.value("provider")).strip().lower()
    if given in PROVIDERS or given in WHOLE_NAMES:
        return PROVIDERS.get(given, given)
    first = given.split(".")[0] or ("openai" if find.dialect is OPENAI else "")
    return PROVIDERS.get(first, first) or next(
        (maker for begins, maker in MAKERS if model.startswith(begins)), ""
    )


def usage_of(find: Finder) -> Usage:
    """Tokens by kind. Input includes cached ones and output reasoning: where it is smaller than
    these, it did not.
    """
    counts: dict[str, int] = {}
    wrong: list[str] = []
    for column in COUNTED:
        name = find.name(column)
        if name is None:
            continue
        count = whole_count(find.attributes[name])
        if count is None:
            wrong.append(column)
        else:
            find.used.add(name)
            counts[column] = count
    if wrong:
        return Usage(Tokens(**counts), True, tuple(wrong))
    return _completed(find, counts)


def _completed(find: Finder, counts: dict[str, int]) -> Usage:
    """The counts with what the provider itself says in an SDK's metadata, held to the total."""
    metadata = _metadata(find)
    told = usage_of_vendor(metadata.get("usage"))
    if told.known:
        return Usage(told.tokens.model_copy(update=_media(counts)), True)
    total = whole_count(next((find.attributes[n] for n in TOTALS if n in find.attributes), None))
    if metadata and not counts.get("cache_write_tokens"):
        counts = _with_metadata(counts, metadata)
    caches = counts.get("cached_input_tokens", 0) + counts.get("cache_write_tokens", 0)
    reasoning = counts.get("reasoning_tokens", 0)
    known = bool(counts)
    input_tokens, output_tokens = held_to_total(
        counts.get("input_tokens", 0), counts.get("output_tokens", 0), total, caches, reasoning
    )
    counts |= {"input_tokens": input_tokens or 0, "output_tokens": output_tokens or 0}
    return Usage(Tokens(**counts), known) if known else Usage()


def _with_metadata(counts: dict[str, int], metadata: Attributes) -> dict[str, int]:
    """The counts with what metadata add: what stands beside the input there is part of ours."""
    flat = {**metadata, **metadata.get("usage", {}), "usage": None}
    flat |= {"inputTokens": counts.get("input_tokens"), "outputTokens": counts.get("output_tokens")}
    found = usage_of_vendor(flat).tokens.model_dump()
    added = {name: n for name, n in found.items() if n and not counts.get(name)}
    grown = max(counts.get("input_tokens", 0), found["input_tokens"])
    return {**counts, **added, "input_tokens": grown} if added else counts


def _media(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if "audio" in name or "image" in name}


def _metadata(find: Finder) -> Attributes:
    """What an SDK keeps of the provider's own answer: the first provider's part, its usage an
    object.
    """
    given = next((find.attributes[name] for name in METADATA if name in find.attributes), None)
    value = opened(given)
    parts = (
        [one for one in value.values() if isinstance(one, dict)] if isinstance(value, dict) else []
    )
    if not parts:
        return {}
    usage = parts[0].get("usage")
    return {**parts[0], "usage": usage if isinstance(usage, dict) else {}}


def finish_of(find: Finder, events: list[Attributes]) -> str:
    """Why the model stopped, as OpenAI and OpenTelemetry write it."""
    found = opened(find.value("finish_reason"))
    found = found[0] if isinstance(found, list) and found else found
    if not found:
        choices = ((event.get("attributes") or {}).get("finish_reason") for event in events)
        found = next(filter(None, choices), "")
    reason = as_text(found).replace("-", "_")
    return "tool_calls" if reason in ("tool_call", "tool_use") else reason
