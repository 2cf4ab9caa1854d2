"""Bodies that were too large for an event, or for a row."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from schemas.wire.large_bodies import key_of
from streams.gateway.auth import Reader
from streams.gateway.context import GatewayOf
from streams.gateway.large_bodies import stored_body

router = APIRouter(tags=["runs"])
TEXT = "text/plain; charset=utf-8"


@router.get(
    "/v1/objects/{sha256}",
    response_class=Response,
    responses={
        200: {
            "description": "The body, as it was",
            "content": {TEXT: {"schema": {"type": "string"}, "example": '[{"order": …'}},
        }
    },
)
async def body(
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="the last part of its key")],
    gateway: GatewayOf,
    caller: Reader,
) -> Response:
    """The body that an event of the caller's tenant names by its key: a long result of a tool,
    question or answer.
    """
    return Response(await stored_body(gateway, key_of(caller.tenant, sha256)), media_type=TEXT)
