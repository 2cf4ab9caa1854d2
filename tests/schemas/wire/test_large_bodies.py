"""Is an event that is too large for Kafka small there, and whole where it is read, whatever of it
is long?
"""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies

from schemas.catalogue import event_classes
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import AgentRequested, RequestAdmitted, RunFinished
from schemas.events.values import Message
from schemas.wire.codec import Codec, DecodeError, LocalIds
from schemas.wire.large_bodies import EVENT_BYTES_MAX, MissingBodyError, key_of

AT, RUN = datetime(2026, 11, 26, tzinfo=UTC), UUID(int=7)
LONG = "Where is order A-1001? " * 20_000


class Shelf(dict):
    """Objects in memory."""

    def put(self, key, data):
        self[key] = data

    def get(self, key, bytes_max=0):
        if key not in self:
            raise MissingBodyError(f"there is no object {key}")
        return self[key]


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def codec(shelf):
    return Codec(LocalIds(event_classes()), shelf)


def asked(text=LONG, **more):
    return AgentRequested(id=RUN, at=AT, tenant="acme", agent="support", text=text, **more)


def question(*contents):
    return ModelAsked(
        id=RUN,
        at=AT,
        tenant="acme",
        session="s",
        run=RUN,
        agent="a",
        step=1,
        model="m",
        messages=tuple(Message(role="user", content=content) for content in contents),
    )


@pytest.mark.parametrize(
    "event",
    [
        asked(),
        asked("ö" * 200_000),
        asked("short", history=(Message(role="user", content=LONG),) * 3),
        question(*["a turn"] * 20_000),
        question(LONG, LONG),
        asked("'\ud800" * 100_000),
    ],
)
def test_a_large_event_is_small_on_kafka_and_whole_again(event, codec):
    value = codec.encode(event)
    assert len(value) < EVENT_BYTES_MAX and codec.encode(event) == value
    if "\ud800" not in event.model_dump().get("text", ""):
        assert codec.decode(type(event), value) == event


def test_the_same_text_is_kept_once_however_many_events_carry_it(codec, shelf):
    codec.encode(asked())
    codec.encode(asked().then(RequestAdmitted, run=RUN, session="s"))
    assert [*shelf.values()] == [LONG.encode()]


def test_who_knows_no_store_reads_the_beginning_and_where_the_rest_is(codec, shelf):
    read = Codec(LocalIds(event_classes())).decode(AgentRequested, codec.encode(asked()))
    assert LONG.startswith(read.text) and len(read.text) == 1_000
    assert shelf[json.loads(read.bodies)["text"]].decode() == LONG


def test_a_small_event_is_as_it_was(codec, shelf):
    assert (
        codec.decode(AgentRequested, codec.encode(asked("Where?"))) == asked("Where?") and not shelf
    )


def test_what_does_not_come_back_is_told_with_what_is_left_of_the_event(codec, shelf):
    value = codec.encode(asked())
    shelf.clear()
    with pytest.raises(DecodeError, match="body_missing: there is no object") as told:
        codec.decode(AgentRequested, value)
    assert told.value.event.id == RUN


@pytest.mark.parametrize(
    "bodies",
    [
        json.dumps({"text": key_of("other", "0" * 64)}),
        json.dumps({"tenant": key_of("acme", "0" * 64)}),
        json.dumps({"nothing": key_of("acme", "0" * 64)}),
        json.dumps({"history": key_of("acme", "0" * 64)}),
        '{"text": 7}',
        "[]",
        "no JSON",
        "7",
    ],
)
def test_an_event_reaches_nothing_that_is_not_its_own(codec, shelf, bodies):
    shelf[key_of("other", "0" * 64)] = shelf[key_of("acme", "0" * 64)] = b"a secret of somebody's"
    with pytest.raises(DecodeError, match="body_missing"):
        codec.decode(AgentRequested, codec.encode(asked("short", bodies=bodies)))


def test_what_an_event_keeps_elsewhere_is_not_the_next_ones(codec):
    finished = RunFinished(
        id=RUN,
        at=AT,
        tenant="acme",
        session="s",
        run=RUN,
        agent="a",
        outcome="completed",
        started_at=AT,
        wait_ms=1,
        bodies='{"answer": "x"}',
    )
    assert finished.then(RequestAdmitted, text="").bodies == ""


@settings(max_examples=40, deadline=None)
@given(
    strategies.integers(0, 400_000),
    strategies.integers(0, 40),
    strategies.sampled_from(["a", "é", "🏔", '"']),
)
def test_no_size_is_too_much(chars, messages, letter):
    codec, event = (
        Codec(LocalIds(event_classes()), Shelf()),
        asked(letter * chars, history=(Message(role="user", content=letter * 9_000),) * messages),
    )
    value = codec.encode(event)
    assert len(value) <= EVENT_BYTES_MAX and codec.decode(AgentRequested, value) == event
