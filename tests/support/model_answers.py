"""A model provider whose answers a test gives as they are, and a healthy one behind it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx

from schemas.events.values import Message
from schemas.ports import RUN_OVER, ChatAnswer, ChatQuestion, Endpoint, Failure
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.runtime import Runtime

GOOD = {
    "model": "well-1",
    "choices": [{"message": {"content": "from the other"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


def as_stream(events: Iterable[Any]) -> bytes:
    """Events as bytes: objects with a type have its name, a text is its data."""
    lines = []
    for event in events:
        if isinstance(event, dict) and "type" in event:
            lines.append(f"event: {event['type']}\n")
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        lines.append(f"data: {data}\n\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


class Parts(httpx.AsyncByteStream):
    """A body in parts, behind which the connection ends, is reset, or stays open."""

    def __init__(self, parts: Iterable[bytes], then: str = "end"):
        self._parts = parts
        self._then = then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        if self._then == "reset":
            raise httpx.ReadError("reset by the other side")
        if self._then == "open":
            await asyncio.sleep(60)


class Provider:
    """Answers each request to `ill` the same way; `asked` counts requests by endpoint."""

    def __init__(self, body: Iterable[bytes], content_type: str, then: str = "end"):
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self._body = [*body]
        self._content_type = content_type
        self._then = then

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        self.asked[name] += 1
        self.bodies.append(json.loads(request.content))
        if name == "well":
            return httpx.Response(200, json=GOOD)
        headers = {"content-type": self._content_type}
        return httpx.Response(200, headers=headers, stream=Parts(self._body, self._then))


def ask(
    provider: Provider,
    protocol: str,
    stream: bool,
    messages: tuple[Message, ...] = (Message(role="user", content="Where is it?"),),
    heard: list[str] | None = None,
    give_up_s: float | None = None,
) -> ChatAnswer | Failure:
    """What the client of models makes of the provider's answer, with a fallback behind it. The run
    is over after `give_up_s`.
    """

    async def no_pause(_seconds: float) -> None:
        pass

    def listener_of(_question: ChatQuestion, _attempt: int) -> Any:
        return lambda text, _last: (heard if heard is not None else []).append(text)

    ill = Endpoint("ill", protocol, "http://ill/v1", "u", None, 5_000, stream, 5_000, 300)
    well = Endpoint("well", "openai", "http://well/v1", "u")
    question = ChatQuestion((ill, well), messages, (), None, None, 20_000, "question-1")

    async def run() -> ChatAnswer | Failure:
        async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as http:
            client = ModelClient(http_sender(http, str), Runtime(sleep=no_pause), listener_of)
            asking = asyncio.ensure_future(client(question))
            if give_up_s is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(give_up_s, asking.cancel, RUN_OVER)
            return await asking

    return asyncio.run(run())
