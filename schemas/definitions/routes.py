"""Routes: which models may be called, in which order, with which checks and hedges."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.events.base import Count, Value
from schemas.events.values import Name
from schemas.money import PlainDecimal

Need = Literal["tools", "json_schema", "vision"]
"""What a question may need of a model; each is the name of a field of `Model`."""


class Candidate(Value):
    """A model that a route may choose: only for questions that need all of `needs`, are thought to
    cost no more than `max_cost_usd`, and come from one of `tenants` (none named: from any). `share`
    is its weight among the others.
    """

    model: Name
    share: Annotated[float, Field(gt=0)] = 1
    needs: tuple[Need, ...] = ()
    max_cost_usd: Annotated[PlainDecimal, Field(gt=0)] | None = None
    tenants: tuple[Name, ...] = ()


class Hedge(Value):
    """After so long without an answer the next model is asked too, for at most this share of the
    calls.
    """

    after_ms: Annotated[int, Field(ge=1)]
    budget: Annotated[float, Field(gt=0, le=1)] = 0.05


class Check(Value):
    """What an answer in words must be like to be taken from a cheap model. An answer that calls
    tools is taken.
    """

    json_schema: dict[str, Any] | None = None
    min_chars: Count = 0
    max_chars: Count | None = None
    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()


class Cache(Value):
    """The same question of the same tenant gets the same answer again, for so long."""

    ttl_s: Annotated[int, Field(ge=1, le=30 * 86_400)]
