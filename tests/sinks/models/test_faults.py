"""How does each fault of a provider end, plain and streamed, over both protocols, with a healthy
endpoint behind it?
"""

import asyncio
import time

import httpx
import pytest

from infra.embedded.scripted.faults import FAULTS, faulty
from schemas.events.values import Message
from schemas.ports import ChatAnswer, ChatQuestion, Endpoint, Failure
from sinks.http import http_client
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.runtime import Runtime

LOOP = asyncio.Runner()
HTTP = http_client(10)
LIMIT_MS = 80

# What became of it: requests at the failing endpoint, and the reason where no other endpoint may
# answer any more.
NEXT_AT_ONCE = (1, "")
NEXT_AFTER_THREE = (3, "")
ENDS = {
    #  fault               plain             streamed
    "refused": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "reset": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "hang": (NEXT_AT_ONCE, NEXT_AT_ONCE),
    "slow_first_token": (NEXT_AT_ONCE, NEXT_AT_ONCE),
    "slow_stream": (NEXT_AT_ONCE, (3, "stream_idle")),
    "truncated": (NEXT_AFTER_THREE, (3, "truncated")),
    "truncated_first": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "malformed": (NEXT_AFTER_THREE, (3, "bad_chunk")),
    "malformed_first": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "overloaded": (NEXT_AFTER_THREE, (3, "overloaded_error")),
    "overloaded_first": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "429": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "429_retry_after": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "500": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "502": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "503": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "529": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "401": (NEXT_AT_ONCE, NEXT_AT_ONCE),
    "400": (NEXT_AT_ONCE, NEXT_AT_ONCE),
    "wrong_content_type": (NEXT_AT_ONCE, NEXT_AT_ONCE),
    "empty": (NEXT_AFTER_THREE, NEXT_AFTER_THREE),
    "oversize": (NEXT_AT_ONCE, (1, "too_large")),
}


@pytest.fixture(scope="module")
def server():
    with faulty(slow_s=LIMIT_MS * 2.5 / 1000) as running:
        yield running
    LOOP.run(HTTP.aclose())


def ask(*endpoints: Endpoint, heard=None, pauses=None):
    async def sleep(seconds):
        (pauses if pauses is not None else []).append(seconds)

    def hearing(_question, attempt):
        return lambda text, last: (heard if heard is not None else []).append((attempt, text, last))

    question = ChatQuestion(
        endpoints, (Message(role="user", content="Where is it?"),), (), None, None, 20_000, "q-1"
    )
    return LOOP.run(
        ModelClient(http_sender(HTTP, str), runtime=Runtime(sleep=sleep), listener_of=hearing)(
            question
        )
    )


def endpoint(name: str, url: str, provider: str, stream: bool, fault: str = "") -> Endpoint:
    """Short of patience only for what the fault tries, so that a busy machine is no fault."""
    slow = fault == "hang" or fault.startswith("slow")
    return Endpoint(
        name,
        provider,
        url,
        "stub-1",
        None,
        LIMIT_MS if slow and not stream else 5_000,
        stream,
        LIMIT_MS if fault in ("hang", "slow_first_token") else 5_000,
        LIMIT_MS if fault == "slow_stream" else 5_000,
    )


def test_the_table_is_whole():
    assert {*ENDS} == {*FAULTS, "refused"}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", ENDS)
def test_a_fault_has_its_end(server, fault, stream, provider):
    wanted, reason = ENDS[fault][stream]
    began = time.monotonic()
    before = server.asked.copy()
    heard = []
    pauses = []
    said = ask(
        endpoint("ill", server.at(fault), provider, stream, fault),
        endpoint("well", server.at("good"), provider, stream),
        heard=heard,
        pauses=pauses,
    )

    sent = server.asked - before
    assert said.attempts == wanted + (not reason) and sent["good"] == (not reason)
    assert fault == "refused" or sent[fault] == wanted
    assert len(pauses) == wanted - 1 and (fault != "429_retry_after" or pauses == [1.0, 1.0])
    if reason:
        assert (
            isinstance(said, Failure)
            and (said.reason, said.model) == (reason, "ill")
            and said.detail
        )
        assert not any(last for _, _, last in heard)
    else:
        assert isinstance(said, ChatAnswer) and (said.endpoint, said.content) == (
            "well",
            "hello there",
        )
        assert (said.tokens.input_tokens, said.tokens.output_tokens, said.finish_reason) == (
            12,
            3,
            "stop",
        )
        assert (said.first_token_ms is not None) == stream
        assert "".join(text for attempt, text, _ in heard) == ("hello there" if stream else "")
        assert {attempt for attempt, _, _ in heard} <= {said.attempts}
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("fault", "plain", "streamed", "unsure"),
    [
        ("refused", "refused", "refused", False),
        ("reset", "reset", "reset", True),
        ("truncated", "truncated", "truncated", True),
        ("401", "http_401", "http_401", False),
    ],
)
def test_httpx_says_of_a_fault_what_aiohttp_says(server, fault, plain, streamed, unsure, stream):
    """As at a desk, and in forks."""

    async def sleep(_seconds):
        pass

    async def run():
        question = ChatQuestion(
            (endpoint("ill", server.at(fault), "openai", stream),),
            (),
            (),
            None,
            None,
            20_000,
            "q-1",
        )
        async with httpx.AsyncClient() as own:
            return [
                await ModelClient(http_sender(http, str), runtime=Runtime(sleep=sleep))(question)
                for http in (own, HTTP)
            ]

    for said in LOOP.run(run()):
        assert (said.reason, {one.unsure for one in said.tried}) == (
            streamed if stream else plain,
            {unsure},
        )
        assert (
            "check the" in said.detail
            if fault == "401"
            else "start it" in said.detail or fault != "refused"
        )


@pytest.mark.parametrize(
    ("words", "attempts", "asked_the_other"),
    [
        (
            ['{"choices": [{"delta": {"reasoning_content": "hm"}}]}'],
            4,
            1,
        ),  # a thought that nobody read: another may answer
        (
            [
                '{"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]}'
            ],
            4,
            1,
        ),
        (
            [
                '{"choices": [{"delta": {"content": "Hi"}}]}',
                '{"choices": [{"delta": {"tool_calls": [{"id": 7}]}}]}',
                "[DONE]",
            ],
            1,
            0,
        ),
    ],
)
def test_only_words_that_were_heard_bind_to_a_model(server, words, attempts, asked_the_other):
    before = server.asked.copy()
    said = "".join(f"data: {word}\n\n" for word in words).encode()
    with faulty(says=said) as own:
        answer = ask(
            endpoint("ill", own.at("raw"), "openai", True),
            endpoint("well", server.at("good"), "openai", True),
        )
    assert (answer.attempts, (server.asked - before)["good"]) == (attempts, asked_the_other)
    assert isinstance(answer, ChatAnswer) == bool(asked_the_other)
