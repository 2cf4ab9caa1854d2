"""Accounts for every attempt at a model, used or wasted, and for circuit breakers that moved.

An attempt that answered is priced by its tokens. One that surely cost nothing (nobody listened, the
other side refused it) costs 0. One that was given up on, or that a crash left behind (`abandoned`:
the answer's runner found its question read by a runner before it), may be on the bill: its cost
stays open, and is never taken for nothing.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from processors.common.text import label
from processors.usage.metering import add_cost, add_tokens
from processors.usage.prices import price
from schemas.definitions.kinds import Definitions
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.agent.runs import ToolCalled
from schemas.events.attempts import AttemptEnded
from schemas.events.operations import BreakerMoved
from schemas.events.values import Attempt, Tokens
from schemas.ports import Tried


def made_of(
    tried: tuple[Tried, ...],
    at: datetime,
    definitions: Definitions,
    answer_usd: Decimal | None = None,
) -> tuple[Attempt, ...]:
    """The attempts as they stand on an event. `answer_usd` is the price of the one that was taken."""
    return tuple(
        Attempt(
            model=label(one.endpoint),
            provider=label(one.provider),
            reason=label(one.reason),
            after_ms=max(0, one.after_ms),
            wait_ms=max(0, one.wait_ms),
            tokens=one.tokens or Tokens(),
            cost_usd=_cost(one, at, definitions, answer_usd),
            wasted=one.wasted,
            hedge=one.hedge,
        )
        for one in tried
    )


def waste_of(attempts: tuple[Attempt, ...]) -> dict[str, Any]:
    """What the attempts took whose answers were not used, as far as it is known."""
    tokens, cost_usd = Tokens(), None
    for one in attempts:
        if one.wasted:
            tokens = add_tokens(tokens, one.tokens)
            if one.tokens != Tokens():
                cost_usd = add_cost(cost_usd or Decimal(0), one.cost_usd)
    return {"wasted_tokens": tokens, "wasted_usd": cost_usd}


def book(said: ModelResponded | ModelFailed) -> list[AttemptEnded]:
    """Every attempt as an event of its own, so that what was wasted can be added up."""
    return [
        said.then(
            AttemptEnded,
            nth,
            nth=nth,
            model=one.model,
            provider=one.provider,
            reason=one.reason,
            after_ms=one.after_ms,
            wait_ms=one.wait_ms,
            tokens=one.tokens,
            cost_usd=one.cost_usd,
            wasted=one.wasted,
            hedge=one.hedge,
        )
        for nth, one in enumerate(said.attempts_made, 1)
    ]


def moves(asked: ModelAsked | ToolCalled, answer: Any) -> list[BreakerMoved]:
    """What the port told of its breakers with this answer. Nothing else is told by an answer out of
    a cache, or by none.
    """
    return [
        asked.then(
            BreakerMoved,
            nth,
            at=one.at,
            kind=one.kind,
            provider=label(one.provider),
            name=label(one.name),
            state=one.state,
            open_ms=max(0, one.open_ms),
            runner=label(one.runner),
        )
        for nth, one in enumerate(answer.moved)
    ]


def _cost(
    one: Tried, at: datetime, definitions: Definitions, answer_usd: Decimal | None
) -> Decimal | None:
    if one.tokens is None:
        return None if one.unsure else Decimal(0)
    if not one.wasted:
        return answer_usd
    if not one.usage_known:
        return None
    return price(definitions.model(one.endpoint), one.provider, "", one.tokens, at)
