"""Two small stages for the stage worker's tests: every shape, on events of the catalogue.

`count` numbers what a tenant asks and says it twice: to a session (re-keyed), and inside the stage
(fused), where an Each and a Window go on with it. `remind` answers a cancelled run 300 ms later, by
a timer. Some texts misbehave.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel

from schemas.events.agent.runs import (
    AgentRequested,
    RequestAdmitted,
    RequestBlocked,
    RequestRefused,
    RunCancelled,
    RunSettled,
    Woke,
)
from schemas.events.base import UnprocessableError
from schemas.events.usage import TokensUsed, UsageTotalled
from schemas.events.values import Tokens
from streams.engine.shapes import Each, Fold, Step, Tumbling, Window

REMIND_AFTER = timedelta(milliseconds=300)
HUGE = 9 * 1024 * 1024


class Seen(BaseModel):
    n: int = 0
    padding: str = ""


class Total(BaseModel):
    calls: int = 0
    tokens: int = 0


class Waiting(BaseModel):
    wake_at: datetime | None = None
    woke: int = 0


def count(
    seen: Seen, event: AgentRequested | RunSettled
) -> tuple[Seen, list[RequestAdmitted | TokensUsed]]:
    text = getattr(event, "text", "")
    if text == "unprocessable":
        raise UnprocessableError("nobody can")
    if text == "error":
        raise ZeroDivisionError("a mistake in a step")
    if text == "huge state":
        return Seen(n=seen.n, padding="x" * HUGE), []
    n = seen.n + 1
    session = event.session or "s"
    run = getattr(event, "run", event.id)
    said = "x" * HUGE if text == "huge" else str(n)
    return Seen(n=n, padding=seen.padding), [
        event.then(RequestAdmitted, session=session, run=run, agent="toy", text=said),
        event.then(
            TokensUsed,
            session=session,
            run=run,
            agent="toy",
            agent_version=1,
            model="m",
            provider="p",
            tokens=Tokens(input_tokens=n),
        ),
    ]


def refuse_thirds(used: TokensUsed) -> list[RequestRefused]:
    if used.tokens.input_tokens % 3 == 0:
        return [
            used.then(RequestRefused, text="", reason="quota", detail=str(used.tokens.input_tokens))
        ]
    return []


def add(total: Total, used: TokensUsed) -> Total:
    return Total(calls=total.calls + 1, tokens=total.tokens + used.tokens.input_tokens)


def close(tenant: str, start: datetime, end: datetime, total: Total) -> list[UsageTotalled]:
    return [
        UsageTotalled.about(
            tenant,
            start,
            at=start,
            tenant=tenant,
            until=end,
            calls=total.calls,
            unpriced_calls=0,
            tokens=Tokens(input_tokens=total.tokens),
            cost_usd=0,
        )
    ]


def remind(state: Waiting, event: RunCancelled | Woke) -> tuple[Waiting, list[RequestBlocked]]:
    if isinstance(event, Woke):
        return Waiting(woke=state.woke + 1), [
            event.then(
                RequestBlocked, run=event.id, agent="toy", rule="woke", detail=str(state.woke + 1)
            )
        ]
    return Waiting(wake_at=event.at + REMIND_AFTER, woke=state.woke), []


TOY = (
    Step("count", Fold(Seen, count)),
    Step("thirds", Each(refuse_thirds)),
    Step(
        "total",
        Window(
            Total, add, close, Tumbling(timedelta(seconds=1)), grace=timedelta(milliseconds=500)
        ),
    ),
    Step("remind", Fold(Waiting, remind, wakes=Woke)),
)
