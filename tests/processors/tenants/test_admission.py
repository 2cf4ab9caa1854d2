"""Does admission let in exactly what a tenant may do, whatever the order of times?"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.tenants.admission import REMEMBERED_REQUESTS, Bucket, admit
from schemas.definitions.kinds import Agent, Definitions, Tenant
from schemas.events.agent.runs import RequestAdmitted, RequestRefused, RunSettled, RunsHeld
from tests.support.processors import AGENT, NOON, asked, at, company, ident

GIVEN = company()


def settled(name: str = "r1") -> RunSettled:
    return RunSettled(
        id=ident(f"settled/{name}"),
        at=NOON,
        tenant="acme",
        session="s",
        run=ident(name),
        outcome="completed",
    )


@pytest.mark.parametrize(
    ("bucket", "seconds", "says", "left"),
    [
        (Bucket(), 0, RequestAdmitted, 2),  # a new tenant starts full
        (Bucket(0.5, NOON), 0, RequestRefused, 0.5),  # a refusal costs nothing
        (Bucket(0.0, NOON), 2, RequestAdmitted, 1.0),  # two seconds refill two tokens
        (Bucket(1.0, NOON), 3_600, RequestAdmitted, 2.0),  # never more than the burst
        (Bucket(1.0, NOON), -60, RequestAdmitted, 0.0),  # a late request does not turn time back
    ],
)
def test_a_token_bucket_on_event_time(bucket, seconds, says, left):
    after, [event] = admit(bucket, asked(seconds=seconds), GIVEN)
    assert (type(event), after.tokens) == (says, left)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tenant": "nobody"}, "unknown_tenant"),
        ({"agent": "nobody"}, "unknown_agent"),
        ({"text": " \n"}, "empty"),
        ({"text": "x" * 1_001}, "too_large"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(fields, reason):
    _, [refused] = admit(Bucket(), asked(**fields), GIVEN)
    assert isinstance(refused, RequestRefused)
    assert refused.reason == reason
    assert ":" in refused.detail
    assert len(refused.text) <= 1_000


def test_an_agent_of_other_tenants_is_unknown():
    given_ = company(AGENT.model_copy(update={"tenants": ("others",)}))
    assert admit(Bucket(), asked(), given_)[1][0].reason == "unknown_agent"


def test_a_tenant_that_nobody_defined_leaves_no_state():
    assert admit(Bucket(), asked(tenant="nobody"), GIVEN)[0] is None


def test_a_quota_refusal_says_when_to_ask_again():
    bucket = Bucket(0.25, NOON)
    bucket, [refused] = admit(bucket, asked("a"), GIVEN)
    assert (refused.reason, refused.retry_after_ms) == ("quota", 750)
    assert admit(bucket, asked("b", seconds=0.75), GIVEN)[1][0].agent == "support"


def test_a_run_that_ends_gives_its_place_back():
    bucket = Bucket()
    for name in ("a", "b"):
        bucket, _ = admit(bucket, asked(name), GIVEN)
    bucket, [refused] = admit(bucket, asked("c", seconds=1), GIVEN)
    assert refused.reason == "concurrency"
    bucket, said = admit(bucket, settled("a"), GIVEN)
    assert said == []
    assert isinstance(admit(bucket, asked("d", seconds=2), GIVEN)[1][0], RequestAdmitted)


def test_runs_that_only_wait_have_no_place_and_their_ends_may_come_in_any_order():
    def held(runs, waits):
        return RunsHeld(
            id=ident(f"held/{runs}/{waits}"),
            at=NOON,
            tenant="acme",
            session="s",
            runs=runs,
            held=waits,
        )

    full = Bucket(running=2, held=0)
    assert admit(full, asked(), GIVEN)[1][0].reason == "concurrency"
    waits, said = admit(full, held(2, True), GIVEN)
    assert said == [] and isinstance(admit(waits, asked(), GIVEN)[1][0], RequestAdmitted)
    for order in (
        (held(2, False), settled("a"), settled("b")),
        (settled("a"), held(2, False), settled("b")),
    ):
        bucket = waits
        for event in order:
            bucket, _ = admit(bucket, event, GIVEN)
        assert (bucket.running, bucket.held) == (0, 0)
    again, _ = admit(
        replace(waits, running=3), held(2, False), GIVEN
    )  # one began meanwhile: now all are at work
    assert admit(again, asked(), GIVEN)[1][0].detail.startswith("3 runs are under way, at most 2")


def test_the_same_request_again_says_nothing_new():
    bucket, first = admit(Bucket(), asked("a"), GIVEN)
    again, second = admit(bucket, asked("a", seconds=5), GIVEN)
    assert (len(first), second, again) == (1, [], bucket)


def test_what_is_remembered_is_bounded():
    given_ = company(
        Tenant(name="acme", requests_per_minute=1e6, burst=1_000_000, concurrent_runs=1_000_000)
    )
    bucket = Bucket()
    for n in range(REMEMBERED_REQUESTS + 50):
        bucket, _ = admit(bucket, asked(str(n)), given_)
    assert len(bucket.recent) == REMEMBERED_REQUESTS
    assert bucket.recent[-1] == ident(str(REMEMBERED_REQUESTS + 49)).hex


def test_the_run_keeps_the_version_it_began_with():
    newer = Definitions(
        {**GIVEN.bodies, ("agent", "support", 2): AGENT}, {**GIVEN.newest, ("agent", "support"): 2}
    )
    assert admit(Bucket(), asked(), newer)[1][0].agent_version == 2


def test_without_a_session_a_request_is_its_own():
    [admitted] = admit(Bucket(), asked("a", session=""), GIVEN)[1]
    assert admitted.session == str(admitted.run) == str(ident("a"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-100, 100), max_size=60), st.integers(1, 5))
def test_no_order_of_times_admits_more_than_burst_and_refill(seconds, burst):
    given_ = company(
        Tenant(name="acme", requests_per_minute=60, burst=burst, concurrent_runs=1_000_000),
        Agent(name="support", prompt="", model="small"),
    )
    bucket, admitted = Bucket(), []
    for n, second in enumerate(seconds):
        bucket, said = admit(bucket, asked(str(n), seconds=second), given_)
        admitted += [event for event in said if isinstance(event, RequestAdmitted)]
    span = (max(seconds) - min(seconds)) if seconds else 0
    assert len(admitted) <= burst + span + 1
    assert bucket.tokens is None or -1e-6 <= bucket.tokens <= burst
    assert bucket.at is None or abs(bucket.at - at(max(seconds))) < timedelta(milliseconds=2)
