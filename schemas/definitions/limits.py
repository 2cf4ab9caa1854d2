"""Limits of a run, of its context window, of approvals, and thresholds of drift.

Parts of definitions (`schemas/definitions/kinds.py`), each with a default that asks nothing of
anybody.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from schemas.events.base import Value
from schemas.events.values import Label
from schemas.money import PlainDecimal


class Limits(Value):
    """When a run is stopped, whatever it is doing; how deep agents may ask agents, and how many in
    one turn.

    `cost_usd` counts what the agents cost that a run asked, too. Time in which a run waits for
    people only is not counted in `seconds`; `waiting_seconds` bounds the wait for a user. At the
    `repeats`-th equal call in a row with an equal result a run is stopped, and the model is told
    before; null never stops it for that.
    """

    steps: Annotated[int, Field(ge=1)] = 12
    tokens: Annotated[int, Field(ge=1)] = 200_000
    cost_usd: Annotated[PlainDecimal, Field(gt=0)] = Decimal("1")
    seconds: Annotated[float, Field(gt=0)] = 300
    depth: Annotated[int, Field(ge=0)] = 3
    fan_out: Annotated[int, Field(ge=1)] = 20
    repeats: Annotated[int, Field(ge=3)] | None = 5
    waiting_seconds: Annotated[float, Field(gt=0, le=366 * 86_400)] = 7 * 86_400


class Drift(Value):
    """When an hour of an agent differs from the week before by so much that it is told: by PSI, for
    numbers also by KS.

    Both have to be beyond chance too. Not below so many runs in the hour (`hour_runs`) and before
    it (`reference_runs`).
    """

    psi: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.25
    ks: Annotated[float, Field(gt=0, le=1)] = 0.1
    reference_runs: Annotated[int, Field(ge=1)] = 200
    hour_runs: Annotated[int, Field(ge=1)] = 30
    enabled: bool = True


class Approval(Value):
    """Who must agree before a tool is called: names or roles, one of which is enough. No word in
    time is a no.

    `override`: who agrees may change the arguments, within the tool's schema. `when`: only calls
    for which this CEL expression over the arguments is true, e.g. `double(input.amount) > 100.0`;
    one that has no value asks too.
    """

    by: Annotated[tuple[Label, ...], Field(min_length=1)]
    timeout_s: Annotated[float, Field(gt=0, le=366 * 86_400)] = 86_400
    override: bool = False
    when: str = ""


class Context(Value):
    """What of a long conversation a model is shown, by a budget of estimated tokens (four
    characters each).

    Over it, results of tools older than the last `recent_turns` turns of the model are shortened,
    and then all that is older is summarised by a model call of its own, or left out where `summary`
    is off.
    """

    tokens: Annotated[int, Field(ge=500, le=350_000)] = 32_000
    recent_turns: Annotated[int, Field(ge=1)] = 6
    tool_result_chars: Annotated[int, Field(ge=100)] = 4_000
    summary: bool = True
