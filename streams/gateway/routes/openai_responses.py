"""OpenAI's responses protocol; `model` is the agent's name.

`previous_response_id` or `conversation` continues a session that is stored here, with the results
of its agent's tools; so nothing has to be sent twice. `instructions` follow the agent's own prompt.
"""

import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from processors.common.text import clean
from streams.gateway import sse
from streams.gateway.auth import Caller, Reader, Requester
from streams.gateway.context import Gateway, GatewayOf
from streams.gateway.errors import ProblemError
from streams.gateway.openapi import IDEMPOTENT, responses_of
from streams.gateway.routes import chat_messages as conversation
from streams.gateway.runs import results
from streams.gateway.runs.results import SubmittedRun
from streams.gateway.runs.stream_answer import answer_parts, wait_until_begun

router = APIRouter(tags=["OpenAI"])
Text = Annotated[str, AfterValidator(clean)]
"""What is repeated in the answer."""
STATUS = {
    "running": "in_progress",
    "completed": "completed",
    "blocked": "incomplete",
    "cancelled": "cancelled",
    "waiting": "completed",
}
EXAMPLE = {
    "id": "resp_0b9f6bd05f4e4d0c8a8e0e3f4f5f2d11",
    "object": "response",
    "created_at": 1_790_000_000,
    "status": "completed",
    "model": "support",
    "output": [
        {
            "id": "msg_0b9f6bd05f4e4d0c8a8e0e3f4f5f2d11",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {
                    "type": "output_text",
                    "text": "Your order A-1001 is on its way.",
                    "annotations": [],
                    "logprobs": [],
                }
            ],
        }
    ],
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "usage": {
        "input_tokens": 312,
        "input_tokens_details": {"cached_tokens": 256, "cache_write_tokens": 0},
        "output_tokens": 77,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 389,
    },
}
STREAM = (
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":4,'
    '"delta":"Your","item_id":"msg_…","output_index":0,"content_index":0}\n\n'
)


class ResponseRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "support", "input": "Where is order A-1001?"}]},
    )

    model: str = Field(min_length=1, max_length=200, description="name of an agent")
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    previous_response_id: Text | None = Field(
        None, description="go on with that response's session"
    )
    conversation: str | dict[str, Any] | None = None
    stream: bool = False
    user: str | None = None
    metadata: dict[Text, Text] | None = None


@router.post(
    "/v1/responses",
    response_model=None,
    responses=responses_of(EXAMPLE, STREAM),
    openapi_extra=IDEMPOTENT,
)
async def respond(
    body: ResponseRequest, request: Request, gateway: GatewayOf, caller: Requester
) -> Response:
    """Runs an agent and answers when its run has ended, or as the answer is written."""
    said = body.model_dump()
    conversation.check(said)
    items = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else body.input
    text, history = conversation.split(items, body.instructions or "")
    chat = conversation.ChatRequest(
        body.model,
        text,
        history,
        body.user,
        dict(body.metadata or {}),
        await _session(gateway, caller, body),
    )
    asked = await conversation.submit_chat(gateway, request, caller, chat)
    headers = conversation.run_headers(asked) | conversation.ignored(said)
    if body.stream:
        await wait_until_begun(gateway, asked)
        return sse.EventStream(
            _events(gateway, caller, asked, body), gateway.settings.gateway_slow_s, headers
        )
    result = results.checked_result(await results.result_of(gateway, caller, asked))
    return JSONResponse(
        response(result, body.model, body.previous_response_id, body.metadata), headers=headers
    )


@router.get("/v1/responses/{name}", responses=responses_of(EXAMPLE))
async def get_response(name: str, gateway: GatewayOf, caller: Reader) -> dict[str, Any]:
    """A response, by its id."""
    found = await results.find_run(gateway, caller, _run(name))
    return response(found, found.get("agent", ""))


async def _session(gateway: Gateway, caller: Caller, body: ResponseRequest) -> str:
    """The session to continue; empty for a new one."""
    if body.previous_response_id:
        return await results.session_of(gateway, caller, _run(body.previous_response_id))
    given = (
        body.conversation.get("id") if isinstance(body.conversation, dict) else body.conversation
    )
    if not isinstance(given, str | None):
        raise ProblemError(
            422,
            "bad_conversation",
            "`conversation` is a session's name, or an object with it as `id`",
        )
    return given or ""


def _run(name: str) -> UUID:
    try:
        return UUID(hex=name.removeprefix("resp_"))
    except ValueError as error:
        raise ProblemError(
            404, "unknown_response", f"there is no response {name!r}: use the `id` of one"
        ) from error


def response(
    result: dict[str, Any],
    model: str,
    previous: str | None = None,
    metadata: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A run as a response object."""
    run = UUID(result["id"])
    status = STATUS.get(result["status"], "failed")
    failed = {"code": "server_error", "message": f"{result.get('reason')}: {result.get('detail')}"}
    return _empty(run, model, previous, metadata) | {
        "status": status,
        "output": [_item(run, result, status)] if status in ("completed", "incomplete") else [],
        "error": failed if status == "failed" else None,
        "incomplete_details": {"reason": "content_filter"} if status == "incomplete" else None,
        "usage": usage(result),
    }


def usage(result: dict[str, Any]) -> dict[str, Any]:
    read, cached, kept, written, reasoned = (result.get(name, 0) for name in results.TOKENS)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": kept},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": reasoned},
        "total_tokens": read + written,
    }


def _empty(
    run: UUID, model: str, previous: str | None, metadata: dict[str, str] | None
) -> dict[str, Any]:
    return {
        "id": f"resp_{run.hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": model,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": metadata or {},
        "parallel_tool_calls": True,
        "previous_response_id": previous,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _item(run: UUID, result: dict[str, Any], status: str) -> dict[str, Any]:
    content = (
        {"type": "refusal", "refusal": result["detail"]}
        if status == "incomplete"
        else _text(result["answer"] or "")
    )
    return {
        "id": f"msg_{run.hex}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [content],
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


async def _events(
    gateway: Gateway, caller: Caller, asked: SubmittedRun, body: ResponseRequest
) -> AsyncGenerator[bytes, None]:
    """The stream in the protocol's own events, each with its number."""
    numbers = iter(range(1_000_000_000))
    at = {"item_id": f"msg_{asked.run.hex}", "output_index": 0, "content_index": 0}
    opened = _empty(asked.run, body.model, body.previous_response_id, body.metadata)
    item = {
        "id": at["item_id"],
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }

    def event(kind: str, **fields: Any) -> bytes:
        return sse.event(kind, {"type": kind, "sequence_number": next(numbers)} | fields)

    yield event("response.created", response=opened)
    yield event("response.in_progress", response=opened)
    yield event("response.output_item.added", output_index=0, item=item)
    yield event("response.content_part.added", part=_text(""), **at)
    said = ""
    try:
        async for part in answer_parts(gateway, caller, asked, body.model):
            if part is None:
                yield sse.KEEP_ALIVE
            elif isinstance(part, str):
                said += part
                yield event("response.output_text.delta", delta=part, logprobs=[], **at)
            else:
                whole = response(part, body.model, body.previous_response_id, body.metadata)
                [content] = whole["output"][0]["content"]
                if content["type"] == "refusal":
                    yield event("response.refusal.done", refusal=content["refusal"], **at)
                else:
                    yield event("response.output_text.done", text=said, logprobs=[], **at)
                yield event("response.content_part.done", part=content, **at)
                yield event("response.output_item.done", output_index=0, item=whole["output"][0])
                yield event(f"response.{whole['status']}", response=whole)
    except ProblemError as problem:
        error = {"code": "server_error", "message": problem.detail}
        yield event("response.failed", response=opened | {"status": "failed", "error": error})
