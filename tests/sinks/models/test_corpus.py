"""What providers really send is read as it was meant: one case a parameter, over the whole client.

An answer's `calls` are written as id, name and arguments; an id of "*" is one of ours. `booked` are
the tokens of the first attempt, which may have failed.
"""

import json
from typing import Any

import pytest

from schemas.ports import ChatAnswer, Failure
from tests.support.corpus import cases
from tests.support.model_answers import Provider, as_stream, ask

STREAM = "text/event-stream"


def check(case: dict[str, Any], said: ChatAnswer | Failure, provider: Provider) -> None:
    """What came out is what the case says is right."""
    right = case["right"]
    attempts = right.get("attempts", 1)
    assert provider.asked["ill"] == attempts, said
    if "fails" in right:
        assert isinstance(said, Failure), said
        assert said.reason == right["fails"]
    else:
        assert isinstance(said, ChatAnswer), said
        assert said.endpoint == ("well" if "falls_back" in right else "ill")
    if "falls_back" in right:
        assert said.tried[0].reason == right["falls_back"]
    if "booked" in right:
        tokens = said.tried[0].tokens
        assert tokens is not None
        assert {name: getattr(tokens, name) for name in right["booked"]} == right["booked"]
    if isinstance(said, ChatAnswer) and said.endpoint == "ill":
        check_answer(right, said)


def check_answer(right: dict[str, Any], said: ChatAnswer) -> None:
    """The fields of an answer that the case names."""
    for name in ("content", "finish_reason", "usage_known", "response_model"):
        if name in right:
            assert getattr(said, name) == right[name]
    for name, count in right.get("tokens", {}).items():
        assert getattr(said.tokens, name) == count, name
    calls = [(call.name, json.loads(call.arguments)) for call in said.tool_calls]
    assert calls == [(name, arguments) for _, name, arguments in right.get("calls", ())]
    ids = [call.id for call in said.tool_calls]
    assert len({*ids}) == len(ids) and all(ids)
    for known, (wanted, _, _) in zip(ids, right.get("calls", ()), strict=True):
        assert wanted in ("*", known)


@pytest.mark.parametrize("case", cases("openai_stream"))
def test_a_stream_of_chat_completions(case: dict[str, Any]) -> None:
    body = case["raw"].encode() if "raw" in case else as_stream(case["input"])
    provider = Provider([body], case.get("content_type", STREAM), case.get("then", "end"))
    check(case, ask(provider, "openai", stream=True), provider)


@pytest.mark.parametrize("case", cases("openai_answer"))
def test_a_whole_chat_completion(case: dict[str, Any]) -> None:
    body = json.dumps(case["input"]).encode()
    provider = Provider([body], "application/json")
    check(case, ask(provider, "openai", stream=False), provider)


@pytest.mark.parametrize("case", cases("anthropic_stream"))
def test_a_stream_of_a_message(case: dict[str, Any]) -> None:
    body = case["raw"].encode() if "raw" in case else as_stream(case["input"])
    provider = Provider([body], case.get("content_type", STREAM), case.get("then", "end"))
    check(case, ask(provider, "anthropic", stream=True), provider)


@pytest.mark.parametrize("case", cases("anthropic_answer"))
def test_a_whole_message(case: dict[str, Any]) -> None:
    body = json.dumps(case["input"]).encode()
    provider = Provider([body], "application/json")
    check(case, ask(provider, "anthropic", stream=False), provider)


TOLD = {"usage": {"input_tokens": 900, "cache_read_input_tokens": 100, "output_tokens": 1}}


def test_what_a_cancelled_attempt_had_reported_is_booked() -> None:
    """The run that asked is over in the middle of a stream whose input was reported already."""
    begun = {"type": "message_start", "message": {"model": "c-1", "content": [], **TOLD}}
    provider = Provider([as_stream([begun])], STREAM, then="open")
    said = ask(provider, "anthropic", stream=True, give_up_s=0.05)
    assert isinstance(said, Failure) and said.reason == "run_over"
    (attempt,) = said.tried
    assert attempt.reason == "cancelled" and attempt.unsure and not attempt.usage_known
    assert attempt.tokens is not None and attempt.tokens.input_tokens == 1_000
