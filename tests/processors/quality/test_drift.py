"""Is what moved told, with figures computed by hand, and is what did not move left alone?"""

import math
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.quality.drift import Reference, ks, psi, psi_by_chance, together, watch
from schemas.definitions.kinds import Definitions
from schemas.definitions.limits import Drift
from schemas.events.quality import HourProfiled
from tests.support.processors import AGENT, NOON, TENANT, company

NOBODY = Definitions()


def hour(nth: int = 0, **features) -> HourProfiled:
    at = NOON + timedelta(hours=nth)
    return HourProfiled.about(
        nth,
        at=at,
        tenant="acme",
        agent="support",
        until=at + timedelta(hours=1),
        runs=0,
        **features,
    )


def told(*hours: HourProfiled, given_: Definitions = NOBODY) -> list:
    reference, said = Reference(), []
    for one in hours:
        reference, found = watch(reference, one, given_)
        said += found
    return said


@pytest.mark.parametrize(
    ("cells", "index"),
    [
        ([(50, 50), (50, 50)], 0.0),
        (
            [(49.5, 99.5), (49.5, 199.5)],
            (1 / 3 - 1 / 2) * math.log(2 / 3) + (2 / 3 - 1 / 2) * math.log(4 / 3),
        ),
        # 90/10 against 50/50, half a run more in each: 90.5/101 and 10.5/101 against 50.5/101 twice
        (
            [(90, 50), (10, 50)],
            -40 / 101 * math.log(50.5 / 90.5) + 40 / 101 * math.log(50.5 / 10.5),
        ),
        # a bucket that was empty: 0.5/101 against 20.5/101
        (
            [(100, 80), (0, 20)],
            -20 / 101 * math.log(80.5 / 100.5) + 20 / 101 * math.log(20.5 / 0.5),
        ),
    ],
)
def test_psi_by_hand(cells, index):
    assert psi(cells) == pytest.approx(index, abs=1e-12)


@pytest.mark.parametrize(
    ("reference", "current", "distance"),
    [
        ({"1": 5, "2": 5}, {"1": 50, "2": 50}, 0.0),
        ({"1": 10}, {"2": 10}, 1.0),
        ({"1": 5, "2": 5}, {"1": 2, "2": 8}, 0.3),
        ({"2": 4, "16": 6}, {"2": 4, "4": 6}, 0.6),  # buckets by their number, not by their letters
        ({"8": 1, "64": 3}, {"8": 1, "16": 2, "64": 1}, 0.5),
    ],
)
def test_ks_by_hand(reference, current, distance):
    assert ks(reference, current) == pytest.approx(distance)


@pytest.mark.parametrize(("cells", "chi_squared"), [(2, 10.828), (5, 18.467), (11, 29.588)])
def test_what_chance_reaches_is_a_thousandth_quantile_of_chi_squared(cells, chi_squared):
    assert psi_by_chance(cells, 100, 400) == pytest.approx(
        chi_squared * (1 / 100 + 1 / 400), rel=0.04
    )
    assert psi_by_chance(1, 100, 400) == 0


def test_buckets_that_chance_hardly_reaches_are_one():
    assert together({"a": 970, "b": 3, "c": 7, "d": 20}, {"a": 97, "e": 3}) == [
        (970, 97),
        (20, 0),
        (10, 3),
    ]


def test_what_moved_is_told_with_both_sides():
    [found] = told(
        hour(0, outcome={"completed": 190, "failed": 10}),
        hour(1, outcome={"completed": 20, "failed": 30}),
    )
    assert (found.feature, found.at, found.reference_runs, found.runs) == (
        "outcome",
        NOON + timedelta(hours=1),
        200,
        50,
    )
    assert found.reference == {"completed": 190, "failed": 10} and found.current == {
        "completed": 20,
        "failed": 30,
    }
    was, now = 190.5 / 201, 20.5 / 51
    assert found.psi == pytest.approx(
        (now - was) * math.log(now / was) + (was - now) * math.log((1 - now) / (1 - was))
    )
    assert found.ks is None and found.psi >= found.psi_critical == pytest.approx(
        10.828 / 40, rel=0.04
    )


def test_a_shift_that_psi_overlooks_is_found_by_ks():
    """Each of eight buckets gives a tenth of its runs to the next: in sum half of them are
    elsewhere.
    """
    before = {str(2**n): 1_000 for n in range(8)}
    after = {str(2**n): count for n, count in enumerate((62, 62, 62, 62, 138, 138, 138, 138))}
    [found] = told(hour(0, wait_ms=before), hour(1, wait_ms=after))
    assert (
        found.psi < found.psi_critical == 0.25
        and found.ks == pytest.approx(0.19)
        and found.ks >= found.ks_critical
    )


@pytest.mark.parametrize(
    "hours",
    [
        [hour(0, model={"a": 199}), hour(1, model={"b": 100})],  # too little before
        [hour(0, model={"a": 900}), hour(1, model={"b": 29})],  # too little in the hour
        [
            hour(0, model={"a": 900}),
            hour(192, model={"b": 100}),
        ],  # eight days later: there is no week before
        [hour(0, model={"a": 900})],
        [hour(0), hour(1)],
    ],
)
def test_where_too_little_is_known_nothing_is_told(hours):
    assert told(*hours) == []


def test_the_reference_is_the_last_seven_days_and_goes_with_its_days():
    week = [hour(24 * day, model={"a": 100}) for day in range(20)]
    reference = Reference()
    for one in week:
        reference, _ = watch(reference, one, NOBODY)
    assert len(reference.agents["support"]) == 8
    [found] = told(*week, hour(24 * 19 + 1, model={"b": 100}))
    assert found.reference_runs == 800


def test_what_stays_new_becomes_usual():
    said = told(hour(0, model={"a": 500}), *(hour(n, model={"b": 500}) for n in range(1, 40)))
    assert [one.at for one in said] == [
        NOON + timedelta(hours=n) for n in range(1, len(said) + 1)
    ] and len(said) < 24


@pytest.mark.parametrize(
    ("tenant", "agent", "count"),
    [
        (None, None, 1),
        (Drift(enabled=False), None, 0),
        (Drift(psi=99), None, 0),
        (Drift(psi=99), Drift(psi=0.25), 1),
        (None, Drift(hour_runs=31), 0),
        (None, Drift(reference_runs=201), 0),
    ],
)
def test_the_agent_decides_before_its_tenant(tenant, agent, count):
    known = company(
        TENANT.model_copy(update={"drift": tenant}), AGENT.model_copy(update={"drift": agent})
    )
    assert len(told(hour(0, model={"a": 200}), hour(1, model={"b": 30}), given_=known)) == count


def drawn(chance: random.Random, weights: list[int], runs: int) -> dict[str, int]:
    picks = chance.choices(range(len(weights)), weights, k=runs)
    return {str(2**n): picks.count(n) for n in sorted({*picks})}


WEIGHTS = st.lists(st.integers(1, 50), min_size=2, max_size=8)


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.integers(0, 2**32), st.integers(30, 300))
def test_the_same_distribution_raises_no_alarm_in_most_draws(weights, seed, runs):
    chance = random.Random(seed)
    before = hour(0, wait_ms=drawn(chance, weights, 3_000))
    assert (
        sum(bool(told(before, hour(1, wait_ms=drawn(chance, weights, runs)))) for _ in range(20))
        <= 2
    )


@settings(max_examples=30, deadline=None)
@given(WEIGHTS, st.integers(0, 2**32), st.integers(60, 300))
def test_other_numbers_than_before_raise_one(weights, seed, runs):
    chance = random.Random(seed)
    before, after = drawn(chance, weights, 3_000), drawn(chance, [0] * len(weights) + weights, runs)
    [found] = told(hour(0, wait_ms=before), hour(1, wait_ms=after))
    assert found.psi > 0.25 and found.ks == 1
