"""Chooses which models may take a request, and in which order they are tried.

All that can be known before asking is decided here, from the definitions and the question alone, so
that the same question goes the same way again; what has to be measured (who is fast, who is down)
is the port's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from processors.agent.conversation.messages import chars_in
from processors.common.text import CHARS_A_TOKEN
from processors.usage.prices import price
from schemas.definitions.kinds import Definitions, Model, Route
from schemas.definitions.routes import Candidate, Need
from schemas.events.agent.models import ModelAsked
from schemas.events.values import Tokens
from schemas.money import money_text
from schemas.ports import ChatAnswer, Impossible

OUTPUT_TOKENS = 1_000
"""What an answer is thought to take where the question sets no limit."""


@dataclass(frozen=True)
class Chosen:
    """The models to ask, in order; the first `candidates` of them are the route's own, the others
    fallbacks.
    """

    models: tuple[Model, ...]
    candidates: int = 0
    route: Route | None = None


def choose(asked: ModelAsked, definitions: Definitions) -> Chosen | Impossible:
    """A model's name is that model. Whoever cannot take the question is left out, and told where
    nobody is left.
    """
    model, route = definitions.model(asked.model), definitions.route(asked.model)
    if model or route is None:
        names, unfit = (asked.model, *asked.fallback), dict[str, str]()
        models = _able(names, asked, needs_of(asked) - {"json_schema"}, definitions, unfit)
        return Chosen(models) if models else _nobody(asked, unfit)
    return _by_route(route, asked, definitions)


def needs_of(asked: ModelAsked) -> frozenset[Need]:
    """What the question shows that it needs."""
    needs: set[Need] = set()
    if asked.tools:
        needs.add("tools")
    if getattr(asked, "output_schema", None):
        needs.add("json_schema")
    return frozenset(needs)


def tokens_in(asked: ModelAsked) -> Tokens:
    """What the question is thought to take: a token has about four characters."""
    return Tokens(
        input_tokens=chars_of(asked) // CHARS_A_TOKEN,
        output_tokens=asked.max_output_tokens or OUTPUT_TOKENS,
    )


def chars_of(asked: ModelAsked) -> int:
    """The characters of a question, with its tools and the conversation that it follows."""
    tools = sum(len(tool.name + tool.description + tool.parameters) for tool in asked.tools)
    return asked.follows_chars + chars_in(asked.messages) + tools


def unrouted(
    asked: ModelAsked, answer: ChatAnswer, cost_usd: Decimal | None, definitions: Definitions
) -> Decimal | None:
    """What an answer's tokens would have cost at the dearest model that its route could have
    chosen, whatever the shares and the bounds on cost; None without a route, where a fallback
    answered, or where nobody knows what it did cost.
    """
    route = definitions.route(asked.model)
    if cost_usd is None or route is None or definitions.model(asked.model):
        return None
    needs, unfit = needs_of(asked) | set(route.needs), dict[str, str]()
    named = route.cascade or [
        c.model
        for c in route.candidates
        if _admits(c.model_copy(update={"max_cost_usd": None}), asked, needs, definitions, unfit)
    ]
    able = {model.name: model for model in _able(named, asked, needs, definitions, unfit)}
    if answer.endpoint not in able:
        return None
    others = (
        price(model, model.provider, "", answer.tokens, answer.started_at, answer.service_tier)
        for name, model in able.items()
        if name != answer.endpoint
    )
    return max([cost_usd, *(usd for usd in others if usd is not None)])


def _by_route(route: Route, asked: ModelAsked, definitions: Definitions) -> Chosen | Impossible:
    needs, unfit = needs_of(asked) | set(route.needs), dict[str, str]()
    if route.cascade:
        own = _able(route.cascade, asked, needs, definitions, unfit)
    else:
        open_to = [c for c in route.candidates if _admits(c, asked, needs, definitions, unfit)]
        able = {m.name for m in _able([c.model for c in open_to], asked, needs, definitions, unfit)}
        ordered = _ordered(route, [c for c in open_to if c.model in able], asked, definitions)
        own = tuple(model for c in ordered if (model := definitions.model(c.model)))
    names = {model.name for model in own}
    fallback = _able(
        [name for name in (*route.fallback, *asked.fallback) if name not in names],
        asked,
        needs,
        definitions,
        unfit,
    )
    return Chosen((*own, *fallback), len(own), route) if own or fallback else _nobody(asked, unfit)


def _able(
    names: tuple[str, ...] | list[str],
    asked: ModelAsked,
    needs: frozenset[Need] | set[Need],
    definitions: Definitions,
    unfit: dict[str, str],
) -> tuple[Model, ...]:
    """The models of these names that can take the question, each once; why the others cannot goes
    into `unfit`.
    """
    found: dict[str, Model] = {}
    for name in names:
        model = definitions.model(name)
        if model is None:
            unfit[name] = "is not defined"
            continue
        lacking = [*_lacking(model, needs, asked)]
        if lacking:
            unfit[name] = " and ".join(lacking)
        else:
            found.setdefault(name, model)
    return tuple(found.values())


def _lacking(model: Model, needs: frozenset[Need] | set[Need], asked: ModelAsked) -> Iterator[str]:
    for need in sorted(needs):
        if not getattr(model, need):
            yield f"has not `{need}: true`"
    if model.context_tokens is not None:
        tokens = tokens_in(asked).input_tokens
        if tokens > model.context_tokens:
            yield f"takes {model.context_tokens:,} tokens, the question has about {tokens:,}"


def _admits(
    candidate: Candidate,
    asked: ModelAsked,
    needs: frozenset[Need] | set[Need],
    definitions: Definitions,
    unfit: dict[str, str],
) -> bool:
    why = ""
    if candidate.tenants and asked.tenant not in candidate.tenants:
        why = f"is not for tenant {asked.tenant!r}"
    elif not set(candidate.needs) <= needs:
        why = f"is only for questions that need {', '.join(candidate.needs)}"
    elif candidate.max_cost_usd is not None:
        cost_usd = _cost(candidate.model, asked, definitions)
        if cost_usd is None:
            why = "has no known price, and max_cost_usd is set"
        elif cost_usd > candidate.max_cost_usd:
            why = (
                f"would cost about {money_text(cost_usd)} USD, more than "
                f"{money_text(candidate.max_cost_usd)}"
            )
    if why:
        unfit.setdefault(candidate.model, why)
    return not why


def _ordered(
    route: Route, candidates: list[Candidate], asked: ModelAsked, definitions: Definitions
) -> list[Candidate]:
    if route.by == "share" and candidates:
        return [_drawn(route, candidates, asked)]
    if route.by == "cost":
        costs = [_cost(candidate.model, asked, definitions) for candidate in candidates]
        # Of equal costs the order is the written one; an unknown cost comes last.
        order = sorted(
            (Decimal("Infinity") if cost_usd is None else cost_usd, place)
            for place, cost_usd in enumerate(costs)
        )
        return [candidates[place] for _, place in order]
    return candidates


def _drawn(route: Route, candidates: list[Candidate], asked: ModelAsked) -> Candidate:
    """One of them by its share: a run keeps its draw, whatever step it is at, and a replay draws
    the same.
    """
    drawn = (
        int.from_bytes(hashlib.sha256(f"{route.name}/{asked.run}".encode()).digest()[:8], "big")
        / 2**64
    )
    left = drawn * sum(candidate.share for candidate in candidates)
    for candidate in candidates:
        left -= candidate.share
        if left < 0:
            return candidate
    return candidates[-1]


def _cost(name: str, asked: ModelAsked, definitions: Definitions) -> Decimal | None:
    model = definitions.model(name)
    return price(model, model.provider, "", tokens_in(asked), asked.at) if model else None


def _nobody(asked: ModelAsked, unfit: dict[str, str]) -> Impossible:
    if all(why == "is not defined" for why in unfit.values()):
        return Impossible(
            "unknown_model",
            f"no model or route {asked.model!r} is defined: apply it, or change the agent's model",
        )
    reasons = "; ".join(f"{name} {why}" for name, why in unfit.items())
    return Impossible(
        "no_capable_model",
        f"no model can take this question: {reasons}. Add a candidate or a fallback "
        f"that can to {asked.model!r}",
    )
