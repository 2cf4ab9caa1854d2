"""Authentication and authorisation: who calls, for which tenant, with which scopes.

A key is `weir_<name>_<secret>`; the definition of that name holds a salt and SHA-256 of salt and
secret, never the secret. The secret has 256 random bits, so a fast hash is enough. The tenant is
the key's: no body can name another. Without keys only callers on this machine are served, on the
embedded stack, and they name their tenant in a header.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from schemas.definitions.api_keys import SCOPES, ApiKey, Scope
from streams.config import Settings
from streams.engine.client import now
from streams.gateway.errors import ProblemError

KEY_FORM = re.compile(r"weir_([A-Za-z0-9][A-Za-z0-9.-]{0,99})_([A-Za-z0-9-]{20,100})")
TENANT_HEADER = "weir-tenant"
ROLES_HEADER = "weir-roles"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request: the tenant, the key's name and owner (empty without a key), and its
    scopes.
    """

    tenant: str
    key: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)
    roles: tuple[str, ...] = ()
    subject: str = ""

    def says(self, by: str, note: str) -> tuple[str, str]:
        """Who decides with this key, and the note. Another name that was typed is ignored and
        stands in the note; without a key it is believed, as everything from this machine is.
        """
        known = self.subject or self.key
        if not known or by in ("", known):
            return by or known, note
        return known, ": ".join(filter(None, (f"in the name of {by}", note)))

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def new_key(
    name: str, tenant: str, scopes: tuple[Scope, ...], expires: datetime | None = None, **more: Any
) -> tuple[str, ApiKey]:
    """A new key for its owner, and its definition."""
    secret = secrets.token_hex(32)
    salt = secrets.token_hex(16)
    return f"weir_{name}_{secret}", ApiKey(
        name=name,
        tenant=tenant,
        scopes=scopes,
        salt=salt,
        sha256=hash_of(salt, secret),
        expires=expires,
        **more,
    )


def hash_of(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()


def needs_keys(settings: Settings) -> bool:
    """Whether callers need a key: not where only this machine can call, and the stack is the
    embedded one.
    """
    return settings.gateway_keys or settings.gateway_host not in LOOPBACK or bool(settings.kafka)


def caller_of(request: Request) -> Caller:
    """The caller of a request. Raises ProblemError 401."""
    gateway = request.app.state.gateway
    given = _given(request)
    found = KEY_FORM.fullmatch(given)
    if found:
        return caller_of_key(gateway.link.current_definitions().key(found[1]), found[2])
    if needs_keys(gateway.settings):
        raise ProblemError(
            401,
            "no_key" if not given else "bad_key",
            "send an API key as `Authorization: Bearer weir_…`; `weir keys add` makes one",
        )
    check_host(request)
    tenant = request.headers.get(TENANT_HEADER, "")
    if not re.fullmatch(r"[^/]{1,200}", tenant):
        raise ProblemError(
            401,
            "no_tenant",
            f"say who asks: an API key (`weir keys add`), or, on this machine, the header "
            f"{TENANT_HEADER} with a tenant's name",
        )
    return Caller(
        tenant, roles=tuple(filter(None, request.headers.get(ROLES_HEADER, "").split(",")))
    )


def check_host(request: Request) -> None:
    """Refuses a host name that another site may own (DNS rebinding): without keys its pages would
    be served as this machine's user. Raises ProblemError 403.
    """
    name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if "." in name and not name.startswith("127.") and not name.endswith(".localhost"):
        raise ProblemError(
            403,
            "other_host",
            f"without API keys this is served at http://localhost only, not at {name[:100]!r}: "
            "use that address, or set WEIR_GATEWAY_KEYS=true and make a key with `weir keys add`",
        )


def _given(request: Request) -> str:
    """The key as OpenAI's clients send it, or as Anthropic's do."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return (
        token.strip()
        if scheme.lower() == "bearer"
        else request.headers.get("x-api-key", "").strip()
    )


def caller_of_key(key: Any, secret: str) -> Caller:
    """The caller of a key. An unknown key and a wrong secret get the same error, so a guesser
    learns nothing. Raises ProblemError 401.
    """
    right = hmac.compare_digest(hash_of(key.salt if key else "", secret), key.sha256 if key else "")
    if not right:
        raise ProblemError(
            401,
            "bad_key",
            "this API key is not valid: it was revoked, or never was one; `weir keys list` "
            "shows those that are",
        )
    if key.expires and key.expires <= now():
        raise ProblemError(
            401,
            "expired_key",
            f"this API key expired at {key.expires.isoformat()}: `weir keys add` makes a new one",
        )
    return Caller(key.tenant, key.name, frozenset(key.scopes), key.roles, key.subject)


def needs(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who has this scope. Raises ProblemError 401 or 403."""

    async def allowed(request: Request) -> Caller:
        caller = caller_of(request)
        if not caller.may(scope):
            raise ProblemError(
                403,
                "no_scope",
                f"the key {caller.key} may not do this: it needs the scope {scope!r} "
                f"(`weir keys add --scope {scope}`), it has {', '.join(sorted(caller.scopes))}",
            )
        return caller

    return allowed


async def anyone(request: Request) -> Caller:
    """The caller, whatever its scopes. Raises ProblemError 401."""
    return caller_of(request)


Anyone = Annotated[Caller, Depends(anyone)]
Requester = Annotated[Caller, Depends(needs("request"))]
Reader = Annotated[Caller, Depends(needs("read"))]
FeedbackSender = Annotated[Caller, Depends(needs("feedback"))]
Approver = Annotated[Caller, Depends(needs("approve"))]
TelemetrySender = Annotated[Caller, Depends(needs("telemetry"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
