"""Are the parts of a stream told apart however its bytes are cut, and is each kind of error what it
is?
"""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.http import BODY_BYTES_MAX, CallError
from sinks.models.protocols import anthropic, openai
from sinks.models.provider_errors import provider_error
from sinks.models.sse import accumulate, events

WHOLE = (
    '\ufeff: hello\r\n\r\nevent: a\r\ndata: 1\r\ndata:2\r\nid: 7\r\n\r\n: ping\n\ndata: {"x": "ü€😀"}\n\n'
    "event: nothing\r\rdata\n\ndata: end\n"
).encode()


def read(*parts: bytes, bytes_max: int = BODY_BYTES_MAX) -> list[tuple[str, str]]:
    async def come():
        for part in parts:
            yield part

    async def all_of():
        return [event async for event in events(come(), bytes_max)]

    return asyncio.run(all_of())


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12).map(sorted))
def test_a_stream_is_the_same_however_it_is_cut(places):
    parts = [WHOLE[a:b] for a, b in zip([0, *places], [*places, len(WHOLE)], strict=True)]
    assert read(*parts) == [("a", "1\n2"), ("", '{"x": "ü€😀"}'), ("", ""), ("", "end")]


def test_what_is_cut_off_in_a_line_is_not_told():
    assert read(b"data: 1\n\ndata: 2") == [("", "1")]


def test_bytes_that_are_no_text_and_an_event_without_end():
    with pytest.raises(CallError, match="UTF-8"):
        read(b"data: \xff\xfe\n\n")
    for part in (b"x" * 60, b"data: yyyy\n" * 4):
        with pytest.raises(CallError) as refused:
            read(*[part] * 10, bytes_max=100)
        assert refused.value.reason == "too_large"


def chunks(*deltas, **more):
    stream = openai.PROTOCOL.stream()
    texts = [
        accumulate(stream, "", json.dumps({"model": "m-1", "choices": [{"delta": delta}], **more}))
        for delta in deltas
    ]
    return texts, openai.answer_of(stream.body())


def call(index=None, id=None, name=None, arguments=None):
    parts = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{name: part for name, part in parts.items() if part is not None}]}


def test_calls_come_in_parts():
    texts, said = chunks(
        {"role": "assistant", "content": None},
        {"reasoning_content": "hm"},
        {"content": "I look"},
        call(0, "c1", "look", ""),
        call(0, None, None, '{"a"'),
        call(1, "c2", "find", "{}"),
        call(0, None, None, ": 1}"),
        usage={"prompt_tokens": 5, "completion_tokens": 2},
        service_tier="flex",
    )
    assert texts == [None, "", "I look", "", "", "", ""]
    assert [(one.id, one.name, one.arguments) for one in said["tool_calls"]] == [
        ("c1", "look", '{"a": 1}'),
        ("c2", "find", "{}"),
    ]
    assert (said["content"], said["finish_reason"], said["service_tier"]) == (
        "I look",
        "tool_calls",
        "flex",
    )
    assert (said["tokens"].input_tokens, said["tokens"].output_tokens) == (5, 2)


def test_calls_without_an_index_are_whole_or_go_on():
    _, said = chunks(
        call(None, "c1", "look", "{}"),
        call(None, "c2", "find", '{"a"'),
        call(None, None, None, ": 1}"),
    )
    assert [(one.id, one.arguments) for one in said["tool_calls"]] == [
        ("c1", "{}"),
        ("c2", '{"a": 1}'),
    ]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "7",
        "[]",
        "{oops",
        '{"choices": 7}',
        '{"choices": [7]}',
        "[" * 100_000,
        '{"choices": [{"delta": {"content": 7}}]}',
        '{"choices": [{"delta": {"tool_calls": [7]}}]}',
    ],
)
def test_a_chunk_that_makes_no_sense(data):
    with pytest.raises(CallError) as refused:
        accumulate(openai.PROTOCOL.stream(), "", data)
    assert refused.value.reason == "bad_chunk" and refused.value.retryable


LEAF = (
    st.none()
    | st.integers(-3, 9)
    | st.sampled_from(["", "a", "stop", "0", "{}", 10**20, True, 0.5])
)
ANY = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["content", "id", "function", "index", "name", "arguments", "text", "usage"]
            ),
            inner,
            max_size=3,
        )
    ),
)


def shaped(**fields):
    return st.fixed_dictionaries({}, optional=fields)


CHUNK = shaped(
    model=LEAF,
    usage=ANY,
    error=LEAF,
    choices=st.lists(
        shaped(
            finish_reason=LEAF,
            delta=shaped(
                content=LEAF,
                tool_calls=st.lists(
                    shaped(index=LEAF, id=LEAF, function=shaped(name=LEAF, arguments=LEAF)) | ANY
                ),
            ),
        )
    ),
)
BLOCK = shaped(
    type=st.sampled_from(["text", "tool_use", None]), text=LEAF, id=LEAF, name=LEAF, input=ANY
)
EVENT = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "message_delta",
                "message_stop",
                "error",
            ]
        )
    },
    optional={
        "index": LEAF,
        "content_block": BLOCK | ANY,
        "message": shaped(model=LEAF, usage=ANY) | ANY,
        "usage": ANY,
        "delta": shaped(
            type=st.sampled_from(["text_delta", "input_json_delta"]),
            text=LEAF,
            partial_json=LEAF,
            stop_reason=LEAF,
        ),
    },
)


@pytest.mark.parametrize(("protocol", "came"), [(openai, CHUNK), (anthropic, EVENT)])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_comes_is_an_answer_or_a_refusal(protocol, came, data):
    stream = protocol.PROTOCOL.stream()
    try:
        for value in data.draw(st.lists(came | ANY, max_size=5)):
            accumulate(stream, "", json.dumps(value))
        assert protocol.answer_of(stream.body())["finish_reason"]
    except CallError as refused:
        assert refused.reason and refused.detail


def test_blocks_without_a_number():
    stream = anthropic.PROTOCOL.stream()
    begun = {"type": "content_block_start", "index": None, "content_block": {"type": "text"}}
    more = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}
    accumulate(stream, "", json.dumps(begun))
    assert accumulate(stream, "", json.dumps(more)) == "Hi"
    assert anthropic.answer_of(stream.body())["content"] == "Hi"


@pytest.mark.parametrize(
    ("error", "reason", "again"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "overloaded_error", True),
        ({"type": "server_error", "code": None}, "server_error", True),
        (
            {"type": "invalid_request_error", "code": "context_length_exceeded"},
            "invalid_request_error",
            False,
        ),
        ({"type": "requests", "code": "rate_limit_exceeded"}, "rate_limit_exceeded", True),
        ({"code": 502, "message": "upstream"}, "http_502", True),
        ({"code": "402"}, "http_402", False),
        ({"code": 429}, "http_429", True),
        ({"type": ["odd"]}, "provider_error", True),
        ("boom", "provider_error", True),
        (7, "provider_error", True),
    ],
)
def test_an_error_inside_an_answer(error, reason, again):
    told = provider_error(error)
    assert (told.reason, told.retryable) == (reason, again) and told.detail
    with pytest.raises(CallError) as refused:
        openai.answer_of({"error": error})
    assert refused.value.reason == reason
