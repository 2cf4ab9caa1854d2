"""The claim check: long fields of an event are stored in the object store and restored from it.

Kafka is for records, not for bodies: what has more than `EVENT_BYTES_MAX` puts its long fields into
an object store by their content, and carries their beginnings, and in `bodies` their keys, as a
JSON object by field. The same text is kept once, however many events carry it. A key names its
tenant: no event reaches what is another tenant's.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from schemas.events.base import Event
from schemas.events.values import Body

E = TypeVar("E", bound=Event)

EVENT_BYTES_MAX = 256 * 1024
FIELD_BYTES = 16 * 1024
"""Of an event that is too large, fields longer than this are kept elsewhere. No class has so many
that the rest counts.
"""
BODY_BYTES_MAX = 64 * 1024 * 1024
HEAD_CHARS = 1_000
TENANT_CHARS = 120
OWN = {"id", "at", "tenant", "session", "run", "cause", "bodies"}
MISSING = "body_missing"
"""Why an event is a dead letter, or a call failed, whose body is kept nowhere any more."""


class MissingBodyError(Exception):
    """What is kept nowhere, or is not what was put: no second look helps."""


class ObjectStoreError(ConnectionError):
    """The object store cannot be asked now. The sentence says what to do."""


class Objects(Protocol):
    """Where bodies are kept, by what they hold: to put one twice does no harm."""

    def put(self, key: str, data: bytes) -> None:
        """Returns when it is stored. Raises ObjectStoreError."""
        ...

    def get(self, key: str, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """What was put. Raises MissingBodyError, ObjectStoreError."""
        ...


def body_of(tenant: str, text: str) -> tuple[Body, bytes]:
    """The reference to a text of a tenant, and the bytes to be kept."""
    data = text.encode("utf-8", "replace")
    digest = hashlib.sha256(data).hexdigest()
    head = head_of(text)
    kind = "application/json" if head.lstrip()[:1] in ("{", "[") else "text/plain"
    return Body(
        key=key_of(tenant, digest), bytes=len(data), sha256=digest, media_type=kind, head=head
    ), data


def head_of(text: str) -> str:
    return text[:HEAD_CHARS].encode("utf-8", "replace").decode()


def key_of(tenant: str, sha256: str) -> str:
    return f"{folder_of(tenant)}/{sha256[:2]}/{sha256}"


def digest_in(key: str) -> str:
    """The SHA-256 of what a key names."""
    return key.rpartition("/")[2]


def folder_of(tenant: str) -> str:
    """The folder that holds all of a tenant's: whatever its name is, no other's and no path."""
    name = quote(tenant.encode("utf-8", "replace"), safe="")
    return f"tenant={name if len(name) <= TENANT_CHARS else '%~' + hashlib.sha256(name.encode()).hexdigest()}"


def stored_of(event: Event) -> str:
    """What an event stores elsewhere: JSON, field to key; empty for classes that store nothing."""
    return getattr(event, "bodies", "")


def parted(event: E, put: Callable[[str, bytes], None]) -> E:
    """The event with its long fields put elsewhere. Raises ObjectStoreError."""
    bodies = json.loads(stored_of(event) or "{}")
    short: dict[str, Any] = {}
    for name in sorted(type(event).model_fields.keys() - OWN - bodies.keys()):
        value = getattr(event, name)
        if not isinstance(value, str | tuple | dict) or not value:
            continue
        text = (
            value
            if isinstance(value, str)
            else json.dumps(
                event.model_dump(mode="json", include={name}, exclude_defaults=True)[name],
                ensure_ascii=False,
            )
        )
        data = text.encode("utf-8", "replace")
        if len(data) > FIELD_BYTES:
            bodies[name] = key_of(event.tenant, hashlib.sha256(data).hexdigest())
            put(bodies[name], data)
            short[name] = head_of(value) if isinstance(value, str) else type(value)()
    return event.model_copy(update={**short, "bodies": json.dumps(bodies)})


def joined(event: E, get: Callable[[str], bytes]) -> E:
    """The event with its long fields as they were. Raises MissingBodyError, ObjectStoreError."""
    try:
        named = json.loads(stored_of(event))
        fields = {name: _value(event, name, key, get) for name, key in named.items()}
        return type(event).model_validate({**event.__dict__, **fields, "bodies": ""})
    except (
        ValueError,
        TypeError,
        RecursionError,
        AttributeError,
    ) as error:  # pydantic's is a ValueError too
        raise MissingBodyError(
            f"bodies {stored_of(event)[:200]!r} do not make the event whole: {error}"[:500]
        ) from error


def _value(event: Event, name: str, key: Any, get: Callable[[str], bytes]) -> Any:
    """A field as it was. Only its own tenant's bodies: an event may come from anybody."""
    own = getattr(event, name, None) if name not in OWN else None
    if (
        not isinstance(own, str | tuple | dict)
        or not isinstance(key, str)
        or key != key_of(event.tenant, digest_in(key))
    ):
        raise MissingBodyError(
            f"{name!r} of a {type(event).__name__} of {event.tenant} is not kept under {key!r}"
        )
    text = get(key).decode("utf-8", "replace")
    return text if isinstance(own, str) else json.loads(text)
