"""How does OpenAI's responses protocol ask an agent?

`previous_response_id` or `conversation` goes on with a session that is kept here, with all that its
agent's tools said; so nothing has to be sent twice. `instructions` stand behind the agent's own
prompt.
"""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from processors.common.text import clean
from streams.gateway import sse, submit
from streams.gateway.auth import Caller, Reader, Requester
from streams.gateway.context import Gateway, Shared
from streams.gateway.errors import Problem
from streams.gateway.openapi import IDEMPOTENT, answers
from streams.gateway.routes import chat_messages as conversation
from streams.gateway.routes import openai_chat, runs
from streams.gateway.stream_answer import begun, spoken
from streams.gateway.submit import Asked

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


class Respond(BaseModel):
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
    responses=answers(EXAMPLE, STREAM),
    openapi_extra=IDEMPOTENT,
)
async def respond(body: Respond, request: Request, gateway: Shared, caller: Requester) -> Response:
    """Asks an agent and answers when its run has ended, or as the answer is written."""
    said = body.model_dump()
    conversation.check(said)
    items = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else body.input
    text, history = conversation.split(items, body.instructions or "")
    asked = await openai_chat.asked_in(
        gateway,
        request,
        caller,
        body.model,
        text,
        history,
        body.user,
        dict(body.metadata or {}),
        await _session(gateway, caller, body),
    )
    headers = openai_chat.run_headers(asked) | conversation.ignored(said)
    if body.stream:
        await begun(gateway, asked)
        return sse.Stream(
            _events(gateway, caller, asked, body), gateway.settings.gateway_slow_s, headers
        )
    result = submit.completed(await submit.result_of(gateway, caller, asked))
    return JSONResponse(
        response(result, body.model, body.previous_response_id, body.metadata), headers=headers
    )


@router.get("/v1/responses/{name}", responses=answers(EXAMPLE))
async def look(name: str, gateway: Shared, caller: Reader) -> dict[str, Any]:
    """A response, by its id."""
    found = await runs.look(_run(name), gateway, caller)
    return response(found, found.get("agent", ""))


async def _session(gateway: Gateway, caller: Caller, body: Respond) -> str:
    """The session to go on with; empty for a new one."""
    if body.previous_response_id:
        return await submit.place_of(gateway, caller, _run(body.previous_response_id))
    given = (
        body.conversation.get("id") if isinstance(body.conversation, dict) else body.conversation
    )
    if not isinstance(given, str | None):
        raise Problem(
            422,
            "bad_conversation",
            "`conversation` is a session's name, or an object with it as `id`",
        )
    return given or ""


def _run(name: str) -> UUID:
    try:
        return UUID(hex=name.removeprefix("resp_"))
    except ValueError as error:
        raise Problem(
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
    read, cached, kept, written, reasoned = (result.get(name, 0) for name in submit.TOKENS)
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
    gateway: Gateway, caller: Caller, asked: Asked, body: Respond
) -> AsyncIterator[bytes]:
    """The stream in the protocol's own events, each with its number."""
    numbers = iter(range(1_000_000_000))
    at = {"item_id": f"msg_{asked.run.hex}", "output_index": 0, "content_index": 0}
    begun = _empty(asked.run, body.model, body.previous_response_id, body.metadata)
    item = {
        "id": at["item_id"],
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }

    def event(kind: str, **fields: Any) -> bytes:
        return sse.event(kind, {"type": kind, "sequence_number": next(numbers)} | fields)

    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    yield event("response.output_item.added", output_index=0, item=item)
    yield event("response.content_part.added", part=_text(""), **at)
    said = ""
    try:
        async for part in spoken(gateway, caller, asked, body.model):
            if part is None:
                yield sse.BEAT
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
    except Problem as problem:
        error = {"code": "server_error", "message": problem.detail}
        yield event("response.failed", response=begun | {"status": "failed", "error": error})
