"""Runs: start one, read it, follow its events, cancel it, and give feedback on it."""

import re
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.agent.runs import RequestAdmitted, RunCancelled
from schemas.events.base import NAMESPACE_OID, derived_id
from schemas.events.feedback import FeedbackGiven, Score
from schemas.events.model_chunks import ModelChunk
from schemas.events.values import Label
from schemas.money import PlainDecimal
from streams.engine.client import now
from streams.gateway import sse
from streams.gateway.auth import FeedbackSender, Reader, Requester
from streams.gateway.context import Gateway, GatewayOf
from streams.gateway.errors import ProblemError
from streams.gateway.runs import results, submit
from streams.gateway.runs.recent_runs import ANY, OUTCOMES, KnownRun
from streams.gateway.runs.stream_answer import may_stream

router = APIRouter(tags=["runs"])
WAIT = re.compile(r"\bwait=(\d+)")
LAST_S = 0.05
"""How long the events are followed after the outcome: the last ones come on other topics."""
SPANS = """SELECT toString(id) AS id, at, name, operation, status, error_type, wait_ms, cost_usd,
       input_tokens,
       output_tokens FROM spans WHERE run = {run:UUID} AND tenant = {tenant:String}
ORDER BY started_at, at"""


class StrictBody(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunRequest(StrictBody):
    """A request to an agent. The tenant is the API key's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "agent": "support",
                    "text": "Where is order A-1001?",
                    "session": "chat-77",
                    "user": "u-1",
                }
            ]
        },
    )

    agent: Label = Field(description="name of the agent")
    text: str = Field(min_length=1, description="what it is asked")
    session: Label = Field("", description="the conversation to go on with; empty: a new one")
    user: str | None = Field(None, description="on whose behalf (personal)")
    channel: Label | None = Field(None, description="where it came from, e.g. web")
    metadata: dict[str, str] = Field({}, description="whatever the caller wants back in the events")


class RunObject(BaseModel):
    """A run, as far as it is known. Costs are text, because they are exact."""

    id: str
    object: str = "run"
    status: str = Field(
        description="running, waiting, completed, failed, blocked, stopped, cancelled or refused"
    )
    tenant: str
    session: str
    agent: str = ""
    agent_version: int = 0
    reason: str = ""
    detail: str = ""
    answer: str | None = None
    model: str = ""
    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = Field(0, description="those read from a cache, or written to it, included")
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = Field(0, description="those of reasoning included")
    reasoning_tokens: int = 0
    cost_usd: PlainDecimal | None = Field(None, description="null: nobody knows the price")
    total_cost_usd: PlainDecimal | None = Field(
        None, description="the same together with the agents that it asked"
    )
    wait_ms: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    waits_for: list[dict[str, Any]] = Field(
        [], description="approvals, or a question that the session's next request answers"
    )
    links: dict[str, str] = {}


class CancelRequest(StrictBody):
    """Why a run is cancelled, and by whom."""

    reason: str = Field("", description="why, for the records")
    user: str | None = None
    session: Label = Field(
        "", description="the run's session; only for a run that began long ago and has not ended"
    )


NO_REASON = CancelRequest.model_validate({})


class FeedbackRequest(StrictBody):
    """Feedback on a run; it may come weeks later."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"run": "0b9f6bd0-5f4e-4d0c-8a8e-0e3f4f5f2d11", "score": 1, "comment": "It helped."}
            ]
        },
    )

    run: UUID
    score: Score
    label: Label = ""
    comment: str = ""
    user: str | None = None
    session: Label = ""


@router.post(
    "/v1/requests", status_code=202, response_model=RunObject, responses={200: {"model": RunObject}}
)
async def ask(
    body: RunRequest,
    request: Request,
    response: Response,
    gateway: GatewayOf,
    caller: Requester,
    prefer: Annotated[
        str, Header(description="`wait=10`: answer with the outcome, where it comes in time")
    ] = "",
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> dict[str, Any]:
    """Starts a run of an agent. 202 when all replicas of Kafka have the request; the same
    Idempotency-Key is the same run.
    """
    asked = await submit.submit(gateway, request, caller, body.model_dump())
    response.headers["Location"] = f"/v1/runs/{asked.run}"
    if asked.again:
        response.headers["Idempotency-Replayed"] = "true"
    found = WAIT.search(prefer)
    if found and gateway.link.recent_runs.find(asked.run):
        outcome = await gateway.link.recent_runs.wait(
            asked.run, min(float(found[1]), gateway.settings.gateway_wait_s)
        )
        if outcome is not None:
            response.status_code = 200
            return results.result_of_event(outcome)
    if asked.again:
        return await results.find_run(gateway, caller, asked.run)
    return results.run_object(asked.run, caller.tenant, asked.session, "running", agent=body.agent)


@router.get("/v1/runs/{run}", response_model=RunObject)
async def get_run(run: UUID, gateway: GatewayOf, caller: Reader) -> dict[str, Any]:
    """The run: its outcome, or that it is still running."""
    return await results.find_run(gateway, caller, run)


@router.get(
    "/v1/runs/{run}/events",
    response_class=Response,
    responses={
        200: {
            "description": "The run's events as they happen",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'id: 7c…\nevent: RunFinished\ndata: {"outcome":"completed"}\n\n',
                }
            },
        }
    },
)
async def follow(
    run: UUID,
    gateway: GatewayOf,
    caller: Reader,
    last_event_id: Annotated[str, Header(description="go on behind this event")] = "",
) -> Response:
    """The run's events as server-sent events, from its beginning or behind Last-Event-ID, until its
    outcome.
    """
    known = gateway.link.recent_runs.find(run)
    if known is None or known.tenant != caller.tenant:
        spans = await gateway.rows(SPANS, run=str(run), tenant=caller.tenant)
        if not spans:
            raise results.unknown_run(run)
        return sse.EventStream(
            _stored_events(spans, last_event_id), gateway.settings.gateway_slow_s
        )
    return sse.EventStream(
        _live_events(gateway, known, run, last_event_id), gateway.settings.gateway_slow_s
    )


async def _stored_events(spans: list[dict[str, Any]], last: str) -> AsyncGenerator[bytes, None]:
    """The events of an earlier run, as its spans have them."""
    ids = [span["id"] for span in spans]
    for span in spans[ids.index(last) + 1 if last in ids else 0 :]:
        yield sse.event("SpanEnded", span, span["id"])


async def _live_events(
    gateway: Gateway, known: KnownRun, run: UUID, last: str
) -> AsyncGenerator[bytes, None]:
    """The run's events after the one that the reader had last; all of them where that one is not
    known.
    """
    recent = gateway.link.recent_runs
    ended = None
    behind = [
        number
        for number, event in recent.events(known, run, known.since, ANY)
        if str(event.id) == last
    ]
    place = behind[0] if behind else known.since
    with recent.reading(known) as log:
        while True:
            if log.gone >= place:
                yield sse.event(
                    "behind",
                    {
                        "resume": last,
                        "detail": "this reader was too slow and has missed events: GET "
                        f"/v1/runs/{run} has the outcome",
                    },
                )
                return
            for number, event in recent.events(known, run, place, ANY):
                place = number
                last = str(event.id)
                if isinstance(event, OUTCOMES):
                    ended = event
                elif not isinstance(event, ModelChunk) or _may_stream(gateway, known, run):
                    yield sse.event(type(event).__name__, event, last)
            if not await log.change(LAST_S if ended else sse.KEEP_ALIVE_S):
                if ended:
                    yield sse.event(type(ended).__name__, ended, str(ended.id))
                    return
                yield sse.KEEP_ALIVE


def _may_stream(gateway: Gateway, known: KnownRun, run: UUID) -> bool:
    """Whether parts of the answer may be sent before it is screened."""
    admitted = next(
        (
            event
            for _, event in gateway.link.recent_runs.events(
                known, run, known.since, (RequestAdmitted,)
            )
        ),
        None,
    )
    return admitted is not None and may_stream(gateway.link.current_definitions(), admitted.agent)


@router.post("/v1/runs/{run}/cancel", status_code=202, response_model=RunObject)
async def cancel(
    run: UUID, gateway: GatewayOf, caller: Requester, body: CancelRequest = NO_REASON
) -> dict[str, Any]:
    """Asks that the run ends, wherever it stands; its sub-agents end with it."""
    recent = gateway.link.recent_runs
    found = recent.find(run)
    if found and found.tenant == caller.tenant and recent.outcome(run):
        raise ProblemError(
            409,
            "run_is_over",
            f"the run {run} has ended already: GET /v1/runs/{run} has its outcome",
        )
    session = await results.session_of(gateway, caller, run, body.session)
    await gateway.publish(
        submit.checked_event(
            RunCancelled,
            id=derived_id(run, "cancel"),
            at=now(),
            tenant=caller.tenant,
            session=session,
            run=run,
            reason=body.reason,
            user=body.user,
        )
    )
    return results.run_object(run, caller.tenant, session, "running", detail="it was asked to end")


@router.post("/v1/feedback", status_code=202)
async def judge(
    body: FeedbackRequest,
    request: Request,
    gateway: GatewayOf,
    caller: FeedbackSender,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> dict[str, str]:
    """Takes a person's feedback on a run, from -1 (bad) to 1 (good)."""
    session = await results.session_of(gateway, caller, body.run, body.session)
    given, _ = submit.run_id(request, caller)
    given = derived_id(NAMESPACE_OID, f"feedback/{given}")
    await gateway.publish(
        submit.checked_event(
            FeedbackGiven,
            id=given,
            at=now(),
            tenant=caller.tenant,
            session=session,
            source=caller.key or "gateway",
            **body.model_dump(exclude={"session"}),
        )
    )
    return {"id": str(given), "run": str(body.run), "status": "accepted"}
