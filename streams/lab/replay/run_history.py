"""The events of a session and of a run, in order, as the past has them: archive and log."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from schemas.events.base import Event
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.engine.shapes import kinds
from streams.operations.past import ArchiveAndLog, EventArchive
from streams.topology import PIPELINE

EARLIER = timedelta(minutes=5)
"""How much before a run's beginning is read, as clocks of producers differ."""


def session_events() -> list[type[Event]]:
    """Every class of a session that a step of the pipeline reads or writes."""
    classes = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))}
    return sorted(
        (kind for kind in classes if kind.key == "session"), key=lambda kind: kind.__name__
    )


def of_session(
    settings: Settings, codec: Codec, tenant: str, session: str, since: datetime
) -> list[Event]:
    """A session's events since a moment, in order. Raises ConnectionError."""
    return session_story(ArchiveAndLog(settings, codec), tenant, session, since)


def session_story(past: EventArchive, tenant: str, session: str, since: datetime) -> list[Event]:
    """A session's events since a moment, in order, out of any past."""
    return past.story(tenant, f"{tenant}/{session}", session_events(), since - EARLIER)


def of_run(events: Iterable[Event], run: UUID) -> list[Event]:
    """The events of one run among those of its session."""
    return [event for event in events if getattr(event, "run", None) == run]
