"""How long what a sink worker stores is kept: by the definitions in force when it is written."""

from collections.abc import Callable
from datetime import timedelta

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event

HOLD_DAYS = 25_000
"""Under a legal hold: as far as ClickHouse can add to a date of this century."""


def retention_of(definitions: Callable[[], Definitions], usual_days: int) -> Callable[[str], int]:
    """How many days the rows of a tenant are stored."""

    def days(tenant: str) -> int:
        known = definitions().tenant(tenant)
        return (known and known.retention_days) or usual_days

    return days


def archive_retention_of(
    definitions: Callable[[], Definitions],
) -> Callable[[type[Event], str], int]:
    """How many days the archive keeps an event of a class and tenant: under a legal hold for good,
    else as the tenant says, else as the class says, and never shorter than the log.
    """

    def days(kind: type[Event], tenant: str) -> int:
        known = definitions().tenant(tenant)
        if known and known.legal_hold:
            return HOLD_DAYS
        return (known and known.archive_days) or usual_archive_days(kind)

    return days


def usual_archive_days(kind: type[Event]) -> int:
    """How many days the archive keeps a class where its tenant says nothing; 0: it does not."""
    if kind.archived is None:
        return 0
    return max(kind.archived, kind.retention or timedelta(0)).days
