"""The result of a run, in the shape of `GET /v1/runs/{id}`: from recent events, else ClickHouse."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schemas.events.agent.approvals import ApprovalAsked, ApprovalResolved, UserAsked
from schemas.events.agent.runs import RequestRefused, RunFinished
from streams.gateway.auth import Caller
from streams.gateway.context import Gateway
from streams.gateway.errors import ProblemError
from streams.gateway.large_bodies import with_whole_answer
from streams.gateway.runs.recent_runs import KnownRun

RUN = """
SELECT at, tenant, session, run, agent, agent_version, outcome, reason, detail, answer, bodies,
       model, model_calls, tool_calls, input_tokens, cached_input_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, cost_usd, total_cost_usd, started_at, wait_ms
FROM runs WHERE run = {run:UUID} AND tenant = {tenant:String} ORDER BY at LIMIT 1"""
REFUSAL_STATUS = {
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
"""The tokens that protocols report: input includes those read from a cache or written to it, output
those of reasoning.
"""


@dataclass(frozen=True)
class SubmittedRun:
    """A submitted run; `again` where it existed before, under the same Idempotency-Key."""

    run: UUID
    session: str
    again: bool = False


async def find_run(gateway: Gateway, caller: Caller, run: UUID) -> dict[str, Any]:
    """The run: its outcome, or that it is still running. Raises ProblemError 404."""
    known = gateway.link.recent_runs.find(run)
    if known is None or known.tenant != caller.tenant:
        stored = await _stored(gateway, caller, run)
        if stored is None:
            raise unknown_run(run)
        return stored
    outcome = gateway.link.recent_runs.outcome(run)
    if outcome is not None:
        return result_of_event(outcome)
    try:
        stored = await _stored(gateway, caller, run)
    except ProblemError:
        stored = None  # a run of the last minutes is known without ClickHouse
    if stored is not None:
        return stored
    waits = _waits_for(gateway, known, run)
    status = "waiting" if waits else "running"
    return run_object(run, known.tenant, known.session, status, waits_for=waits)


async def _stored(gateway: Gateway, caller: Caller, run: UUID) -> dict[str, Any] | None:
    """The run out of ClickHouse."""
    rows = await gateway.rows(RUN, run=str(run), tenant=caller.tenant)
    return stored_result(await with_whole_answer(gateway, rows[0])) if rows else None


def _waits_for(gateway: Gateway, known: KnownRun, run: UUID) -> list[dict[str, Any]]:
    """The decisions and answers that the run waits for, as far as the last minutes tell."""
    waits: dict[UUID, dict[str, Any]] = {}
    for _, event in gateway.link.recent_runs.events(
        known, run, known.since, (ApprovalAsked, ApprovalResolved, UserAsked)
    ):
        if isinstance(event, ApprovalResolved):
            waits.pop(event.approval, None)
        elif isinstance(event, ApprovalAsked):
            waits[event.id] = {
                "approval": str(event.id),
                "tool": event.tool,
                "arguments": event.arguments,
                "approvers": event.approvers,
                "expires_at": event.expires_at,
            }
        else:
            waits = {
                event.id: {
                    "question": event.question,
                    "options": event.options,
                    "expires_at": event.expires_at,
                }
            }
    return list(waits.values())


async def result_of(gateway: Gateway, caller: Caller, asked: SubmittedRun) -> dict[str, Any]:
    """The run's outcome, in the shape of `GET /v1/runs/{id}`. Raises ProblemError 504 where none
    came in time.
    """
    if gateway.link.recent_runs.find(asked.run) is None:  # of former times, asked for again
        return stored_result(
            await with_whole_answer(
                gateway, (await gateway.rows(RUN, run=str(asked.run), tenant=caller.tenant))[0]
            )
        )
    found = await gateway.link.recent_runs.wait(asked.run, gateway.settings.gateway_wait_s)
    if found is None:
        raise timeout_problem(gateway, asked.run)
    return result_of_event(found)


def timeout_problem(gateway: Gateway, run: UUID) -> ProblemError:
    return ProblemError(
        504,
        "no_outcome_yet",
        f"the run goes on, its outcome did not come within "
        f"{gateway.settings.gateway_wait_s:g} s: see GET /v1/runs/{run}",
        run=str(run),
    )


def checked_result(result: dict[str, Any]) -> dict[str, Any]:
    """A result that is an answer, a question back, or was withheld by a policy. Raises ProblemError
    for every other outcome.
    """
    status = result["status"]
    run = result["id"]
    if status in ("completed", "blocked", "waiting"):
        return result
    if status == "refused":
        code = REFUSAL_STATUS.get(result["reason"], 422)
        wait_ms = result.get("retry_after_ms")
        default_wait_s = 1 if code == 429 else None
        wait_s = default_wait_s if wait_ms is None else wait_ms / 1000
        raise ProblemError(
            code, result["reason"], result["detail"] or result["reason"], wait_s, run=run
        )
    raise ProblemError(
        409 if status == "cancelled" else 502,
        f"run_{status}",
        f"the run has {status}: {result['reason']}"
        f"{': ' if result['detail'] else ''}{result['detail']}",
        run=run,
    )


async def session_of(gateway: Gateway, caller: Caller, run: UUID, session: str = "") -> str:
    """The session of a run of the caller's tenant. Raises ProblemError 404."""
    known = gateway.link.recent_runs.find(run)
    if known is not None and known.tenant == caller.tenant:
        return known.session
    if session:
        return session
    found = await gateway.rows(RUN, run=str(run), tenant=caller.tenant)
    if not found:
        raise unknown_run(run)
    return found[0]["session"]


def unknown_run(run: UUID) -> ProblemError:
    return ProblemError(
        404,
        "unknown_run",
        f"there is no run {run} of this tenant: check the id; one that was sent through "
        "Kafka moments ago is known as soon as it is admitted",
    )


def result_of_event(outcome: RunFinished | RequestRefused | UserAsked) -> dict[str, Any]:
    """An outcome, or a question back, in the shape of `GET /v1/runs/{id}`."""
    if isinstance(outcome, UserAsked):
        return run_object(
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
    return run_object(
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
    """An agent's question to its user, as a message."""
    return "\n".join([asked.question, *(f"- {option}" for option in asked.options)])


def stored_result(row: dict[str, Any]) -> dict[str, Any]:
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
    return run_object(
        row["run"],
        row["tenant"],
        row["session"],
        row["outcome"],
        finished_at=row["at"],
        **{name: row[name] for name in names},
    )


def run_object(run: UUID, tenant: str, session: str, status: str, **more: Any) -> dict[str, Any]:
    """A run in the shape of `GET /v1/runs/{id}`."""
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
