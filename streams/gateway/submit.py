"""How does an HTTP request become a run, whichever protocol it came in, and how is its outcome
waited for?
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

from fastapi import Request
from pydantic import BaseModel, ValidationError

from schemas.events.agent.approvals import UserAsked
from schemas.events.agent.runs import AgentRequested, RequestAdmitted, RequestRefused, RunFinished
from schemas.events.base import NAMESPACE_OID, derived_id
from schemas.wire.codec import first_error
from streams.engine.client import now
from streams.gateway.auth import Caller
from streams.gateway.context import Gateway
from streams.gateway.errors import Problem
from streams.gateway.routes.objects import whole

IDEMPOTENCY = "idempotency-key"
SPACE = derived_id(NAMESPACE_OID, "weir/idempotency")
KEY_CHARS_MAX = 255
SAID = ("agent", "text", "user", "channel", "history")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
RUN = """SELECT at, tenant, session, run, agent, agent_version, outcome, reason, detail, answer, bodies, model,
       model_calls, tool_calls, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
       cost_usd, total_cost_usd, started_at, wait_ms
FROM runs WHERE run = {run:UUID} AND tenant = {tenant:String} ORDER BY at LIMIT 1"""
REFUSED = {
    "quota": 429,
    "concurrency": 429,
    "budget": 429,
    "unknown_tenant": 403,
    "unknown_agent": 404,
    "too_large": 413,
    "empty": 422,
}
TOKENS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
"""Of a run's tokens, what protocols tell: input includes what was read from a cache or written to
it, output reasoning.
"""
Made = TypeVar("Made", bound=BaseModel)


@dataclass(frozen=True)
class Asked:
    """A run that was asked for; `again` where it had been before, under the same Idempotency-Key."""

    run: UUID
    session: str
    again: bool = False


def run_id(request: Request, caller: Caller) -> tuple[UUID, bool]:
    """The id of a request's event, and whether it derives from an Idempotency-Key."""
    given = request.headers.get(IDEMPOTENCY)
    if given is None:
        return uuid4(), False
    if not 0 < len(given) <= KEY_CHARS_MAX:
        raise Problem(
            422,
            "bad_idempotency_key",
            f"Idempotency-Key has 1 to {KEY_CHARS_MAX} characters: use a UUID",
        )
    return derived_id(SPACE, f"{caller.tenant}/{given}"), True


def traceparent_in(request: Request) -> str | None:
    """The caller's W3C trace context; one that is malformed is as good as none."""
    found = request.headers.get("traceparent", "")
    return found if TRACEPARENT.fullmatch(found) else None


def event(kind: type[Made], **fields: Any) -> Made:
    """An event, or a part of one, out of what a caller said. Raises Problem 422 with a sentence."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise Problem(422, "invalid_request", f"{first_error(error)}: change it") from error


async def ask(gateway: Gateway, request: Request, caller: Caller, body: dict[str, Any]) -> Asked:
    """Publishes an AgentRequested and returns when Kafka has it; a repeat under its key is not
    published again.
    """
    run, derived = run_id(request, caller)
    asked = event(
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
        before = await _before(gateway, caller, run, digest)
        if before is not None:
            return before
    # Known before it is sent: the outcome may be heard before the acknowledgement.
    known = gateway.link.stories.expect(run, caller.tenant, session, digest)
    await gateway.publish(asked)
    known.taken = True
    return Asked(run, session)


def _digest(asked: AgentRequested | RequestAdmitted, session: str) -> str:
    """Of what a caller says. A gateway that took the request itself has it; another finds it in
    what was admitted.
    """
    said = [session, *(getattr(asked, name) for name in SAID), sorted(asked.metadata.items())]
    return hashlib.sha256(repr(said).encode()).hexdigest()


async def _before(gateway: Gateway, caller: Caller, run: UUID, digest: str) -> Asked | None:
    """The run that was asked for under the same key already. Raises Problem 422 where it was
    another request.
    """
    known = gateway.link.stories.find(run)
    if known is not None and gateway.link.stories.heard_of(run):
        if not known.digest:
            admitted = gateway.link.stories.events(known, run, known.since, (RequestAdmitted,))
            known.digest = next((_digest(one, one.session) for _, one in admitted), "")
        if known.digest and known.digest != digest:
            raise Problem(
                422,
                "idempotency_key_reused",
                "this Idempotency-Key came with another body before: use a "
                "new key for a new request",
            )
        return Asked(run, known.session, again=True)
    if known is not None:
        return None  # it was asked for, and Kafka did not take it
    try:
        found = await gateway.rows(RUN, run=str(run), tenant=caller.tenant)
    except Problem:
        return None  # admission knows the newest requests' ids and says nothing twice
    return Asked(run, found[0]["session"], again=True) if found else None


async def result_of(gateway: Gateway, caller: Caller, asked: Asked) -> dict[str, Any]:
    """The run's outcome, in the shape of `GET /v1/runs/{id}`. Raises Problem 504 where none came in
    time.
    """
    if gateway.link.stories.find(asked.run) is None:  # of former times, asked for again
        return landed(
            await whole(
                gateway, (await gateway.rows(RUN, run=str(asked.run), tenant=caller.tenant))[0]
            )
        )
    found = await gateway.link.stories.wait(asked.run, gateway.settings.gateway_wait_s)
    if found is None:
        raise late(gateway, asked.run)
    return finished_as(found)


def late(gateway: Gateway, run: UUID) -> Problem:
    return Problem(
        504,
        "no_outcome_yet",
        f"the run goes on, its outcome did not come within "
        f"{gateway.settings.gateway_wait_s:g} s: see GET /v1/runs/{run}",
        run=str(run),
    )


def completed(result: dict[str, Any]) -> dict[str, Any]:
    """A result that is an answer, a question back, or was withheld by a policy. Raises Problem for
    every other end.
    """
    status = result["status"]
    run = result["id"]
    if status in ("completed", "blocked", "waiting"):
        return result
    if status == "refused":
        code = REFUSED.get(result["reason"], 422)
        wait_ms = result.get("retry_after_ms")
        default_wait_s = 1 if code == 429 else None
        wait_s = default_wait_s if wait_ms is None else wait_ms / 1000
        raise Problem(code, result["reason"], result["detail"] or result["reason"], wait_s, run=run)
    raise Problem(
        409 if status == "cancelled" else 502,
        f"run_{status}",
        f"the run has {status}: {result['reason']}"
        f"{': ' if result['detail'] else ''}{result['detail']}",
        run=run,
    )


async def place_of(gateway: Gateway, caller: Caller, run: UUID, session: str = "") -> str:
    """The session of a run of the caller's tenant. Raises Problem 404."""
    known = gateway.link.stories.find(run)
    if known is not None and known.tenant == caller.tenant:
        return known.session
    if session:
        return session
    found = await gateway.rows(RUN, run=str(run), tenant=caller.tenant)
    if not found:
        raise unknown(run)
    return found[0]["session"]


def unknown(run: UUID) -> Problem:
    return Problem(
        404,
        "unknown_run",
        f"there is no run {run} of this tenant: check the id; one that was sent through "
        "Kafka moments ago is known as soon as it is admitted",
    )


def finished_as(outcome: RunFinished | RequestRefused | UserAsked) -> dict[str, Any]:
    """An outcome, or a question back, in the shape of `GET /v1/runs/{id}`."""
    if isinstance(outcome, UserAsked):
        return shown(
            outcome.request,
            outcome.tenant,
            outcome.session,
            "waiting",
            agent=outcome.agent,
            cost_usd=None,
            agent_version=outcome.agent_version,
            reason="user",
            detail="answer with the session's next request",
            answer=question(outcome),
            wait_ms=None,
            **dict.fromkeys(TOKENS, 0),
        )
    if isinstance(outcome, RequestRefused):
        more: dict[str, Any] = {"retry_after_ms": outcome.retry_after_ms}
    else:
        more = {
            name: getattr(outcome, name)
            for name in (
                "answer",
                "model",
                "model_calls",
                "tool_calls",
                "cost_usd",
                "wait_ms",
                "started_at",
            )
        }
        more |= {"total_cost_usd": outcome.total.total_cost_usd} | {
            name: getattr(outcome.tokens, name) for name in TOKENS
        }
    return shown(
        outcome.run,
        outcome.tenant,
        outcome.session,
        getattr(outcome, "outcome", "refused"),
        agent=outcome.agent,
        agent_version=outcome.agent_version,
        reason=outcome.reason,
        detail=outcome.detail,
        finished_at=outcome.at,
        **more,
    )


def question(asked: UserAsked) -> str:
    """What an agent asks its user, as a message."""
    return "\n".join([asked.question, *(f"- {option}" for option in asked.options)])


def landed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of runs in the same shape."""
    names = (
        "agent",
        "agent_version",
        "reason",
        "detail",
        "answer",
        "model",
        "model_calls",
        "tool_calls",
        "cost_usd",
        "total_cost_usd",
        "started_at",
        "wait_ms",
        *TOKENS,
    )
    return shown(
        row["run"],
        row["tenant"],
        row["session"],
        row["outcome"],
        finished_at=row["at"],
        **{name: row[name] for name in names},
    )


def shown(run: UUID, tenant: str, session: str, status: str, **more: Any) -> dict[str, Any]:
    base = f"/v1/runs/{run}"
    return {
        "id": str(run),
        "object": "run",
        "status": status,
        "tenant": tenant,
        "session": session,
        **more,
        "links": {"self": base, "events": f"{base}/events", "cancel": f"{base}/cancel"},
    }
