"""Does a dead letter keep the record whole, does the limit stop a consumer, and does a replay give
back each once?
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.agent.runs import AgentRequested
from schemas.events.operations import DeadLettered
from schemas.wire.codec import HEAD
from streams.engine import dead_letters
from streams.engine.dead_letters import (
    Rejection,
    ShareLimit,
    as_headers,
    as_text,
    letter,
    tenant_of,
)
from tests.support.stages import asked, toy

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Record:
    """What a consumed message answers."""

    def __init__(self, key=b"acme/s1", value=b"value", headers=(("a", b"1"),)):
        self._key, self._value, self._headers = key, value, list(headers)

    def topic(self):
        return "weir.agent.agent-requested"

    def partition(self):
        return 2

    def offset(self):
        return 17

    def key(self):
        return self._key

    def value(self):
        return self._value

    def headers(self):
        return self._headers


def test_a_letter_keeps_the_record_and_its_place():
    late = Rejection("late", "why", "stage-tenant", NOON)
    made = letter(Record(), late)
    assert (made.record_key, made.record_value, made.headers) == (b"acme/s1", b"value", {"a": "1"})
    assert (made.source, made.partition, made.offset, made.tenant) == (
        "weir.agent.agent-requested:2:17",
        2,
        17,
        "acme",
    )
    assert letter(Record(), late).id == made.id, "the same record is the same letter"
    assert letter(Record(), replace(late, consumer="another")).id != made.id


def test_a_value_that_fits_in_no_letter_stays_where_it_is():
    made = letter(Record(value=b"x" * 7_400_000), Rejection("invalid", "why", "c", NOON))
    assert made.record_value is None
    assert "weir.agent.agent-requested:2:17" in made.detail


@pytest.mark.parametrize(
    "key, tenant",
    [
        (None, "unknown"),
        (b"", "unknown"),
        (b"acme", "acme"),
        (b"acme/s/1", "acme"),
        (b"\xff\xfe", "unknown"),
        (b"/s", "unknown"),
        (b"x" * 500, "x" * 200),
    ],
)
def test_the_tenant_is_read_off_the_key(key, tenant):
    assert tenant_of(key) == tenant


@given(st.dictionaries(st.text(min_size=1), st.binary()))
def test_headers_come_back_as_they_were(headers):
    assert dict(as_headers(as_text(list(headers.items())))) == headers


@pytest.mark.parametrize(
    "share_max, dead, of, stops",
    [
        (0.5, 99, 99, False),  # too few to judge
        (0.5, 100, 100, True),
        (0.5, 100, 200, False),  # exactly the share
        (0.5, 101, 200, True),
        (1.0, 200, 200, False),  # never
    ],
)
def test_a_share_of_dead_letters_stops_a_consumer(share_max, dead, of, stops):
    limit = ShareLimit(share_max)
    for nth in range(of):
        limit.add(nth < dead)
    assert limit.exceeded == stops


def test_only_the_last_records_count():
    limit = ShareLimit(0.5)
    for nth in range(400):
        limit.add(nth < 150)
    assert not limit.exceeded and limit.dead == 0


@pytest.mark.engine
def test_a_replay_gives_back_each_record_once(bootstrap, tmp_path):
    with toy(bootstrap, "tenant", tmp_path) as bench:
        name = bench.settings.prefix + AgentRequested.topic()
        origin = [asked(f"tenant-{n}") for n in range(20)]
        letters = [
            letter_on(name, bench.codec.encode(e), e.tenant, n) for n, e in enumerate(origin)
        ]
        bench.publish(*letters)
        bench.put(DeadLettered, HEAD.pack(0, 999) + b"x", b"x")
        bench.flush()
        found = dead_letters.read_all(bench.settings, bench.codec)
        assert {one.id for one in found} == {one.id for one in letters}
        assert dead_letters.replay(bench.settings, found[:15]) == 15
        assert dead_letters.replay(bench.settings, found) == 5, (
            "those given back before are left alone"
        )
        assert dead_letters.replay(bench.settings, found) == 0
        assert sorted(e.tenant for e in bench.events(AgentRequested)) == sorted(
            e.tenant for e in origin
        )
        message = bench.messages(AgentRequested)[0]
        assert dict(message.headers())["traceparent"] == b"00-1-2-01"
        assert dead_letters.replay(bench.settings, found[:1], again=True) == 1
        assert bench.count(AgentRequested) == 21


def letter_on(topic: str, value: bytes, key: str, offset: int) -> DeadLettered:
    source = f"{topic}:0:{offset}"
    return DeadLettered.about(
        source,
        at=NOON,
        tenant=key,
        source=source,
        topic_name=topic,
        partition=0,
        offset=offset,
        consumer="test",
        record_key=key.encode(),
        record_value=value,
        headers={"traceparent": "00-1-2-01"},
        reason="error",
    )
