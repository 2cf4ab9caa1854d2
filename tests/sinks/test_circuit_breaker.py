"""Does a breaker open, probe and close as its table says?"""

import pytest

from sinks.circuit_breaker import (
    CALLS_MIN,
    OPEN_MAX_S,
    OPEN_S,
    WINDOW_S,
    BreakerState,
    CircuitBreaker,
    CircuitBreakers,
    admit,
    record,
)

SHUT = CircuitBreaker()
FAILING = CircuitBreaker(calls=CALLS_MIN - 1, failed=CALLS_MIN - 1)
OPEN = CircuitBreaker(until=10.0, times=1)
PROBED = CircuitBreaker(until=10.0, times=1, probing=True)


@pytest.mark.parametrize(
    ("breaker", "now", "state", "may"),
    [
        (SHUT, 0, BreakerState.CLOSED, True),
        (FAILING, 0, BreakerState.CLOSED, True),
        (OPEN, 9.9, BreakerState.OPEN, False),
        (OPEN, 10.0, BreakerState.HALF_OPEN, True),
        (PROBED, 11.0, BreakerState.HALF_OPEN, False),  # one probe at a time
    ],
)
def test_who_may_be_asked(breaker, now, state, may):
    assert breaker.state(now) is state
    after, admitted = admit(breaker, now)
    assert admitted is may and after.probing is (
        breaker.probing or (may and state is BreakerState.HALF_OPEN)
    )


@pytest.mark.parametrize(
    ("breaker", "probe", "good", "now", "after"),
    [
        (SHUT, False, True, 1, CircuitBreaker(calls=1)),
        (SHUT, False, False, 1, CircuitBreaker(calls=1, failed=1)),
        (SHUT, False, None, 1, SHUT),  # our mistake, or given up: it says nothing
        (FAILING, False, False, 1, CircuitBreaker(until=1 + OPEN_S, times=1)),
        (
            CircuitBreaker(calls=9, failed=5),
            False,
            True,
            1,
            CircuitBreaker(calls=10, failed=5),
        ),  # half is not more than half
        (
            CircuitBreaker(calls=9, failed=5),
            False,
            False,
            1,
            CircuitBreaker(until=1 + OPEN_S, times=1),
        ),
        (
            FAILING,
            False,
            False,
            WINDOW_S,
            CircuitBreaker(since=WINDOW_S, calls=1, failed=1),
        ),  # what was long ago is forgotten
        (OPEN, False, True, 5, OPEN),
        (OPEN, False, False, 5, OPEN),  # asked before it opened
        (PROBED, True, True, 11, CircuitBreaker(since=11)),
        (PROBED, True, None, 11, OPEN),
        (PROBED, True, False, 11, CircuitBreaker(until=11 + 2 * OPEN_S, times=2)),
        (
            CircuitBreaker(until=10.0, times=30, probing=True),
            True,
            False,
            11,
            CircuitBreaker(until=11 + OPEN_MAX_S, times=31),
        ),
    ],
)
def test_what_an_end_changes(breaker, probe, good, now, after):
    assert record(breaker, probe, good, now) == after


def test_each_provider_and_model_has_its_own_and_moves_are_told_once():
    told = []
    breakers = CircuitBreakers(lambda *move: told.append(move))
    for now in range(CALLS_MIN + 3):
        if breakers.admit("p", "m", now) is not None:
            breakers.record("p", "m", False, False, now)
    assert told == [("p", "m", BreakerState.OPEN, OPEN_S)]
    assert (
        breakers.admit("p", "m", CALLS_MIN) is None
        and breakers.admit("p", "other", CALLS_MIN) is False
    )
    later = CALLS_MIN + OPEN_S
    assert breakers.wait_s("p", "m", later - 2) == pytest.approx(1.0)
    assert breakers.admit("p", "m", later) is True and breakers.admit("p", "m", later) is None
    breakers.record("p", "m", True, True, later)
    assert [state for *_, state, _ in told] == [
        BreakerState.OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.CLOSED,
    ]
