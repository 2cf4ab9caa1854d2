"""Valid responses of both model protocols, whole and streamed, for the faulty server."""

import json
from collections.abc import Sequence
from typing import Any

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
MODEL = "stub-1"


def wire(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def head(status: int, kind: str, **headers: str) -> bytes:
    """The head of a response that ends with its connection."""
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-type: {kind}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def reply(status: int, body: bytes, kind: str = JSON, **headers: str) -> bytes:
    return head(status, kind, **headers, **{"content-length": str(len(body))}) + body


def message(claude: bool, text: str) -> dict[str, Any]:
    """A whole response, in Anthropic's protocol or in OpenAI's."""
    if claude:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}] if text else [],
            "usage": {"input_tokens": 12, "output_tokens": 3},
        }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
    }


def events(claude: bool, words: Sequence[str]) -> list[bytes]:
    """The same as server-sent events, one a word, with all that stands before and after them."""
    return _claude_events(words) if claude else _openai_events(words)


def _openai_events(words: Sequence[str]) -> list[bytes]:
    def chunk(
        delta: dict[str, Any] | None, finish_reason: str | None = None, **more: Any
    ) -> dict[str, Any]:
        choices = (
            [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        )
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "model": MODEL,
            "choices": choices,
            **more,
        }

    made = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": word}) for word in words),
        chunk({}, "stop"),
        chunk(None, usage={"prompt_tokens": 12, "completion_tokens": 3}),
    ]
    return [b"data: " + data + b"\n\n" for data in (*map(wire, made), b"[DONE]")]


def _claude_events(words: Sequence[str]) -> list[bytes]:
    begun = message(True, "") | {
        "stop_reason": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    }
    made: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    if words:
        made += [
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": word},
                }
                for word in words
            ),
            {"type": "content_block_stop", "index": 0},
        ]
    made += [
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {one['type']}\ndata: ".encode() + wire(one) + b"\n\n" for one in made]
