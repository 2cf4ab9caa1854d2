"""Maps spans of other applications to Weir's own, and prices the model calls that they report.

Words stand in `processors/tracing/conventions.py`; here is what holds for all of them. Only the
model's own call carries tokens and cost, priced as our own calls are. A number that cannot be true
counts as unknown, never as zero cost; it stays among the attributes, and `weir.repaired` names it.
A span that comes twice, as exporters send again what they got no answer to, is told once: the ids
of a trace's spans are kept until nothing came of it for a while.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_OID, UUID

import orjson

from processors.common.text import LABEL_CHARS, clean, cut, label
from processors.tracing.attributes import (
    Attributes,
    Finder,
    Usage,
    finish_of,
    operation_of,
    provider_of,
    usage_of,
)
from processors.tracing.conventions import MODEL_CALLS, OTEL
from processors.tracing.messages import DETAILS, Said, as_text, messages_at, messages_of_events
from processors.tracing.nested_calls import Links
from processors.usage.metering import charged
from processors.usage.prices import price_with_and_without_cache
from schemas.definitions.kinds import Definitions
from schemas.events.base import UnprocessableError, derived_id
from schemas.events.tracing import SpanEnded, SpanReceived, TraceRested
from schemas.events.usage import TokensUsed
from schemas.events.values import Charge
from schemas.vendors.usage import NO_TOKENS

TEXT_CHARS = 20_000
VALUE_CHARS = 10_000
SEEN_MAX = 20_000
RESTS_AFTER = timedelta(minutes=5)
NO_LINKS = Links()


@dataclass(frozen=True)
class Seen:
    """The ids of a trace's spans, each behind a comma, and when they are forgotten. One text,
    because a trace may have ten thousand spans, and a set of as many would be written anew with
    each batch.
    """

    spans: str = ""
    wake_at: datetime | None = None
    links: Links = NO_LINKS


def map_span(
    state: Seen, event: SpanReceived | TraceRested, definitions: Definitions
) -> tuple[Seen | None, list[SpanEnded | TokensUsed]]:
    """The span in our words, and the usage that it tells of; nothing for one that came before."""
    if isinstance(event, TraceRested):
        return None, []
    own = f",{event.span}"
    if own in state.spans:
        return state, []
    said = translated(event, definitions)
    said, links = _counted_once(state.links, event, said)
    return Seen((state.spans + own)[-SEEN_MAX * len(own) :], _next_rest(event.at), links), said


def _counted_once(
    links: Links, span: SpanReceived, said: list[SpanEnded | TokensUsed]
) -> tuple[list[SpanEnded | TokensUsed], Links]:
    """What a span says, without a model call that another span has told of already: it stays as a
    step. A tool or an agent between two calls makes them two.
    """
    ended = said[0]
    if not isinstance(ended, SpanEnded):
        return said, links
    is_call = len(said) > 1 and ended.tokens != NO_TOKENS
    if is_call and links.reports_again(span.span, span.parent):
        step = {"operation": "other", "tokens": NO_TOKENS, "cost_usd": None}
        return [ended.model_copy(update=step)], links.with_span(span.span, span.parent, False)
    if is_call or ended.operation == "other":
        return said, links.with_span(span.span, span.parent, is_call)
    return said, links


def _next_rest(at: datetime) -> datetime:
    """On a grid: a timer that every span moved would be one timer a span."""
    grid_s = RESTS_AFTER.total_seconds()
    return at + RESTS_AFTER + timedelta(seconds=grid_s - at.timestamp() % grid_s)


def translated(span: SpanReceived, definitions: Definitions) -> list[SpanEnded | TokensUsed]:
    """Out of what it says and the prices: a replay says the same. Raises UnprocessableError for
    what is no JSON.
    """
    attributes, events = _object(span.attributes, "attributes"), _events(span)
    for event in events:
        if event.get("name") == DETAILS:
            attributes = {**(event.get("attributes") or {}), **attributes}
    find, (service, around) = Finder(attributes), _resource(span.resource)
    operation = "event" if span.kind == "event" else operation_of(find)
    usage = usage_of(find) if operation in MODEL_CALLS else Usage()
    asked, answering = find.text("request_model"), find.text("response_model")
    provider = provider_of(find, answering or asked)
    charge = Charge(
        feature=label(find.text("feature")),
        team=label(find.text("team")),
        service_tier=label(find.text("service_tier")),
    )
    priced = usage.known and not usage.wrong
    cost_usd, uncached_usd = (
        price_with_and_without_cache(
            definitions.model(asked or answering),
            provider,
            answering or asked,
            usage.tokens,
            span.started_at,
            charge.service_tier,
        )
        if priced
        else (None, None)
    )
    said, answered = _texts(find, events, operation)
    ended = span.then(
        SpanEnded,
        at=span.ended_at,
        session=label(find.text("session")) or span.trace,
        run=run_of(span),
        agent=label(find.text("agent") or service),
        operation=operation,
        error_type=label(_error_of(span, find, events)),
        provider=label(provider),
        request_model=label(asked or answering),
        response_model=label(answering),
        finish_reason=label(finish_of(find, events)),
        tokens=usage.tokens,
        cost_usd=cost_usd,
        tool=label(find.text("tool")) if operation == "execute_tool" else "",
        user=clean(find.text("user")) or None,
        input=cut(said, TEXT_CHARS),
        output=cut(answered, TEXT_CHARS),
        source=find.dialect.name,
        attributes=_rest(span, find, around, events, usage),
    )
    if operation not in MODEL_CALLS or (span.status == "error" and not usage.known):
        return [ended]
    return [ended, _used(span, ended, charge, uncached_usd, definitions)]


def _used(
    span: SpanReceived,
    ended: SpanEnded,
    charge: Charge,
    uncached_usd: Decimal | None,
    definitions: Definitions,
) -> TokensUsed:
    """The call in its tenant's books, when it came here: a foreign clock must not move the minutes
    of others.
    """
    tenant = definitions.tenant(span.tenant)
    used = span.then(
        TokensUsed,
        session=ended.session,
        run=ended.run,
        agent=ended.agent,
        agent_version=0,
        user=ended.user,
        model=ended.request_model,
        response_model=ended.response_model,
        provider=ended.provider,
        tokens=ended.tokens,
        cost_usd=ended.cost_usd,
        uncached_usd=uncached_usd,
        charge=charge,
        source=ended.source,
    )
    usd, amount, currency = charged(used, tenant, definitions)
    return used.model_copy(update={"charged_usd": usd, "charged": amount, "currency": currency})


def run_of(span: SpanReceived) -> UUID:
    """A trace of a tenant is a run. Two tenants that use one trace id do not share it."""
    return derived_id(NAMESPACE_OID, f"trace/{span.partition_key()}")


def _texts(find: Finder, events: list[Attributes], operation: str) -> tuple[str, str]:
    """The last thing that was said, and what was answered; of other steps than a model's call, what
    went in and out.
    """
    said, answered = messages_of_events(events)
    said = _first(find, (*find.dialect.said, *OTEL.said)) or said
    answered = _first(find, (*find.dialect.answered, *OTEL.answered)) or answered
    last, answers = str(said[-1]) if said else "", " ".join(filter(None, map(str, answered)))
    if operation in MODEL_CALLS or operation == "event":
        return last or find.text("input"), answers or find.text("output")
    return find.text("input") or last, find.text("output") or answers


def _first(find: Finder, names: tuple[str, ...]) -> list[Said]:
    """The messages of the first attribute that has any."""
    for name in filter(find.has, names):
        if found := [each for each in messages_at(find.attributes, name) if str(each)]:
            return found
    return []


def _error_of(span: SpanReceived, find: Finder, events: list[Attributes]) -> str:
    if span.status != "error":
        return ""
    raised = ((event.get("attributes") or {}).get("exception.type") for event in events)
    return (
        find.text("error_type")
        or as_text(next(filter(None, raised), ""))
        or span.message
        or "error"
    )


def _rest(
    span: SpanReceived, find: Finder, around: Attributes, events: list[Attributes], usage: Usage
) -> str:
    """All that no column says, as JSON; long texts as far as VALUE_CHARS."""
    rest = {
        name: _short(value)
        for name, value in find.attributes.items()
        if name not in find.used or (isinstance(value, str) and len(value) > LABEL_CHARS)
    }
    rest |= around
    rest["weir.kind"] = span.kind
    if span.scope:
        rest["weir.scope"] = span.scope
    if events:
        rest["weir.events"] = [_short(event) for event in events]
    if span.message:
        rest["weir.message"] = _short(span.message)
    if repaired := [*filter(None, span.repaired.split(",")), *usage.wrong]:
        rest["weir.repaired"] = repaired
    return as_text(rest)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= VALUE_CHARS else cut(value, VALUE_CHARS)
    return (
        {name: _short(inner) for name, inner in value.items()} if isinstance(value, dict) else value
    )


@lru_cache(maxsize=32)
def _resource(text: str) -> tuple[str, Attributes]:
    """The service's name, and all that is kept of it: the same for all spans of an application."""
    resource = _object(text, "resource")
    return as_text(resource.get("service.name")), {
        f"resource.{name}": _short(value) for name, value in resource.items()
    }


def _object(text: str, name: str) -> Attributes:
    found = _json(text, name)
    if not isinstance(found, dict):
        raise UnprocessableError(f"{name} should be a JSON object, it is {text[:100]!r}")
    return found


def _events(span: SpanReceived) -> list[Attributes]:
    if span.events == "[]":
        return []
    found = _json(span.events, "events")
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and isinstance(each.get("attributes") or {}, dict) for each in found
    ):
        raise UnprocessableError(
            f"events should be a JSON list of objects, it is {span.events[:100]!r}"
        )
    return found


def _json(text: str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        pass  # NaN and half characters are no JSON, and Python's own way takes them
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnprocessableError(f"{name} is not JSON: {error}") from error
