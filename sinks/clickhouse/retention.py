"""How many days rows are kept, by tenant, without decoding their events.

The days are written into each row, and the tables' TTL reads nothing else: no mutation, and no
second place that knows the tenants.
"""

from collections.abc import Callable, Iterable

from schemas.wire.decoder import long_at

RetentionDays = Callable[[str], int]
"""Days by tenant."""

DEFAULT_DAYS = 365
TENANT_OFFSET = 1 + 36
"""Where an event's time begins in its bytes: behind its id, a text of 36 bytes. The tenant follows
the time.
"""


def default_days(tenant: str) -> int:
    """The days where no definition and no setting says otherwise."""
    return DEFAULT_DAYS


def days_of(bodies: Iterable[bytes], kept: RetentionDays) -> list[int]:
    """How many days each of the encoded events is kept. Each tenant is looked up once."""
    known: dict[bytes, int] = {}
    made = []
    for body in bodies:
        tenant = tenant_of(body)
        days = known.get(tenant)
        if days is None:
            days = known[tenant] = kept(tenant.decode())
        made.append(days)
    return made


def tenant_of(body: bytes) -> bytes:
    """The tenant of an encoded event: its third field, after id and time."""
    place = TENANT_OFFSET
    while body[place] > 127:
        place += 1
    size, place = long_at(body, place + 1)
    return body[place : place + (size >> 1)]
