"""Calls that wait for an approval, and decisions on them.

Who may approve is in the tool's definition: names, or roles. Both are the API key's: its subject
(or its name) decides, and its roles are those that the key's service vouches for. A name that is
typed beside a key is a note.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.base import NAMESPACE_OID, derived_id
from schemas.events.values import Label
from sinks.clickhouse.queries.catalogue import by_name
from streams.engine.client import now
from streams.gateway.auth import Approver, Caller, Reader
from streams.gateway.context import Gateway, GatewayOf
from streams.gateway.errors import ProblemError
from streams.gateway.runs import submit

router = APIRouter(tags=["approvals"])
OPEN_APPROVALS = f"SELECT * FROM ({by_name('open_approvals').sql}) ORDER BY asked_at LIMIT 200"
"""Those that wait longest first; with an empty tenant, those of all."""
ONE = (
    "SELECT session FROM approvals WHERE approval = {approval:UUID} AND tenant = "
    "{tenant:String} "
    "LIMIT 1"
)


class OpenApproval(BaseModel):
    """A call that waits for a decision."""

    approval: UUID
    run: UUID
    session: str
    agent: str
    tool: str
    arguments: str = Field(description="JSON text, as the model wrote it")
    approvers: list[str] = Field(description="names and roles, one of which has to agree")
    override: bool = Field(description="whether an approver may change the arguments")
    asked_at: datetime
    expires_at: datetime


class Decision(BaseModel):
    """A decision on an approval."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"decision": "approve", "by": "kim", "note": "checked with the customer"}]
        },
    )

    decision: Literal["approve", "deny"]
    by: str = Field(
        "", description="who says so, where no API key tells; beside a key it is kept in the note"
    )
    arguments: str | None = Field(
        None, description="JSON text in place of the model's, where the tool allows it"
    )
    note: str = ""
    session: Label = Field(
        "", description="the run's session; only needed for an approval that nobody here knows"
    )


@router.get("/v1/approvals", response_model=list[OpenApproval])
async def list_open(gateway: GatewayOf, caller: Reader) -> list[dict[str, Any]]:
    """The calls of the caller's tenant that wait for a decision, oldest first; as of a second ago."""
    return await gateway.rows(OPEN_APPROVALS, tenant=caller.tenant)


@router.post("/v1/approvals/{approval}", status_code=202)
async def decide(
    approval: UUID, body: Decision, request: Request, gateway: GatewayOf, caller: Approver
) -> dict[str, str]:
    """Decides an approval. The first valid decision counts; the run's events say whether this one
    did.
    """
    session = body.session or await _session(gateway, caller, approval)
    word = decision_event(caller, caller.tenant, approval, session, body)
    await gateway.publish(word)
    return {"id": str(word.id), "approval": str(approval), "status": "accepted"}


def decision_event(
    caller: Caller, tenant: str, approval: UUID, session: str, said: Decision
) -> ApprovalDecided:
    """A decision as an event. The same decision of the same person is the same event: a click that
    is sent twice changes nothing. Raises ProblemError 422 where nobody is named.
    """
    by, note = caller.says(said.by, said.note)
    if not by:
        raise ProblemError(422, "nobody", "say who decides: add `by`")
    identity = derived_id(
        NAMESPACE_OID, f"{tenant}/{approval}/{by}/{said.decision}/{said.arguments}"
    )
    return submit.checked_event(
        ApprovalDecided,
        id=identity,
        at=now(),
        tenant=tenant,
        session=session,
        approval=approval,
        by=by,
        roles=caller.roles,
        decision=said.decision,
        arguments=said.arguments,
        note=note,
    )


async def _session(gateway: Gateway, caller: Caller, approval: UUID) -> str:
    known = gateway.link.recent_runs.find(approval)
    if known is not None and known.tenant == caller.tenant:
        return known.session
    found = await gateway.rows(ONE, approval=str(approval), tenant=caller.tenant)
    if not found:
        raise ProblemError(
            404,
            "unknown_approval",
            f"there is no approval {approval} of this tenant: GET /v1/approvals lists "
            "those that wait",
        )
    return found[0]["session"]
