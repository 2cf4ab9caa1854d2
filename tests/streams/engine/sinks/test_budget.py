"""A batch waits between the shortest and the longest age, as the budget of inserts asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.sinks.budget import InsertPace, LastBatch, due_at

PACE = InsertPace(age_min_s=0.5, age_max_s=3.0, inserts_per_s=4.0)


@pytest.mark.parametrize(
    "oldest, full, spent, due",
    [
        (100.0, False, LastBatch(), 100.5),  # nothing was ever written
        (100.0, False, LastBatch(12, 50.0), 100.5),  # quiet for long
        (100.0, False, LastBatch(2, 99.9), 100.5),  # half a second's budget
        (100.0, False, LastBatch(8, 99.9), 101.9),  # two seconds' budget
        (100.0, False, LastBatch(40, 99.9), 103.0),  # the longest age holds whatever was spent
        (100.0, True, LastBatch(40, 99.9), 100.0),  # a full batch does not wait
    ],
)
def test_when_a_batch_is_due(oldest, full, spent, due):
    assert due_at(oldest, full, PACE, spent) == pytest.approx(due)


@given(
    st.lists(st.integers(1, 12), min_size=20, max_size=60),
    st.floats(2.0, 20.0),
)
def test_under_load_the_budget_holds_as_long_as_the_longest_age_allows_it(inserts, per_s):
    """Records come all the time: each batch's oldest was read when the one before was cut."""
    pace = InsertPace(0.5, 3.0, per_s)
    now = 0.0
    spent = LastBatch()
    for each in inserts:
        due = due_at(now, False, pace, spent)
        assert now + pace.age_min_s <= due <= now + pace.age_max_s
        spent = spent.next(each, due)
        now = due
    if max(inserts) / per_s <= pace.age_max_s:
        assert (sum(inserts) - inserts[-1]) / (now - pace.age_min_s) <= per_s * 1.01
