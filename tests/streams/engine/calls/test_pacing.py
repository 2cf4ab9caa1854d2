"""The wait for a record grows with the time in which nothing happened, within bounds."""

import pytest

from streams.engine.calls.pacing import LEAST_S, MOST_S, wait_s


@pytest.mark.parametrize(
    ("quiet_s", "waited_s"),
    [(-1.0, LEAST_S), (0.0, LEAST_S), (0.02, LEAST_S), (0.1, 0.005), (1.0, MOST_S), (9.0, MOST_S)],
)
def test_the_wait_is_a_twentieth_of_the_silence(quiet_s: float, waited_s: float) -> None:
    assert wait_s(quiet_s) == pytest.approx(waited_s)
