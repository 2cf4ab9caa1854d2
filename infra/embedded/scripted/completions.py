"""Builds responses of the chat completions protocol without a model.

The scripted and the recorded model share it. Both name themselves in every response.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

OBJECT = "chat.completion"


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises ValueError."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ValueError("the body should be a JSON object")
    return body


def completion(
    asked: dict[str, Any],
    kind: str,
    content: str | None,
    calls: list[dict[str, str]],
    usage: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The response's body. `calls` have id, name and arguments (JSON text).

    Without `usage` tokens are estimated.
    """
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls
        ]
    read, written = usage or (
        tokens_in(json.dumps(asked.get("messages", []))),
        tokens_in(json.dumps(message)),
    )
    return {
        "id": "chatcmpl-" + fingerprint(asked),
        "object": OBJECT,
        "created": 0,
        "model": f"{kind}-1",
        "system_fingerprint": kind,
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        ],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def chunks(response: dict[str, Any]) -> Iterator[bytes]:
    """The same response as server-sent events: a word each, its usage last."""
    [choice] = response["choices"]
    message = choice["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [
        {"content": word} for word in re.findall(r"\s*\S+\s*$|\s*\S+", message["content"] or "")
    ]
    deltas += [
        {"tool_calls": [call | {"index": nth}]}
        for nth, call in enumerate(message.get("tool_calls", ()))
    ]
    base = {key: response[key] for key in ("id", "created", "model", "system_fingerprint")} | {
        "object": OBJECT + ".chunk"
    }
    for delta in deltas:
        yield sse(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield sse(
        base | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    )
    yield sse(base | {"choices": [], "usage": response["usage"]})
    yield b"data: [DONE]\n\n"


def sse(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def tokens_in(text: str) -> int:
    """An estimate: a token is about four characters."""
    return max(1, (len(text) + 3) // 4)


def fingerprint(asked: dict[str, Any]) -> str:
    """Equal for equal conversations, different for different ones."""
    return hashlib.sha256(
        json.dumps(asked.get("messages", []), sort_keys=True).encode()
    ).hexdigest()[:16]


def models(kind: str) -> JSONResponse:
    return JSONResponse(
        {"object": "list", "data": [{"id": f"{kind}-1", "object": "model", "owned_by": kind}]}
    )


def error_response(status: int, message: str, **more: Any) -> JSONResponse:
    """An error in the protocol's shape."""
    return JSONResponse(
        {"error": {"message": message, "type": "invalid_request_error", **more}}, status
    )
