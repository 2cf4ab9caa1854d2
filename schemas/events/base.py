"""What every event carries, what is known of every class, and how one event leads to the next.

An event is a past fact. A class has one key (`key` names the field) and stands in one topic. Ids
derive from causes, so a replay makes the same ids again and every consumer can drop a repeat.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha1
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from uuid import NAMESPACE_OID, UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schemas.money import PlainDecimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
DAY, MONTH = timedelta(days=1), timedelta(days=30)
QUARTER, THIRTEEN_MONTHS = 3 * MONTH, 13 * MONTH
YEAR = timedelta(days=365)
Audience = Literal["public", "internal"]
"""Public: other services read or write the class, and its topic and schema are a contract."""


def _to_millisecond(at: datetime) -> datetime:
    if at.tzinfo is UTC and not at.microsecond % 1000:
        return at
    if at.tzinfo is None:
        raise ValueError("needs a time zone, e.g. 2026-01-31T12:00:00Z")
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since 1970 of an aware datetime, without floats."""
    past = at - EPOCH
    return (past.days * 86_400 + past.seconds) * 1000 + past.microseconds // 1000


Instant = Annotated[datetime, AfterValidator(_to_millisecond)]
"""A moment in UTC, to the millisecond, as Avro's timestamp-millis and ClickHouse's DateTime64(3)
hold it.
"""

Money = Annotated[PlainDecimal, Field(max_digits=38, decimal_places=12, ge=0)]
"""US dollars, exact: twelve decimals hold a millionth of a token's price."""

Count = Annotated[int, Field(ge=0, le=2**53)]
"""How many: never negative, and small enough for every language's integers."""

BY_KIND = Field(discriminator="kind")
"""Marks a union of classes that their field `kind` tells apart."""

PERSONAL = "personal"
Personal = Annotated[str, PERSONAL]
"""Text that may tell who a person is. The schemas say so, field by field."""


E = TypeVar("E", bound="Event")


class UnprocessableError(Exception):
    """The only exception that a processor raises: this event can never be processed. It becomes a
    dead letter.
    """


class Value(BaseModel):
    """A part of an event: immutable, and closed to fields that nobody declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(Value):
    """What every event has. `at` is event time: when it happened, stamped where it entered Weir.

    What is to be known of a class stands on the class: its family and its key; the team that owns
    it; how long Kafka keeps it (None: for ever, compacted by key); the log that it shares with
    other classes (none: a topic of its own); whether other services may read or write it; which
    scope an API key needs to send it through the gateway (none: it cannot be sent); and the
    ClickHouse table that it lands in; how long the archive keeps it (None: it does not).
    """

    family: ClassVar[str] = ""
    key: ClassVar[str] = "tenant"
    owner: ClassVar[str] = "agent-platform"
    retention: ClassVar[timedelta | None] = MONTH
    log: ClassVar[str] = ""
    archived: ClassVar[timedelta | None] = YEAR
    audience: ClassVar[Audience] = "internal"
    sent_with: ClassVar[str] = ""
    table: ClassVar[str] = ""

    id: UUID
    at: Instant
    tenant: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/]+$")]
    cause: UUID | None = None

    def then(self, kind: type[E], nth: int | str = 0, /, **fields: Any) -> E:
        """The event that this one causes: same moment and tenant, and all fields of the same name,
        unless given. What it keeps elsewhere (`bodies`) is its own.

        `nth` tells several events of one class and one cause apart.
        """
        own = self.__dict__
        made = {name: own[name] for name in _shared(type(self), kind)}
        made.update(fields)
        made["id"], made["cause"] = derived_id(self.id, f"{kind.__name__}/{nth}"), self.id
        return kind.model_validate(made)

    @classmethod
    def about(cls, *subject: Any, **fields: Any) -> Self:
        """An event that no single event causes: its id derives from what it is about."""
        return cls(
            id=derived_id(NAMESPACE_OID, "/".join(map(str, (cls.__name__, *subject)))), **fields
        )

    @classmethod
    def topic(cls) -> str:
        """The topic that holds this class: a shared log, e.g. `weir.session.records`, or one of its
        own, e.g. `weir.agent.run-finished`.
        """
        return f"weir.{cls.log}" if cls.log else f"weir.{cls.family}.{kebab(cls.__name__)}"

    def partition_key(self) -> str:
        """The Kafka key, and the key of any state built from it. No two tenants ever share one."""
        return self.tenant if self.key == "tenant" else f"{self.tenant}/{getattr(self, self.key)}"


class SessionEvent(Event):
    """An event of a session: a conversation of one user with one agent, in order."""

    key: ClassVar[str] = "session"
    session: Annotated[str, Field(min_length=1, max_length=200)]


class DocumentEvent(Event):
    """An event of a document of a tenant's knowledge."""

    key: ClassVar[str] = "document"
    document: Annotated[str, Field(min_length=1, max_length=500)]


UUID_BITS = (1 << 128) - 1 ^ (0xF000 << 64 | 0xC000 << 48)
UUID_5 = 5 << 76 | 0x8000 << 48


def derived_id(space: UUID, name: str) -> UUID:
    """The same as `uuid.uuid5`, in a third of its time, and for every text that JSON can carry:
    lone surrogates too.
    """
    encoded = space.bytes + name.encode("utf-8", "surrogatepass")
    digest = int.from_bytes(sha1(encoded, usedforsecurity=False).digest()[:16], "big")
    return UUID(int=digest & UUID_BITS | UUID_5)


def kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


@cache
def _shared(cause: type[Event], kind: type[Event]) -> tuple[str, ...]:
    return tuple(
        n
        for n in cause.model_fields
        if n in kind.model_fields and n not in ("id", "cause", "bodies")
    )
