"""Bad input ends as a dead letter, a refusal or a failed run, and its partition goes on."""

import struct
from datetime import timedelta
from uuid import uuid4

import pytest

from schemas.events.agent.runs import AgentRequested, RequestRefused, RunFinished
from schemas.events.operations import DeadLettered
from streams.engine import kafka
from streams.engine.client import Watch, now, request
from streams.operations.connections import rows_of
from tests.support.waiting import until

pytestmark = pytest.mark.engine

REFUSED = {
    "unknown_tenant": {"tenant": "nobody", "agent": "asks-good", "text": "hi"},
    "unknown_agent": {"tenant": "acme", "agent": "nobody", "text": "hi"},
    "empty": {"tenant": "acme", "agent": "asks-good", "text": "  "},
    "too_large": {"tenant": "acme", "agent": "asks-good", "text": "x" * 5_000_000},
}
FAILED = {
    "asks-garbage": "bad_http",
    "asks-html": "bad_content_type",
    "asks-500": "http_500",
    "asks-hang": "timeout",
    "asks-null-choices": "bad_answer",
    "asks-blank": "empty_answer",
    "asks-not-json": "bad_json",
    "asks-oversize": "too_large",
    "asks-401": "http_401",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_request_that_cannot_run_is_refused_with_its_reason(client, reason):
    outcome = client.ask(request(**REFUSED[reason]))
    assert isinstance(outcome, RequestRefused) and outcome.reason == reason and outcome.detail


def test_a_tenant_over_its_quota_is_told_when_to_come_back(client):
    asked = [request("tight", "asks-good", "hi") for _ in range(3)]
    client.publish(*asked)
    outcomes = client.wait([one.id for one in asked], 60)
    refused = [one for one in outcomes.values() if isinstance(one, RequestRefused)]
    assert len(outcomes) == 3 and len(refused) == 2
    assert all(one.reason == "quota" and one.retry_after_ms for one in refused)


def test_a_model_that_misbehaves_ends_the_run_and_says_how(client):
    asked = {agent: request("acme", agent, "hi") for agent in FAILED}
    client.publish(*asked.values())
    outcomes = client.wait([one.id for one in asked.values()], 90)
    ended = {agent: outcomes[one.id] for agent, one in asked.items() if one.id in outcomes}
    assert ended.keys() == asked.keys()
    assert {agent: (run.outcome, run.reason) for agent, run in ended.items()} == {
        agent: ("failed", reason) for agent, reason in FAILED.items()
    }


def test_a_model_that_fails_is_replaced_by_its_fallback(client):
    outcome = client.ask(request("acme", "falls-back", "hi"))
    assert (
        isinstance(outcome, RunFinished)
        and outcome.outcome == "completed"
        and outcome.answer == "hello"
    )


def poison(codec, good: AgentRequested) -> dict[str, tuple[bytes, bytes]]:
    """Key and value of a record for each reason of a dead letter."""
    value = codec.encode(good)
    key = good.partition_key().encode()
    other = codec.encode(
        RunFinished(
            id=uuid4(),
            at=now(),
            tenant="acme",
            session="s",
            run=uuid4(),
            agent="a",
            outcome="completed",
            started_at=now(),
            wait_ms=1,
        )
    )
    later = codec.encode(good.model_copy(update={"id": uuid4(), "at": now() + timedelta(days=2)}))
    earlier = codec.encode(
        good.model_copy(update={"id": uuid4(), "at": now() - timedelta(days=400)})
    )
    nameless = codec.encode(good.model_copy(update={"id": uuid4(), "tenant": ""}))
    return {
        "not Avro": (key, b"{}"),
        "nothing": (key, b""),
        "cut short": (key, value[:-3]),
        "too long": (key, value + b"x"),
        "no such schema": (key, struct.pack(">bI", 0, 999_999) + value[5:]),
        "another event": (key, other),
        "wrong key": (b"south", value),
        "of the future": (key, later),
        "of last year": (key, earlier),
        "no tenant": (b"", nameless),
    }


REASONS = {
    "not Avro": "not_avro",
    "nothing": "not_avro",
    "cut short": "not_avro",
    "too long": "not_avro",
    "no such schema": "unknown_schema",
    "another event": "unknown_schema",
    "wrong key": "wrong_key",
    "of the future": "future",
    "of last year": "expired",
    "no tenant": "invalid",
}


def test_every_poison_becomes_a_dead_letter_and_the_partition_goes_on(stack, codec, client):
    topic = AgentRequested.topic()
    letters = {}
    good = request("acme", "asks-good", "hi")
    bad = poison(codec, good)
    producer = kafka.producer(stack)
    with Watch(
        stack,
        codec,
        [DeadLettered],
        lambda letter: letters.__setitem__(letter.record_value, letter),
    ):
        for name, (key, value) in bad.items():
            producer.produce(topic, value, key, partition=0, headers={"name": name})
        assert producer.flush(10) == 0
        until(
            lambda: len(letters) >= len(bad),
            60,
            lambda: f"{len(letters)} of {len(bad)} letters came",
        )
    told = {letter.headers["name"]: letter.reason for letter in letters.values()}
    assert told == REASONS
    assert {letter.record_value for letter in letters.values()} == {
        value for _, value in bad.values()
    }
    after = [request("acme", "asks-good", "still there?") for _ in range(8)]
    client.publish(*after)
    assert len(client.wait([one.id for one in after], 60)) == len(after)
    until(
        lambda: rows_of(stack, "SELECT count() AS n FROM dead_letters")[0]["n"] >= len(bad),
        30,
        lambda: "the letters did not come to ClickHouse",
    )
