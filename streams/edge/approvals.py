"""Which calls wait for somebody's word, and how is it given over HTTP?

Who may approve is the tool's definition's to say: names, or roles. The roles are the API key's, so a service vouches
with its key for the people whose words it brings.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from schemas.agent import Label
from schemas.approvals import ApprovalDecided
from schemas.base import NAMESPACE_OID, derived_id
from streams.client import now
from streams.edge import asking
from streams.edge.app import Edge, Shared
from streams.edge.keys import Approver, Caller, Reader
from streams.edge.problems import Problem

router = APIRouter(tags=["approvals"])
OPEN = """SELECT approval, argMin(run, at) AS run, argMin(session, at) AS session, argMin(agent, at) AS agent,
       argMin(tool, at) AS tool, argMin(arguments, at) AS arguments, argMin(approvers, at) AS approvers,
       argMin(override, at) AS override, min(at) AS asked_at, argMin(expires_at, at) AS expires_at
FROM approvals WHERE tenant = {tenant:String} AND status != 'refused'
GROUP BY approval HAVING countIf(status != 'asked') = 0 AND expires_at > now64(3, 'UTC') ORDER BY asked_at LIMIT 200"""
ONE = "SELECT session FROM approvals WHERE approval = {approval:UUID} AND tenant = {tenant:String} LIMIT 1"


class Waiting(BaseModel):
    """A call that waits for somebody's word."""

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


class Decide(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [
        {"decision": "approve", "by": "kim", "note": "checked with the customer"}]})

    decision: Literal["approve", "deny"]
    by: str = Field("", description="who says so; without it, the key's name")
    arguments: str | None = Field(None, description="JSON text in place of the model's, where the tool allows it")
    note: str = ""
    session: Label = Field("", description="the run's session; only needed for an approval that nobody here knows")


@router.get("/v1/approvals", response_model=list[Waiting])
async def waiting(edge: Shared, caller: Reader) -> list[dict[str, Any]]:
    """The calls of the caller's tenant that wait for somebody's word, oldest first; as of a second ago."""
    return await edge.rows(OPEN, tenant=caller.tenant)


@router.post("/v1/approvals/{approval}", status_code=202)
async def decide(approval: UUID, body: Decide, request: Request, edge: Shared, caller: Approver) -> dict[str, str]:
    """Gives a word on an approval. The first valid one counts; whether it did is told in the run's events."""
    session = body.session or await _session(edge, caller, approval)
    by = body.by or caller.key
    if not by:
        raise Problem(422, "nobody", "say who decides: add `by`")
    # Two words are one where the same person says the same: a click that is sent twice changes nothing.
    word = derived_id(NAMESPACE_OID, f"{caller.tenant}/{approval}/{by}/{body.decision}/{body.arguments}")
    await edge.publish(asking.event(
        ApprovalDecided, id=word, at=now(), tenant=caller.tenant, session=session, approval=approval, by=by,
        roles=caller.roles, decision=body.decision, arguments=body.arguments, note=body.note))
    return {"id": str(word), "approval": str(approval), "status": "accepted"}


async def _session(edge: Edge, caller: Caller, approval: UUID) -> str:
    known = edge.link.stories.find(approval)
    if known is not None and known.tenant == caller.tenant:
        return known.session
    found = await edge.rows(ONE, approval=str(approval), tenant=caller.tenant)
    if not found:
        raise Problem(404, "unknown_approval",
                      f"there is no approval {approval} of this tenant: GET /v1/approvals lists "
                      "those that wait")
    return found[0]["session"]
