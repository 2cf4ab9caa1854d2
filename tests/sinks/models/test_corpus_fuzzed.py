"""Mutations of what providers really send: fields are dropped, nulled, retyped and repeated, events
reordered, bytes cut anywhere. Whatever comes is an answer or a refusal, and never a lie.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.http import CallError
from sinks.models.protocols import anthropic, openai
from sinks.models.sse import EventSplitter, accumulate
from tests.support.corpus import cases
from tests.support.model_answers import as_stream

PROTOCOLS = {"openai": openai.PROTOCOL, "anthropic": anthropic.PROTOCOL}
STREAMS = {name: [c.values[0] for c in cases(f"{name}_stream")] for name in PROTOCOLS}
ANSWERS = {name: [c.values[0] for c in cases(f"{name}_answer")] for name in PROTOCOLS}
ODD = (None, "", 0, -1, 7.5, True, "7", [], {}, [None], {"type": None}, "\ud83d", 10**20)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])


def body_of(case: dict[str, Any]) -> bytes:
    return case["raw"].encode() if "raw" in case else as_stream(case["input"])


def read(protocol: str, parts: list[bytes]) -> tuple[Any, str]:
    """The answer or the reason of the refusal, and the text that was published on the way."""
    stream = PROTOCOLS[protocol].stream()
    heard: list[str] = []
    try:
        splitter = EventSplitter()
        for part in parts:
            for event, data in splitter.add(part):
                heard.append(accumulate(stream, event, data) or "")
        for event, data in splitter.end():
            heard.append(accumulate(stream, event, data) or "")
        if not (stream.over or stream.finished):
            return "truncated", "".join(heard)
        return PROTOCOLS[protocol].answer_of(stream.body()), "".join(heard)
    except CallError as refused:
        return refused.reason, "".join(heard)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    ends = [*places, len(body)]
    return [body[start:end] for start, end in zip([0, *places], ends, strict=True)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_one_cut_changes_nothing(protocol: str) -> None:
    for case in STREAMS[protocol]:
        body = body_of(case)
        whole = read(protocol, [body])
        assert all(read(protocol, cut(body, [at])) == whole for at in range(0, len(body), 7))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_byte_alone_changes_nothing(protocol: str) -> None:
    for case in STREAMS[protocol]:
        body = body_of(case)
        assert read(protocol, [bytes([byte]) for byte in body]) == read(protocol, [body])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@QUICK
@given(data=st.data())
def test_any_cuts_change_nothing(protocol: str, data: st.DataObject) -> None:
    body = body_of(data.draw(st.sampled_from(STREAMS[protocol])))
    places = st.lists(st.integers(0, len(body)), max_size=12).map(sorted)
    assert read(protocol, cut(body, data.draw(places))) == read(protocol, [body])


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside another."""
    found = [path] if path else []
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = [*value.items()]
    elif isinstance(value, list):
        inner = [*enumerate(value)]
    for key, one in inner:
        found += paths_in(one, (*path, key))
    return found


def mutated(value: Any, path: tuple[Any, ...], how: str, odd: Any) -> Any:
    """A copy in which the value at a path is dropped, repeated or another."""
    made = copy.deepcopy(value)
    place = made
    for key in path[:-1]:
        place = place[key]
    last = path[-1]
    if how == "drop":
        del place[last]
    elif how == "repeat" and isinstance(place, list):
        place.insert(last, copy.deepcopy(place[last]))
    elif how == "swap" and isinstance(place, list) and last:
        place[last - 1 : last + 1] = place[last - 1 : last + 1][::-1]
    else:
        place[last] = odd
    return made


def some_mutation(data: st.DataObject, value: Any) -> Any:
    for _ in range(data.draw(st.integers(1, 3))):
        paths = paths_in(value)
        if not paths:
            break
        how = data.draw(st.sampled_from(["drop", "repeat", "swap", "odd"]))
        value = mutated(
            value, data.draw(st.sampled_from(paths)), how, data.draw(st.sampled_from(ODD))
        )
    return value


def is_honest(answer: dict[str, Any]) -> bool:
    """Whether an answer is one: it says or calls something, calls have names and JSON text."""
    assert answer["finish_reason"] in ("stop", "tool_calls", "length", "content_filter")
    assert (answer["finish_reason"] == "tool_calls") == bool(answer["tool_calls"]) or (
        answer["finish_reason"] in ("length", "content_filter")
    )
    if answer["finish_reason"] == "stop":
        assert answer["content"]
    assert all(call.name and call.arguments for call in answer["tool_calls"])
    json.dumps([answer["content"], answer["response_model"], answer["service_tier"]])
    return True


@pytest.mark.parametrize("protocol", PROTOCOLS)
@QUICK
@given(data=st.data())
def test_a_mutated_stream_is_an_answer_or_a_refusal(protocol: str, data: st.DataObject) -> None:
    streams = [case["input"] for case in STREAMS[protocol] if "input" in case]
    events = some_mutation(data, data.draw(st.sampled_from(streams)))
    body = as_stream(event for event in events if event is not None)
    said, heard = read(protocol, [body])
    if isinstance(said, dict):
        assert is_honest(said)
        assert heard == (said["content"] or "")
    else:
        assert said


@pytest.mark.parametrize("protocol", PROTOCOLS)
@QUICK
@given(data=st.data())
def test_a_mutated_answer_is_an_answer_or_a_refusal(protocol: str, data: st.DataObject) -> None:
    body = some_mutation(data, data.draw(st.sampled_from(ANSWERS[protocol]))["input"])
    try:
        assert is_honest(PROTOCOLS[protocol].answer_of(body))
    except CallError as refused:
        assert refused.reason and refused.detail


def last_of(events: list[Any], is_end: Callable[[str], bool]) -> int:
    """The place of the first event that says that an answer has ended; without one, their number."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return next((nth for nth, text in enumerate(texts) if is_end(text)), len(texts))


def ends(text: str) -> bool:
    marks = ('"finish_reason": "', '"stop_reason": "', "[DONE]", '"message_stop"')
    return any(mark in text for mark in marks)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_fragment_is_never_an_answer(protocol: str) -> None:
    """Whatever stream breaks off before the reason of its end, wherever, is refused."""
    for case in STREAMS[protocol]:
        events = case.get("input", [])
        for nth in range(last_of(events, ends) + 1):
            said, _ = read(protocol, [as_stream(events[:nth])])
            assert isinstance(said, str), (events[:nth], said)


def without_usage(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_usage(one) for name, one in value.items() if name != "usage"}
    return [without_usage(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_usage_that_nobody_told_is_unknown(protocol: str) -> None:
    bodies = [
        as_stream(without_usage(case["input"])) for case in STREAMS[protocol] if "input" in case
    ]
    answers = [said for body in bodies if isinstance(said := read(protocol, [body])[0], dict)]
    assert len(answers) > 10
    assert not any(answer["usage_known"] for answer in answers)
