"""Bodies in the object store, as the routes return them."""

import asyncio
import json
from typing import Any

from schemas.wire.large_bodies import MissingBodyError, ObjectStoreError
from streams.gateway.context import Gateway
from streams.gateway.errors import ProblemError


async def stored_body(gateway: Gateway, key: str) -> bytes:
    """A body. Raises ProblemError 404 or 503."""
    try:
        return await asyncio.to_thread(gateway.objects.get, key)
    except MissingBodyError as missing:
        raise ProblemError(
            404,
            "no_object",
            f"{missing}: it was removed with the events that named it, or is another tenant's",
        ) from missing
    except ObjectStoreError as away:
        raise ProblemError(503, "objects_away", f"{away}", retry_after_s=2) from away


async def with_whole_answer(gateway: Gateway, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of runs with its whole answer; with its beginning, which the row has,
    where the rest is gone.
    """
    key = json.loads(row.get("bodies") or "{}").get("answer")
    if not key:
        return row
    try:
        return row | {"answer": (await stored_body(gateway, key)).decode("utf-8", "replace")}
    except ProblemError:
        return row
