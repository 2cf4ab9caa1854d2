"""Submits a request as a run, whichever protocol it came in, once per Idempotency-Key."""

import hashlib
import re
from typing import Any, TypeVar
from uuid import UUID, uuid4

from fastapi import Request
from pydantic import BaseModel, ValidationError

from schemas.events.agent.runs import AgentRequested, RequestAdmitted
from schemas.events.base import NAMESPACE_OID, derived_id
from schemas.wire.codec import first_error
from streams.engine.client import now
from streams.gateway.auth import Caller
from streams.gateway.context import Gateway
from streams.gateway.errors import ProblemError
from streams.gateway.runs.results import RUN, SubmittedRun

IDEMPOTENCY = "idempotency-key"
SPACE = derived_id(NAMESPACE_OID, "weir/idempotency")
KEY_CHARS_MAX = 255
DIGEST_FIELDS = ("agent", "text", "user", "channel", "history")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
Made = TypeVar("Made", bound=BaseModel)


def run_id(request: Request, caller: Caller) -> tuple[UUID, bool]:
    """The id of a request's event, and whether it derives from an Idempotency-Key."""
    given = request.headers.get(IDEMPOTENCY)
    if given is None:
        return uuid4(), False
    if not 0 < len(given) <= KEY_CHARS_MAX:
        raise ProblemError(
            422,
            "bad_idempotency_key",
            f"Idempotency-Key has 1 to {KEY_CHARS_MAX} characters: use a UUID",
        )
    return derived_id(SPACE, f"{caller.tenant}/{given}"), True


def traceparent_in(request: Request) -> str | None:
    """The caller's W3C trace context; None for a malformed one."""
    found = request.headers.get("traceparent", "")
    return found if TRACEPARENT.fullmatch(found) else None


def checked_event(kind: type[Made], **fields: Any) -> Made:
    """An event, or a part of one, made of a caller's values. Raises ProblemError 422 with a
    sentence.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        raise ProblemError(422, "invalid_request", f"{first_error(error)}: change it") from error


async def submit(
    gateway: Gateway, request: Request, caller: Caller, body: dict[str, Any]
) -> SubmittedRun:
    """Publishes an AgentRequested and returns when Kafka has it; a repeat under its Idempotency-Key
    is not published again.
    """
    run, derived = run_id(request, caller)
    asked = checked_event(
        AgentRequested,
        id=run,
        at=now(),
        tenant=caller.tenant,
        traceparent=traceparent_in(request),
        **body,
    )
    session = asked.session or str(run)
    digest = _digest(asked, session) if derived else ""
    if derived:
        before = await _earlier(gateway, caller, run, digest)
        if before is not None:
            return before
    # Known before it is sent: the outcome may be heard before the acknowledgement.
    known = gateway.link.recent_runs.expect(run, caller.tenant, session, digest)
    await gateway.publish(asked)
    known.taken = True
    return SubmittedRun(run, session)


def _digest(asked: AgentRequested | RequestAdmitted, session: str) -> str:
    """A digest of what a caller sent. The gateway that took the request has it; another computes it
    from the admitted request.
    """
    said = [
        session,
        *(getattr(asked, name) for name in DIGEST_FIELDS),
        sorted(asked.metadata.items()),
    ]
    return hashlib.sha256(repr(said).encode()).hexdigest()


async def _earlier(gateway: Gateway, caller: Caller, run: UUID, digest: str) -> SubmittedRun | None:
    """The run that was requested under the same key before. Raises ProblemError 422 where the
    request differs.
    """
    known = gateway.link.recent_runs.find(run)
    if known is not None and gateway.link.recent_runs.is_acknowledged(run):
        if not known.digest:
            admitted = gateway.link.recent_runs.events(known, run, known.since, (RequestAdmitted,))
            known.digest = next((_digest(one, one.session) for _, one in admitted), "")
        if known.digest and known.digest != digest:
            raise ProblemError(
                422,
                "idempotency_key_reused",
                "this Idempotency-Key came with another body before: use a "
                "new key for a new request",
            )
        return SubmittedRun(run, known.session, again=True)
    if known is not None:
        return None  # it was asked for, and Kafka did not take it
    try:
        found = await gateway.rows(RUN, run=str(run), tenant=caller.tenant)
    except ProblemError:
        return None  # admission knows the newest requests' ids and says nothing twice
    return SubmittedRun(run, found[0]["session"], again=True) if found else None
