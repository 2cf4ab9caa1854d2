"""How does a caller get what was too large for an event, or for a row?"""

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from schemas.wire.large_bodies import NoBody, StoreAway, key_of
from streams.gateway.auth import Reader
from streams.gateway.context import Gateway, Shared
from streams.gateway.errors import Problem

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
    gateway: Shared,
    caller: Reader,
) -> Response:
    """What an event of the caller's tenant names by its key: a long result of a tool, question or
    answer.
    """
    return Response(await kept(gateway, key_of(caller.tenant, sha256)), media_type=TEXT)


async def kept(gateway: Gateway, key: str) -> bytes:
    """A body. Raises Problem 404 or 503."""
    try:
        return await asyncio.to_thread(gateway.objects.get, key)
    except NoBody as missing:
        raise Problem(
            404,
            "no_object",
            f"{missing}: it was removed with the events that named it, or is another tenant's",
        ) from missing
    except StoreAway as away:
        raise Problem(503, "objects_away", f"{away}", retry_after_s=2) from away


async def whole(gateway: Gateway, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of runs with its answer whole; with the beginning, which it has, where the
    rest is gone.
    """
    key = json.loads(row.get("bodies") or "{}").get("answer")
    if not key:
        return row
    try:
        return row | {"answer": (await kept(gateway, key)).decode("utf-8", "replace")}
    except Problem:
        return row
