"""Signals: tell a workflow what happened outside.

A signal is for a session: the node that waits for its name receives it, now or later. The same
Idempotency-Key is the same signal, so a sender that is not sure sends it again.
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.agent.signals import Signalled
from schemas.events.base import NAMESPACE_OID, derived_id
from streams.engine.client import now
from streams.gateway.auth import Requester
from streams.gateway.context import GatewayOf
from streams.gateway.runs import submit

router = APIRouter(tags=["signals"])


class SignalRequest(BaseModel):
    """The payload of a signal."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"payload": {"usd": 50}}]}
    )

    payload: Any = Field("", description="any JSON: the result of the node that waits")


NO_PAYLOAD = SignalRequest.model_validate({})


@router.post("/v1/sessions/{session}/signals/{name}", status_code=202)
async def signal(
    session: str,
    name: str,
    request: Request,
    gateway: GatewayOf,
    caller: Requester,
    body: SignalRequest = NO_PAYLOAD,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> dict[str, str]:
    """Sends a signal to a session. Where no node waits for it yet, it is kept for the one that
    will.
    """
    given, _ = submit.run_id(request, caller)
    told = derived_id(NAMESPACE_OID, f"signal/{session}/{name}/{given}")
    payload = body.payload
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    await gateway.publish(
        submit.checked_event(
            Signalled,
            id=told,
            at=now(),
            tenant=caller.tenant,
            session=session,
            name=name,
            payload=text,
        )
    )
    return {"id": str(told), "session": session, "name": name, "status": "accepted"}
