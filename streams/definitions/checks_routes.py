"""Checks model routes: their models exist, and one of them can do what agents need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from processors.common.json_schema import schema_error
from processors.usage.prices import price
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Route
from schemas.events.values import Tokens
from streams.engine.client import now

Defined = Mapping[tuple[str, str], Definition]


def mistakes(sources: Sequence[Any]) -> Iterator[str]:
    """Sentences with file and line on what is wrong. `sources` are those of `checks`."""
    defined = {
        (source.definition.kind, source.definition.name): source.definition for source in sources
    }
    for source in sources:
        match source.definition:
            case Route():
                yield from _of_route(source, source.definition, defined)
            case Agent():
                yield from _of_agent(source, source.definition, defined)


def _of_route(source: Any, route: Route, defined: Defined) -> Iterator[str]:
    if ("model", route.name) in defined:
        yield source.says(
            f"there is a model {route.name!r} too, and an agent could mean either: rename one",
            "name",
        )
    yield from _of_candidates(source, route, defined)
    for key in ("cascade", "fallback"):
        for nth, name in enumerate(getattr(route, key)):
            yield from _missing(source, "model", name, defined, key, nth)
    for need in route.needs:
        models = [defined.get(("model", name)) for name in names_of(route)]
        if not any(getattr(model, need, False) for model in models):
            yield source.says(
                f"none of its models has `{need}: true`: add one that has, or remove the need",
                "needs",
            )
    if route.check and route.check.json_schema is not None:
        wrong = schema_error(route.check.json_schema)
        if wrong:
            yield source.says(
                f"the check's json_schema cannot be used: {wrong}", "check", "json_schema"
            )


def _of_candidates(source: Any, route: Route, defined: Defined) -> Iterator[str]:
    for nth, candidate in enumerate(route.candidates):
        yield from _missing(source, "model", candidate.model, defined, "candidates", nth, "model")
        if candidate.max_cost_usd is not None and not _priced(
            defined.get(("model", candidate.model))
        ):
            yield source.says(
                f"nobody knows the price of {candidate.model!r}, so it would never be chosen: "
                "give its file a "
                "`price`, or remove max_cost_usd",
                "candidates",
                nth,
                "max_cost_usd",
            )
        for tenant in candidate.tenants:
            yield from _missing(source, "tenant", tenant, defined, "candidates", nth, "tenants")


def _of_agent(source: Any, agent: Agent, defined: Defined) -> Iterator[str]:
    """An agent needs a model with its capabilities; missing models are reported elsewhere."""
    chosen = defined.get(("model", agent.model)) or defined.get(("route", agent.model))
    names = (
        (*names_of(chosen), *agent.fallback)
        if isinstance(chosen, Route)
        else (agent.model, *agent.fallback)
    )
    models = [model for name in names if isinstance(model := defined.get(("model", name)), Model)]
    needs = [
        ("tools", bool(agent.tools)),
        ("json_schema", isinstance(chosen, Route) and getattr(agent, "output", None) is not None),
    ]
    for need, needed in needs:
        if needed and models and not any(getattr(model, need) for model in models):
            yield source.says(
                f"the agent needs a model with `{need}: true`, and none of {', '.join(names)} "
                "has it: "
                f"name another, or set it where it is true",
                "model",
            )


def _priced(model: Definition | None) -> bool:
    """Whether the model's price is known today; a missing model is reported elsewhere."""
    return (
        not isinstance(model, Model)
        or price(model, model.provider, "", Tokens(input_tokens=1), now()) is not None
    )


def names_of(route: Route) -> tuple[str, ...]:
    """Every model that the route may call."""
    return (*(candidate.model for candidate in route.candidates), *route.cascade, *route.fallback)


def _missing(
    source: Any, kind: str, name: str, defined: Defined, *where: str | int
) -> Iterator[str]:
    if (kind, name) not in defined:
        known = ", ".join(sorted(other for k, other in defined if k == kind)) or "none"
        yield source.says(
            f"there is no {kind} {name!r} (there are: {known}): correct the name or add its file",
            *where,
        )
