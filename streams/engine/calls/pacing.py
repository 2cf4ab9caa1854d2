"""How long the Kafka thread may wait for a record while answers arrive from another thread.

The Kafka client cannot be woken from outside, so while calls are under way it waits in short
pieces. Each is a twentieth of the time since something happened last: an answer is noticed at most
a twentieth later than it came, and a call of seconds costs no thousand wake-ups a second.
"""

SHARE = 0.05
LEAST_S = 0.001
MOST_S = 0.05


def wait_s(quiet_s: float) -> float:
    """How long to wait for a record, where the last thing happened `quiet_s` ago."""
    return min(MOST_S, max(LEAST_S, SHARE * quiet_s))
