"""Quality: the profile of every hour of an agent, and its drift from the week before."""

from datetime import timedelta

from processors.quality import drift, profiles
from streams.engine.shapes import Fold, Step, Tumbling, Window

PROFILE = Window(
    profiles.Hour,
    profiles.add,
    profiles.close,
    Tumbling(timedelta(hours=1)),
    grace=timedelta(minutes=5),
    # After a standstill the runs that were blocked in it are hours older than others. A profile may
    # miss them, and as dead letters they would only be noise.
    late_to_dead_letters=False,
)
STEPS = (
    Step("profile", PROFILE),
    Step("watch_drift", Fold(drift.Reference, drift.watch)),
)
