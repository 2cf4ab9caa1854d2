"""Takes CloudEvents 1.0, one or a batch, binary or structured.

`type` is the name of an event class (`AgentRequested`, or `weir.agent.AgentRequested` as our
records have it), `data` its fields. Source and id make the event's id: a repeat is recognised. A
batch is accepted whole, or not at all. The sender cannot set id, time, tenant and parents.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request

from processors.common.text import clean
from schemas.catalogue import event_classes
from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.agent.runs import AgentRequested
from schemas.events.base import NAMESPACE_OID, Event, derived_id
from schemas.wire.record_types import type_name
from streams.engine.client import now
from streams.gateway.auth import Anyone, Caller
from streams.gateway.context import GatewayOf
from streams.gateway.errors import ProblemError, media_type, not_json
from streams.gateway.runs import submit

router = APIRouter(tags=["CloudEvents"])
SENT = [kind for kind in event_classes().values() if kind.sent_with]
"""What may be sent here: the classes that name the scope it takes."""
NAMES = {name: kind for kind in SENT for name in (kind.__name__, type_name(kind))}
OURS = {"id", "at", "cause", "tenant", "parent", "roles"}
BATCH_MAX = 1_000
REQUIRED = ("specversion", "id", "source", "type")
ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
EXAMPLE = {
    "specversion": "1.0",
    "type": "AgentRequested",
    "source": "/shop/checkout",
    "id": "order-1001-late",
    "datacontenttype": "application/json",
    "data": {"agent": "support", "text": "Where is order A-1001?"},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            ONE: {"example": EXAMPLE},
            MANY: {"example": [EXAMPLE]},
            "application/json": {"example": EXAMPLE["data"]},
        },
    }
}


@router.post("/v1/events", status_code=202, openapi_extra=BODY)
async def take(request: Request, gateway: GatewayOf, caller: Anyone) -> dict[str, Any]:
    """Takes events. 202 when all replicas of Kafka have all of them."""
    given = _given(request.headers, media_type(request), await request.body())
    events = [_event(one, caller, f"events.{nth}") for nth, one in enumerate(given)]
    for event in events:
        if isinstance(event, AgentRequested):
            gateway.link.recent_runs.expect(event.id, caller.tenant, event.session or str(event.id))
    await gateway.publish(*events)
    return {
        "accepted": [
            {
                "id": clean(one["id"]),
                "event": str(event.id),
                **({"run": f"/v1/runs/{event.id}"} if isinstance(event, AgentRequested) else {}),
            }
            for one, event in zip(given, events, strict=True)
        ]
    }


def _given(headers: Mapping[str, str], kind: str, body: bytes) -> list[dict[str, Any]]:
    """The events of a request, as the JSON format has them, in whichever mode they came."""
    if kind.startswith("application/cloudevents") and kind not in (ONE, MANY):
        raise ProblemError(415, "unknown_format", f"{kind} is not understood: send {ONE} or {MANY}")
    if kind == MANY:
        found = _json(body, "the batch")
        if not isinstance(found, list) or not 0 < len(found) <= BATCH_MAX:
            raise ProblemError(
                422,
                "bad_batch",
                f"a batch is a list of 1 to {BATCH_MAX} events: send several smaller ones",
            )
        return found
    if kind == ONE:
        return [_json(body, "the event")]
    if "ce-specversion" not in headers:
        raise ProblemError(
            415,
            "no_event",
            f"this is no CloudEvent: send the headers ce-specversion, ce-id, ce-type and "
            f"ce-source, or the body as {ONE}",
        )
    named = {
        name.removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    if kind not in ("application/json", ""):
        raise ProblemError(415, "not_json", f"the data is {kind}: send application/json")
    return [named | {"data": _json(body, "the data")}]


def _json(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise not_json(what, error) from error


def _event(given: Any, caller: Caller, where: str) -> Event:
    """Our event out of a CloudEvent. Raises ProblemError with a sentence."""
    sent: dict[str, Any] = given if isinstance(given, dict) else {}
    values = {name: sent.get(name) for name in REQUIRED}
    attributes = {name: text for name, text in values.items() if isinstance(text, str) and text}
    missing = [name for name in REQUIRED if name not in attributes] if sent else []
    if not sent or missing:
        raise ProblemError(
            422,
            "not_an_event",
            f"{where} has no {' and no '.join(missing) or 'attributes'}: add it, as text",
        )
    if attributes["specversion"] != "1.0":
        raise ProblemError(
            422, "bad_version", f"{where} is of specversion {attributes['specversion']!r}: send 1.0"
        )
    kind = NAMES.get(attributes["type"])
    if kind is None:
        raise ProblemError(
            422,
            "unknown_type",
            f"{where} is of type {attributes['type']!r}, which is not taken here: use "
            f"{', '.join(one.__name__ for one in SENT)}",
        )
    if not caller.may(kind.sent_with):
        raise ProblemError(
            403,
            "no_scope",
            f"the key {caller.key} may not send {kind.__name__}: it needs the scope "
            f"{kind.sent_with!r}",
        )
    fields = _data(given, where)
    if wrong := sorted(OURS & fields.keys()):
        raise ProblemError(
            422,
            "not_yours",
            f"{where}.data says {wrong[0]!r}, which is not the sender's to say: leave it out",
        )
    more = _word_of(fields, caller) if kind is ApprovalDecided else {}
    trace = given.get("traceparent")
    if kind is AgentRequested and isinstance(trace, str) and submit.TRACEPARENT.fullmatch(trace):
        more["traceparent"] = trace
    name = derived_id(
        NAMESPACE_OID, f"cloudevent/{caller.tenant}/{attributes['source']}/{attributes['id']}"
    )
    return submit.checked_event(kind, **(fields | more), id=name, at=now(), tenant=caller.tenant)


def _word_of(fields: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Who decides an approval: the key's owner, as at /v1/approvals. A value that is no text is
    left to be refused.
    """
    said = fields.get("by", ""), fields.get("note", "")
    if not all(isinstance(one, str) for one in said) or not any((said[0], caller.key)):
        return {"roles": caller.roles}
    by, note = caller.says(*said)
    return {"roles": caller.roles, "by": by, "note": note}


def _data(given: dict[str, Any], where: str) -> dict[str, Any]:
    data = given.get("data")
    if data is None and isinstance(given.get("data_base64"), str):
        try:
            data = _json(
                base64.b64decode(given["data_base64"], validate=True), f"{where}.data_base64"
            )
        except ValueError as error:
            raise ProblemError(
                422,
                "not_base64",
                f"{where}.data_base64 is no base64 ({error}): send `data` as JSON",
            ) from error
    if not isinstance(data, dict):
        raise ProblemError(
            422,
            "no_data",
            f"{where}.data should be a JSON object with the event's fields: see ./weir schema",
        )
    return data
