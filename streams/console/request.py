"""A request to the console: who reads, which tenant and time, and the parameters of the queries.

A reader is authenticated as elsewhere in the gateway: by an API key, kept in a cookie that no
script can read and no other site can send; on the embedded stack of this machine no key is needed.
A key sees its own tenant.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from schemas.definitions.api_keys import Scope
from streams.console.queries import BUCKETS, OF_ALL, ROWS_SHOWN, query
from streams.gateway.auth import KEY_FORM, Caller, check_host, needs_keys
from streams.gateway.auth import caller_of_key as of_key
from streams.gateway.context import Gateway
from streams.gateway.errors import ProblemError

COOKIE = "weir_key"
HOURS = {1: "last hour", 24: "last day", 168: "last week", 720: "last month"}
HOURS_MAX = 8_784
FILTERS = ("agent", "outcome", "user", "words")
PLACE = ("before", "below")
"""Time and id of the last row of the page before."""


class SignInNeededError(Exception):
    """The reader is unknown: the page to sign in is shown instead."""


@dataclass(frozen=True)
class PageRequest:
    """A reader, and what the page's address asks for."""

    caller: Caller
    gateway: Gateway
    tenant: str
    hours: int
    filters: dict[str, str]
    place: dict[str, str]
    path: str

    @property
    def words(self) -> str:
        """The time that is shown, in words."""
        return HOURS.get(self.hours, f"last {self.hours:,} hours")

    @property
    def sees_all(self) -> bool:
        """Whether the reader may see figures of all tenants together."""
        return not self.caller.tenant or self.may("admin")

    async def rows(self, name: str, **more: Any) -> list[dict[str, Any]]:
        """The rows of a query of the console. Raises ProblemError 503 where ClickHouse is down."""
        if name in OF_ALL and not self.sees_all:
            return []
        return await self.gateway.rows(
            query(name).sql, **self.parameters(**query(name).parameters | more)
        )

    async def all(self, *names: str, **more: Any) -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(self.rows(name, **more) for name in names))

    def parameters(self, **more: Any) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "hours": self.hours,
            "step_s": self.step_s,
            "limit": ROWS_SHOWN,
            **self.filters,
            **self.place,
            **more,
        }

    @property
    def step_s(self) -> int:
        """The seconds that one point of a chart covers."""
        return next(step for hours, step in BUCKETS if self.hours <= hours)

    def query(self, **more: Any) -> dict[str, Any]:
        """The parameters of a link, so that the next page shows the same time and tenant."""
        held = {"hours": self.hours} | (
            {"tenant": self.tenant} if not self.caller.tenant and self.tenant else {}
        )
        return held | more

    def may(self, scope: Scope) -> bool:
        return self.caller.may(scope)


async def page_request(request: Request) -> PageRequest:
    """The reader and what is asked. Raises SignInNeededError."""
    gateway = request.app.state.gateway
    asked = request.query_params
    caller = _caller(request, gateway)
    if not caller.may("read"):
        raise ProblemError(
            403,
            "no_scope",
            "this key may not read: `weir keys add --scope read` makes one that may",
        )
    hours = asked.get("hours", "24")
    hours = int(hours) if re.fullmatch("[0-9]{1,4}", hours) and 1 <= int(hours) <= HOURS_MAX else 24
    filters, place = (
        {name: asked.get(name, "").strip() for name in names} for names in (FILTERS, PLACE)
    )
    return PageRequest(
        caller,
        gateway,
        caller.tenant or asked.get("tenant", "").strip(),
        hours,
        filters,
        place,
        request.url.path,
    )


def _caller(request: Request, gateway: Gateway) -> Caller:
    found = KEY_FORM.fullmatch(request.cookies.get(COOKIE, ""))
    if found:
        try:
            return of_key(gateway.link.current_definitions().key(found[1]), found[2])
        except ProblemError as problem:
            raise SignInNeededError(problem.detail) from problem
    if needs_keys(gateway.settings):
        raise SignInNeededError("")
    check_host(request)
    return Caller("")  # this machine's own stack: every tenant


PageRequestOf = Annotated[PageRequest, Depends(page_request)]
