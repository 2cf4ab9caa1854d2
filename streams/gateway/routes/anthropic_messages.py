"""Anthropic's messages protocol; `model` is the agent's name.

The last user message is the request, those before it are the history; `system` follows the agent's
own prompt. Parameters that the agent's definition decides, `max_tokens` among them, are named in
the header `weir-ignored`.
"""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from streams.gateway import sse
from streams.gateway.auth import Caller, Requester
from streams.gateway.context import Gateway, GatewayOf
from streams.gateway.errors import ERROR_TYPES, ProblemError
from streams.gateway.openapi import IDEMPOTENT, responses_of
from streams.gateway.routes import chat_messages
from streams.gateway.runs import results
from streams.gateway.runs.results import SubmittedRun
from streams.gateway.runs.stream_answer import answer_parts, wait_until_begun

router = APIRouter(tags=["Anthropic"])
EXAMPLE = {
    "id": "msg_0b9f6bd05f4e4d0c8a8e0e3f4f5f2d11",
    "type": "message",
    "role": "assistant",
    "model": "support",
    "content": [{"type": "text", "text": "Your order A-1001 is on its way.", "citations": None}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 56,
        "output_tokens": 77,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 256,
    },
}
STREAM = (
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Your"}}\n\n'
)


class MessagesRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "support",
                    "max_tokens": 1_000,
                    "messages": [{"role": "user", "content": "Where is order A-1001?"}],
                }
            ]
        },
    )

    model: str = Field(min_length=1, max_length=200, description="name of an agent")
    messages: list[dict[str, Any]] = Field(min_length=1)
    system: str | list[dict[str, Any]] | None = None
    stream: bool = False
    metadata: dict[str, Any] | None = None


@router.post(
    "/v1/messages",
    response_model=None,
    responses=responses_of(EXAMPLE, STREAM),
    openapi_extra=IDEMPOTENT,
)
async def answer(
    body: MessagesRequest, request: Request, gateway: GatewayOf, caller: Requester
) -> Response:
    """Runs an agent and answers when its run has ended, or as the answer is written."""
    said = body.model_dump()
    chat_messages.check(said)
    text, history = chat_messages.split(body.messages, chat_messages.text_of(body.system, "system"))
    user = (body.metadata or {}).get("user_id")
    chat = chat_messages.ChatRequest(body.model, text, history, str(user) if user else None)
    asked = await chat_messages.submit_chat(gateway, request, caller, chat)
    headers = (
        chat_messages.run_headers(asked)
        | chat_messages.ignored(said)
        | {"request-id": str(asked.run)}
    )
    if body.stream:
        await wait_until_begun(gateway, asked)
        return sse.EventStream(
            _events(gateway, caller, asked, body.model), gateway.settings.gateway_slow_s, headers
        )
    result = results.checked_result(await results.result_of(gateway, caller, asked))
    return JSONResponse(message(result, body.model), headers=headers)


def message(result: dict[str, Any], model: str) -> dict[str, Any]:
    content = [{"type": "text", "text": result["answer"] or result["detail"], "citations": None}]
    return _empty(UUID(result["id"]), model) | {
        "content": content,
        "stop_reason": _reason(result),
        "usage": usage(result),
    }


def usage(result: dict[str, Any]) -> dict[str, Any]:
    """Tokens as this protocol counts them: those read from a cache, or written to it, are not part
    of the input.
    """
    read, cached, kept, written, _ = (result.get(name, 0) for name in results.TOKENS)
    return {
        "input_tokens": max(read - cached - kept, 0),
        "output_tokens": written,
        "cache_creation_input_tokens": kept,
        "cache_read_input_tokens": cached,
    }


def _reason(result: dict[str, Any]) -> str:
    return "refusal" if result["status"] == "blocked" else "end_turn"


def _empty(run: UUID, model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{run.hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage({}),
    }


async def _events(
    gateway: Gateway, caller: Caller, asked: SubmittedRun, model: str
) -> AsyncGenerator[bytes, None]:
    def event(kind: str, **fields: Any) -> bytes:
        return sse.event(kind, {"type": kind} | fields)

    yield event("message_start", message=_empty(asked.run, model))
    yield event(
        "content_block_start",
        index=0,
        content_block={"type": "text", "text": "", "citations": None},
    )
    said = False
    try:
        async for part in answer_parts(gateway, caller, asked, model):
            if part is None:
                yield event("ping")
            elif isinstance(part, str):
                said = True
                yield event(
                    "content_block_delta", index=0, delta={"type": "text_delta", "text": part}
                )
            else:
                if not said:  # why it was withheld, as where it is not streamed
                    yield event(
                        "content_block_delta",
                        index=0,
                        delta={"type": "text_delta", "text": part["detail"]},
                    )
                yield event("content_block_stop", index=0)
                yield event(
                    "message_delta",
                    delta={"stop_reason": _reason(part), "stop_sequence": None},
                    usage=usage(part),
                )
                yield event("message_stop")
    except ProblemError as problem:
        kind = ERROR_TYPES.get(
            problem.status, "invalid_request_error" if problem.status < 500 else "api_error"
        )
        yield event("error", error={"type": kind, "message": problem.detail})
