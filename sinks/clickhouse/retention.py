"""How long are the rows of a tenant kept, and whose row is it, before it has been read?

The days stand in each row when it lands, and the tables' TTL looks at nothing else: no mutation,
and no second place that knows the tenants.
"""

from collections.abc import Callable, Iterable

from schemas.wire.decoder import long_at

Kept = Callable[[str], int]
"""Days by tenant."""

USUAL_DAYS = 365
AT = 1 + 36
"""Where an event's time stands in its bytes: behind its id, a text of 36 bytes, and the tenant
behind it.
"""


def usual(tenant: str) -> int:
    """What holds where no definition says otherwise and nothing was set."""
    return USUAL_DAYS


def days_of(bodies: Iterable[bytes], kept: Kept) -> list[int]:
    """Of events in Avro: how many days each is kept. Each tenant is asked for once."""
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
    """The third field, as every event has it: id, time, tenant."""
    place = AT
    while body[place] > 127:
        place += 1
    size, place = long_at(body, place + 1)
    return body[place : place + (size >> 1)]
