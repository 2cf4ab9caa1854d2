"""The definition of an API key of the gateway."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from schemas.definitions.base import Definition
from schemas.events.base import Instant
from schemas.events.values import Label, Name

Scope = Literal["request", "read", "feedback", "approve", "admin", "telemetry"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32,64}$")]


class ApiKey(Definition):
    """Who may call the gateway, for which tenant, to do what. The secret is not here: only SHA-256
    of salt and secret.

    `subject` is the person whose key it is: their word on an approval is that of this name, else of
    the key's. `roles` are those of the people whose words on approvals come with this key.
    """

    kind: ClassVar[str] = "key"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")]
    tenant: Name
    scopes: tuple[Scope, ...] = ("request", "read", "feedback")
    subject: Label = ""
    roles: tuple[Label, ...] = ()
    salt: Hex
    sha256: Hex
    expires: Instant | None = None
