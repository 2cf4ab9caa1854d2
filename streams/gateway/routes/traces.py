"""The spans of one trace, of an application or of Weir's own runs."""

from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Response

from schemas.money import money_text
from streams.gateway.auth import Reader
from streams.gateway.context import GatewayOf
from streams.gateway.errors import ProblemError

router = APIRouter(tags=["telemetry"])
SPANS_MOST = 20_000
SPANS = """
SELECT span, parent, name, operation, source, agent, run, session, started_at, at AS ended_at,
       wait_ms, status,
       error_type, provider, request_model, response_model, finish_reason, input_tokens,
       cached_input_tokens,
       cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, tool, input, output,
       attributes
FROM spans WHERE trace = {trace:String} AND tenant = {tenant:String} ORDER BY started_at, at,
       span LIMIT {limit:UInt32}
"""
EXAMPLE = {
    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    "more": False,
    "spans": [
        {
            "span": "00f067aa0ba902b7",
            "parent": "",
            "name": "chat small",
            "operation": "chat",
            "source": "otel",
            "wait_ms": 812,
            "status": "ok",
            "input_tokens": 31,
            "output_tokens": 7,
            "cost_usd": "0.000012",
        }
    ],
}


@router.get(
    "/v1/traces/{trace}",
    summary="Read a trace, of any source",
    response_class=Response,
    responses={
        200: {
            "description": "Its spans, oldest first",
            "content": {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}},
        }
    },
)
async def trace(
    trace: Annotated[str, Path(pattern="^[0-9a-fA-F]{32}$", description="32 hex digits")],
    gateway: GatewayOf,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=SPANS_MOST, description="most spans")] = SPANS_MOST,
) -> Response:
    """The spans of the caller's tenant with this trace id. Money is text, so that no digit is lost;
    null is a price that nobody knows. `more` says that there are more spans than were asked for.
    """
    spans = await gateway.rows(SPANS, trace=trace.lower(), tenant=caller.tenant, limit=limit + 1)
    if not spans:
        raise ProblemError(
            404,
            "unknown_trace",
            "there is no such trace of this tenant: its rows arrive within seconds; if it "
            "stays so, the id is wrong or the trace another tenant's",
        )
    return Response(
        orjson.dumps(
            {"trace": trace.lower(), "more": len(spans) > limit, "spans": spans[:limit]},
            default=_plain,
        ),
        media_type="application/json",
    )


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return money_text(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
