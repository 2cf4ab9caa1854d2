"""OpenAI's chat completions protocol; `model` is the agent's name.

The last user message is the request, earlier ones are the history (`chat_messages`);
`metadata.session` continues a conversation that is stored here. A run that a policy blocks ends
with the reason `content_filter`. Parameters that the agent's definition decides, such as
temperature, are named in the header `weir-ignored`.
"""

import time
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from schemas.money import money_text
from streams.gateway import sse
from streams.gateway.auth import Caller, Requester
from streams.gateway.context import Gateway, GatewayOf
from streams.gateway.errors import ProblemError, problem_response
from streams.gateway.openapi import IDEMPOTENT, responses_of
from streams.gateway.routes import chat_messages
from streams.gateway.runs import results
from streams.gateway.runs.results import SubmittedRun
from streams.gateway.runs.stream_answer import answer_parts, wait_until_begun

router = APIRouter(tags=["OpenAI"])
DONE = b"data: [DONE]\n\n"
USED = {
    "prompt_tokens": 312,
    "completion_tokens": 77,
    "total_tokens": 389,
    "prompt_tokens_details": {"cached_tokens": 256},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
EXAMPLE = {
    "id": "chatcmpl-0b9f6bd05f4e4d0c8a8e0e3f4f5f2d11",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "support",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": "Your order A-1001 is on its way.",
                "refusal": None,
            },
        }
    ],
    "usage": USED,
    "weir": {"session": "chat-77", "agent_version": 3, "wait_ms": 812, "cost_usd": "0.000248"},
}
STREAM = 'data: {"id":"chatcmpl-…","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Your"}}]}\n\n'


class ChatCompletionRequest(BaseModel):
    """A chat completion. Other fields of a client are allowed; the agent's definition decides
    them.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "support",
                    "messages": [{"role": "user", "content": "Where is order A-1001?"}],
                    "stream": True,
                }
            ]
        },
    )

    model: str = Field(min_length=1, max_length=200, description="name of an agent")
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    n: int | None = None


@router.post(
    "/v1/chat/completions",
    response_model=None,
    responses=responses_of(EXAMPLE, STREAM),
    openapi_extra=IDEMPOTENT,
)
async def complete(
    body: ChatCompletionRequest, request: Request, gateway: GatewayOf, caller: Requester
) -> Response:
    """Runs an agent and answers when its run has ended, or, with `stream`, as the answer is
    written.
    """
    said = body.model_dump()
    chat_messages.check(said)
    text, history = chat_messages.split(body.messages)
    metadata = dict(body.metadata or {})
    chat = chat_messages.ChatRequest(body.model, text, history, body.user, metadata)
    asked = await chat_messages.submit_chat(gateway, request, caller, chat)
    headers = chat_messages.run_headers(asked) | chat_messages.ignored(said)
    if body.stream:
        await wait_until_begun(gateway, asked)
        wants_usage = bool((body.stream_options or {}).get("include_usage"))
        return sse.EventStream(
            _chunks(gateway, caller, asked, body.model, wants_usage),
            gateway.settings.gateway_slow_s,
            headers,
        )
    result = results.checked_result(await results.result_of(gateway, caller, asked))
    return JSONResponse(completion(result, body.model), headers=headers)


def completion(result: dict[str, Any], model: str) -> dict[str, Any]:
    blocked = result["status"] == "blocked"
    message = {
        "role": "assistant",
        "content": result["answer"],
        "refusal": result["detail"] if blocked else None,
    }
    return _head(UUID(result["id"]), model, "chat.completion") | {
        "choices": [
            {"index": 0, "message": message, "finish_reason": _finish(result), "logprobs": None}
        ],
        "usage": usage(result),
        "weir": {name: result[name] for name in ("session", "agent_version", "wait_ms")}
        | {"cost_usd": None if result["cost_usd"] is None else money_text(result["cost_usd"])},
    }


def usage(result: dict[str, Any]) -> dict[str, Any]:
    read = result["input_tokens"]
    written = result["output_tokens"]
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": result["cached_input_tokens"]},
        "completion_tokens_details": {"reasoning_tokens": result["reasoning_tokens"]},
    }


def _head(run: UUID, model: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{run.hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _finish(result: dict[str, Any]) -> str:
    return "content_filter" if result["status"] == "blocked" else "stop"


async def _chunks(
    gateway: Gateway, caller: Caller, asked: SubmittedRun, model: str, wants_usage: bool
) -> AsyncGenerator[bytes, None]:
    head = _head(asked.run, model, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return sse.event(
            "", head | {"choices": [choice]} | ({"usage": None} if wants_usage else {})
        )

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for part in answer_parts(gateway, caller, asked, model):
            if part is None:
                yield sse.KEEP_ALIVE
            elif isinstance(part, str):
                yield chunk({"content": part})
            else:
                if part["status"] == "blocked":
                    yield chunk({"refusal": part["detail"]})
                yield chunk({}, _finish(part))
                if wants_usage:
                    yield sse.event("", head | {"choices": [], "usage": usage(part)})
                yield DONE
    except ProblemError as problem:
        yield b"data: " + bytes(problem_response(problem, "/v1/chat/completions").body) + b"\n\n"
