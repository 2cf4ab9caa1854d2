"""Does a question become what Anthropic's own client would send, and is its answer read as that
client would read it?
"""

import json
from dataclasses import replace

import pytest
from anthropic.types import Message as Theirs
from anthropic.types import MessageCreateParams
from pydantic import TypeAdapter

from schemas.events.values import Message, Tokens, ToolRequest, ToolSpec
from schemas.ports import ChatQuestion, Endpoint
from sinks.http import CallError
from sinks.models.protocols.anthropic import MessageStream, answer_of, request_body, tool_id
from sinks.models.sse import accumulate

LOOK, FIND = (
    ToolRequest(id=f"c{n}", name=name, arguments=arguments)
    for n, name, arguments in ((1, "look", '{"order": "A-1"}'), (2, "find", "no json"))
)
QUESTION = ChatQuestion(
    (),
    (
        Message(role="system", content="Be kind."),
        Message(role="system", content="Be brief."),
        Message(role="user", content="Where is it?"),
        Message(role="assistant", content=" ", tool_calls=(LOOK, FIND)),
        Message(role="tool", content='{"at": "sea"}', tool_call_id="c1", name="look"),
        Message(role="tool", content="", tool_call_id="c2", name="find"),
        Message(role="user", content="Well?"),
    ),
    (
        ToolSpec(name="look", parameters='{"type": "object"}'),
        ToolSpec(name="find", parameters='{"type": "object"}'),
    ),
    1.4,
    None,
    2_000,
    "q-1",
    "ann",
)
ENDPOINT = Endpoint("m", "anthropic", "http://m/v1", "claude-x", "env:KEY")


def test_what_is_asked_is_what_their_client_asks():
    body = request_body(ENDPOINT, QUESTION)
    TypeAdapter(MessageCreateParams).validate_python(body)
    cached = {"cache_control": {"type": "ephemeral"}}
    assert body["system"] == [
        {"type": "text", "text": "Be kind."},
        {"type": "text", "text": "Be brief.", **cached},
    ]
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, cached["cache_control"]]
    assert (body["max_tokens"], body["temperature"], body["metadata"]) == (
        8_192,
        1.0,
        {"user_id": "ann"},
    )
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Where is it?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"order": "A-1"}},
                {"type": "tool_use", "id": "c2", "name": "find", "input": {"arguments": "no json"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": '{"at": "sea"}'},
                {"type": "tool_result", "tool_use_id": "c2", "content": ""},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


def test_the_prefix_stays_as_it_is_from_step_to_step():
    later = replace(
        QUESTION, messages=(*QUESTION.messages, Message(role="assistant", content="At sea."))
    )
    first = request_body(ENDPOINT, QUESTION)
    second = request_body(ENDPOINT, later)
    assert (first["system"], first["tools"]) == (second["system"], second["tools"])
    assert second["messages"][: len(first["messages"])] == first["messages"]


def test_a_schema_is_held_to_where_it_can_be():
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    asked = replace(QUESTION, output_schema=json.dumps(closed))
    strict = replace(ENDPOINT, json_schema=True, stream=True)
    body = request_body(strict, asked)
    TypeAdapter(MessageCreateParams).validate_python(body)
    assert (
        body["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
        and body["stream"] is True
    )
    assert "output_config" not in request_body(ENDPOINT, asked)
    assert "output_config" not in request_body(
        strict, replace(QUESTION, output_schema='{"type": "object", "properties": {"a": {}}}')
    )


def test_a_schema_that_contains_itself_is_not_sent():
    part = {
        "type": "object",
        "properties": {"parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}}},
        "required": ["parts"],
        "additionalProperties": False,
    }
    tree = {**part, "$defs": {"Part": part}}
    asked = replace(QUESTION, output_schema=json.dumps(tree))
    assert "output_config" not in request_body(replace(ENDPOINT, json_schema=True), asked)


@pytest.mark.parametrize("known", ["functions.look:0", "", "ü", "x" * 65, "\ud83d"])
def test_a_call_of_another_provider_keeps_a_name(known):
    assert tool_id(known) == tool_id(known) != tool_id(known + "y") and len(tool_id(known)) <= 64
    assert tool_id("toolu_01A-b") == "toolu_01A-b"


SAID = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x-1",
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"order": "Ä-1"}},
    ],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "service_tier": "priority",
    },
}
TOKENS = Tokens(
    input_tokens=360,
    cached_input_tokens=50,
    cache_write_tokens=300,
    cache_write_1h_tokens=200,
    output_tokens=7,
)


def test_an_answer_is_read_whole():
    Theirs.model_validate(SAID)
    assert answer_of(SAID) == {
        "response_model": "claude-x-1",
        "content": "I look.",
        "finish_reason": "tool_calls",
        "service_tier": "priority",
        "tool_calls": (
            ToolRequest(
                id="toolu_1",
                name="look",
                arguments='{"order": "Ä-1"}',
                opaque=json.dumps({"message": {"thoughts": SAID["content"][:1]}}),
            ),
        ),
        "tokens": TOKENS,
        "usage_known": True,
    }


@pytest.mark.parametrize(
    ("stopped", "finish_reason"),
    [
        ("end_turn", "tool_calls"),
        ("stop_sequence", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "length"),
    ],
)
def test_why_it_stopped(stopped, finish_reason):
    assert answer_of(SAID | {"stop_reason": stopped})["finish_reason"] == finish_reason


def test_only_the_ages_of_what_was_written_to_the_cache_are_enough():
    usage = {
        name: count
        for name, count in SAID["usage"].items()
        if name != "cache_creation_input_tokens"
    }
    assert answer_of(SAID | {"usage": usage})["tokens"] == TOKENS


@pytest.mark.parametrize(
    ("said", "reason", "again"),
    [
        ({}, "bad_answer", False),
        ([], "bad_answer", False),
        (SAID | {"content": None}, "bad_answer", False),
        (SAID | {"content": [{"type": "text", "text": 7}]}, "bad_answer", False),
        (SAID | {"content": [{"type": "tool_use", "id": "1"}]}, "bad_answer", False),
        (SAID | {"stop_reason": [1]}, "bad_answer", False),
        (SAID | {"stop_reason": "new"}, "unknown_finish_reason", False),
        (SAID | {"content": [], "stop_reason": "end_turn"}, "empty_answer", True),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "overloaded_error",
            True,
        ),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}},
            "invalid_request_error",
            False,
        ),
    ],
)
def test_what_is_no_answer(said, reason, again):
    with pytest.raises(CallError) as refused:
        answer_of(said)
    assert (refused.value.reason, refused.value.retryable) == (reason, again)


def streamed(*events):
    stream = MessageStream()
    return [accumulate(stream, event["type"], json.dumps(event)) for event in events], stream


def test_a_stream_adds_up_to_the_same_answer():
    def block(index, begins, *deltas):
        return [
            {"type": "content_block_start", "index": index, "content_block": begins},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    texts, stream = streamed(
        {
            "type": "message_start",
            "message": SAID
            | {"content": [], "stop_reason": None, "usage": SAID["usage"] | {"output_tokens": 1}},
        },
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "s"},
        ),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "I "},
            {"type": "text_delta", "text": "look."},
        ),
        *block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"order":'},
            {"type": "input_json_delta", "partial_json": ' "Ä-1"}'},
        ),
        *block(3, {"type": "tool_use", "id": "toolu_2", "name": "list", "input": {}}),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
    )
    said = answer_of(stream.body())
    assert (
        stream.over and [text for text in texts if text] == ["I ", "look."] and texts.count("") == 4
    )
    none = ToolRequest(id="toolu_2", name="list", arguments="{}")
    assert said == answer_of(SAID) | {"tool_calls": (*answer_of(SAID)["tool_calls"], none)}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "content_block_delta", "index": 4, "delta": {"type": "input_json_delta"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 7}},
        {"type": "message_start"},
    ],
)
def test_an_event_that_makes_no_sense(event):
    with pytest.raises(CallError) as refused:
        accumulate(MessageStream(), "", json.dumps(event))
    assert refused.value.reason == "bad_chunk" and refused.value.retryable
