"""What belongs to a provider goes back to it as it came, and to nobody else."""

import json
from typing import Any

import pytest

from processors.guardrails.screen import screen_response
from schemas.catalogue import event_classes
from schemas.events.agent.models import ModelResponded, ResponseCleared
from schemas.events.values import Message, ToolRequest
from schemas.ports import ChatAnswer
from schemas.wire.codec import Codec, LocalIds
from tests.support.model_answers import Provider, as_stream, ask
from tests.support.processors import company, responded

EXTRA = {"google": {"thought_signature": "RXhhbXBsZVNpZ25hdHVyZQ==", "n": 1.5, "none": None}}
CALL = {"id": "fc-1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
THOUGHT = {"type": "thinking", "thinking": "hm 😀 4111 1111 1111 1111", "signature": "c2ln+/="}
HIDDEN = {"type": "redacted_thinking", "data": "b3BhcXVl"}
DETAILS = [{"type": "reasoning.encrypted", "data": "x==", "index": 0, "format": "f-1"}]
USE = {"type": "tool_use", "id": "fc-1", "name": "look", "input": {}}
ASKED = Message(role="user", content="Where is it?")


def whole(**message: Any) -> bytes:
    said = {"role": "assistant", "content": None, **message}
    return json.dumps({"choices": [{"finish_reason": "tool_calls", "message": said}]}).encode()


def streamed(*deltas: dict[str, Any]) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return as_stream([*chunks, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}])


def message(*content: dict[str, Any]) -> bytes:
    return json.dumps({"content": [*content], "stop_reason": "tool_use"}).encode()


def blocks(*events: dict[str, Any]) -> bytes:
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    return as_stream([{"type": "message_start", "message": {}}, *events, end])


def begun(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


THOUGHT_IN_PARTS = (
    begun(0, {"type": "thinking", "thinking": "", "signature": ""}),
    more(0, type="thinking_delta", thinking="hm 😀 4111 "),
    more(0, type="thinking_delta", thinking="1111 1111 1111"),
    more(0, type="signature_delta", signature="c2ln+/="),
)
SIGNED = [CALL | {"extra_content": EXTRA}]
CASES = {
    "signature_of_a_call": ("openai", False, whole(tool_calls=SIGNED), "tool_calls", SIGNED),
    "signature_in_a_stream": (
        "openai",
        True,
        streamed({"tool_calls": [{"index": 0, **SIGNED[0]}]}),
        "tool_calls",
        SIGNED,
    ),
    "reasoning": (
        "openai",
        False,
        whole(tool_calls=[CALL], reasoning_content="hm"),
        "reasoning_content",
        "hm",
    ),
    "reasoning_in_a_stream": (
        "openai",
        True,
        streamed({"reasoning_content": "h"}, {"reasoning_content": "m"}, {"tool_calls": [CALL]}),
        "reasoning_content",
        "hm",
    ),
    "details": (
        "openai",
        False,
        whole(tool_calls=[CALL], reasoning_details=DETAILS),
        "reasoning_details",
        DETAILS,
    ),
    "details_in_a_stream": (
        "openai",
        True,
        streamed(
            {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "h"}]},
            {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "m"}]},
            {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "s"}]},
            {"tool_calls": [CALL]},
        ),
        "reasoning_details",
        [{"type": "reasoning.text", "index": 0, "text": "hm", "signature": "s"}],
    ),
    "thoughts": (
        "anthropic",
        False,
        message(THOUGHT, HIDDEN, USE),
        "content",
        [THOUGHT, HIDDEN, USE],
    ),
    "thoughts_in_a_stream": (
        "anthropic",
        True,
        blocks(*THOUGHT_IN_PARTS, begun(1, HIDDEN), begun(2, USE)),
        "content",
        [THOUGHT, HIDDEN, USE],
    ),
}


def over_the_wire(calls: tuple[ToolRequest, ...]) -> tuple[ToolRequest, ...]:
    """The calls as the next step of the agent has them: screened, and read back from Kafka."""
    codec = Codec(LocalIds(event_classes()))
    said = responded(calls=calls)
    said = codec.decode(ModelResponded, codec.encode(said))
    cleared = screen_response(said, company())[-1]
    assert isinstance(cleared, ResponseCleared)
    return codec.decode(ResponseCleared, codec.encode(cleared)).tool_calls


@pytest.mark.parametrize("name", CASES)
def test_it_goes_back_to_who_made_it(name: str) -> None:
    protocol, stream, body, field, right = CASES[name]
    kind = "text/event-stream" if stream else "application/json"
    first = ask(Provider([body], kind), protocol, stream)
    assert isinstance(first, ChatAnswer)
    history = (
        ASKED,
        Message(role="assistant", tool_calls=over_the_wire(first.tool_calls)),
        Message(role="tool", tool_call_id="fc-1", name="look", content="at sea"),
    )
    again = Provider([b"{}"], "application/json")
    ask(again, protocol, False, history)
    to_its_maker = again.bodies[0]["messages"][1]
    to_another = again.bodies[-1]["messages"][1]
    assert to_its_maker[field] == right
    assert again.asked["well"] == 1
    assert to_another["tool_calls"] == [CALL]
    assert to_another.keys() == {"role", "content", "tool_calls"}
