"""Does a model's port end right whatever the other side does, and is what it asks the protocol's?"""

import asyncio
import hashlib
import json
import socket
import time
from dataclasses import replace

import pytest

from schemas.events.values import Message, Tokens, ToolRequest, ToolSpec
from schemas.ports import ChatAnswer, ChatQuestion, Endpoint, Failure, Ways
from sinks.http import http_client, retry_after, retry_after_s_of
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.models.protocols.openai import answer_of, message_body
from sinks.runtime import Runtime
from tests.support.model_faults import GOOD, faulty

LOOP = asyncio.Runner()
HTTP = http_client(10)
SECRETS = {"env:KEY": "sesame"}
CALL = ToolRequest(id="c1", name="look", arguments='{"order": "A-1"}')
QUESTION = ChatQuestion(
    (),
    (
        Message(role="system", content="Be kind."),
        Message(role="user", content="Where is it?"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="{}", tool_call_id="c1", name="look"),
    ),
    (ToolSpec(name="look", description="Looks.", parameters='{"type": "object"}'),),
    0.2,
    50,
    2_000,
    "q-1",
    "ann",
    {"tenant": "acme", "session": "s 1\n", "traceparent": "00-ab-cd-01"},
)


@pytest.fixture(scope="module")
def server():
    with faulty() as running:
        yield running
    LOOP.run(HTTP.aclose())


def ask(question, *urls, timeout_ms=2_000, each_ms=1_000, key=None, pauses=None):
    def endpoint(nth, url):
        return Endpoint(f"m{nth}", "stub", url, "stub-1", key, each_ms)

    async def sleep(seconds):
        (pauses if pauses is not None else []).append(seconds)

    port = ModelClient(http_sender(HTTP, SECRETS.__getitem__), runtime=Runtime(sleep=sleep))
    return LOOP.run(
        port(
            replace(
                question,
                endpoints=tuple(endpoint(n, u) for n, u in enumerate(urls)),
                timeout_ms=timeout_ms,
            )
        )
    )


@pytest.mark.parametrize(
    "fault, reason, attempts",
    [
        ("closed", "reset", 3),
        ("reset", "reset", 3),
        ("truncated", "truncated", 3),
        ("garbage", "bad_http", 3),
        ("not_json", "bad_json", 3),
        ("empty_body", "bad_json", 3),
        ("html", "bad_content_type", 1),
        ("list", "bad_answer", 1),
        ("no_choices", "bad_answer", 1),
        ("null_choices", "bad_answer", 1),
        ("number_text", "bad_answer", 1),
        ("no_text", "empty_answer", 3),
        ("blank", "empty_answer", 3),
        ("oversize", "too_large", 1),
        ("400", "http_400", 1),
        ("401", "http_401", 1),
        ("404", "http_404", 1),
        ("302", "http_302", 1),
        ("429", "http_429", 3),
        ("429_much_later", "http_429", 1),
        ("500", "http_500", 3),
        ("html_500", "http_500", 3),
        ("503", "http_503", 3),
        ("hang", "timeout", 1),
        ("slow", "timeout", 1),
    ],
)
def test_a_fault_becomes_a_failure_with_a_reason(server, fault, reason, attempts):
    began = time.monotonic()
    before = server.asked[fault]
    failure = ask(
        QUESTION,
        f"{server.url}/{fault}",
        each_ms=400 if reason == "timeout" else 5_000,
        timeout_ms=5_000,
    )
    assert isinstance(failure, Failure) and failure.detail
    assert (failure.reason, failure.attempts, failure.model) == (reason, attempts, "m0")
    assert server.asked[fault] - before == attempts and time.monotonic() - began < 5


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        failure = ask(QUESTION, f"http://127.0.0.1:{probe.getsockname()[1]}")
    assert (failure.reason, failure.attempts) == ("refused", 3)


@pytest.mark.parametrize(
    "url, reason",
    [("nonsense", "bad_url"), ("ftp://x/y", "bad_url"), ("http://127.0.0.1:99999", "bad_url")],
)
def test_no_url_to_ask(url, reason):
    assert ask(QUESTION, url).reason == reason


def test_a_question_without_endpoints_is_a_failure():
    assert ask(QUESTION).reason == "no_endpoint"


def test_retries_pause_longer_each_time_and_as_long_as_they_are_asked_to(server):
    pauses: list[float] = []
    answer = ask(QUESTION, f"{server.url}/then_good", pauses=pauses, timeout_ms=60_000)
    assert isinstance(answer, ChatAnswer) and answer.attempts == 3
    assert 0.1 <= pauses[0] <= 0.4 and 0.2 <= pauses[1] <= 0.8
    pauses.clear()
    ask(QUESTION, f"{server.url}/429_later", pauses=pauses, timeout_ms=60_000, each_ms=60_000)
    assert pauses == [2.0, 2.0]


@pytest.mark.parametrize("fault, attempts", [("500", 4), ("401", 2), ("hang", 2), ("html", 2)])
def test_the_fallback_answers(server, fault, attempts):
    answer = ask(
        QUESTION,
        f"{server.url}/{fault}",
        f"{server.url}/good",
        each_ms=500 if fault == "hang" else 5_000,
        timeout_ms=20_000,
    )
    assert (answer.endpoint, answer.attempts, answer.content) == ("m1", attempts, "hello")


def test_a_slow_one_gets_a_rival_over_real_connections_and_is_let_go(server):
    began = time.monotonic()
    hedged = replace(QUESTION, ways=Ways("r", hedge_ms=50, hedge_budget=1.0))
    answer = ask(
        hedged, f"{server.url}/hang", f"{server.url}/good", timeout_ms=20_000, each_ms=20_000
    )
    assert (answer.endpoint, answer.content) == ("m1", "hello") and time.monotonic() - began < 5
    assert [(t.reason, t.wasted, t.hedge) for t in answer.tried] == [
        ("cancelled", True, False),
        ("", False, True),
    ]


def test_its_time_bounds_everything(server):
    began = time.monotonic()
    failure = ask(QUESTION, *[f"{server.url}/hang"] * 5, timeout_ms=600, each_ms=60_000)
    assert failure.reason == "timeout" and time.monotonic() - began < 2


def test_what_is_sent_is_what_the_protocol_has(server):
    answer = ask(QUESTION, f"{server.url}/good", key="env:KEY")
    head, body = server.last
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    assert head.startswith("POST /good/chat/completions ")
    words = hashlib.sha256(body).hexdigest()[:16]
    assert headers["authorization"] == "bearer sesame"
    assert headers["idempotency-key"] == f"q-1-{words}"
    assert (headers["weir-tenant"], headers["weir-session"], headers["traceparent"]) == (
        "acme",
        "s 1%0a",
        "00-ab-cd-01",
    )
    assert json.loads(body) == {
        "model": "stub-1",
        "temperature": 0.2,
        "max_tokens": 50,
        "user": "ann",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Where is it?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"order": "A-1"}'},
                    }
                ],
            },
            {"role": "tool", "content": "{}", "tool_call_id": "c1", "name": "look"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object"},
                },
            }
        ],
    }
    assert (answer.response_model, answer.finish_reason) == ("stub-1", "stop")
    assert answer.tokens == Tokens(input_tokens=12, output_tokens=3)


def test_a_secret_that_is_not_set_is_named(server):
    failure = ask(QUESTION, f"{server.url}/good", key="env:OTHER")
    assert failure.reason == "no_secret" and "env:OTHER" in failure.detail


def test_kinds_of_tokens_are_kept_apart():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 30},
        "cache_creation_input_tokens": 5,
    }
    said = answer_of(GOOD | {"usage": usage})
    assert said["tokens"] == Tokens(
        input_tokens=100,
        output_tokens=40,
        cached_input_tokens=60,
        reasoning_tokens=30,
        cache_write_tokens=5,
    )


@pytest.mark.parametrize("odd", ["negative_tokens", "word_tokens"])
def test_counts_that_cannot_be_leave_the_answer_and_its_usage_unknown(server, odd):
    said = ask(QUESTION, f"{server.url}/{odd}")
    assert isinstance(said, ChatAnswer) and said.content == "hello"
    assert (said.usage_known, said.tokens) == (False, Tokens())


def test_an_answer_cut_off_before_its_first_word_is_an_answer():
    choice = {"finish_reason": "length", "message": {"role": "assistant", "content": ""}}
    assert answer_of(GOOD | {"choices": [choice]})["finish_reason"] == "length"


def test_text_that_is_no_unicode_can_be_sent():
    message = Message(role="user", content="\ud83d half")
    assert json.dumps(message_body(message, Endpoint("m", "openai", "http://m", "u"))).encode()


@pytest.mark.parametrize(
    "value, seconds",
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("7", 7.0),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "1"}, 1.0),
        ({}, None),
    ],
)
def test_milliseconds_are_more_exact(headers, seconds):
    assert retry_after_s_of(headers) == seconds
