"""Events on signals from outside that a workflow waits for."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.events.base import Audience, Personal, SessionEvent
from schemas.events.values import Label

FAMILY = "agent"


class Signalled(SessionEvent):
    """A service tells a session that something happened: a payment came, a parcel left. `payload`
    is JSON, or a text.

    The node that waits for this name goes on with the payload; where none waits yet, it is kept for
    the one that will.
    """

    family: ClassVar[str] = FAMILY
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "request"
    name: Annotated[Label, Field(min_length=1)]
    payload: Personal = ""


class SignalRefused(SessionEvent):
    """A signal that was not kept: too many wait in the session already, or it is too large. It may
    be sent again.
    """

    family: ClassVar[str] = FAMILY
    log: ClassVar[str] = "session.records"
    table: ClassVar[str] = "refused_signals"
    name: Label
    reason: Literal["too_many", "too_large"]
    detail: str = ""
