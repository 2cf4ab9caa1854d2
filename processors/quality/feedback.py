"""Joins a person's feedback with the run, version and outcome that it is about, whenever it comes.

Before the run's end it waits; afterwards it is joined at once, weeks later too. A session remembers
its last runs.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from processors.common.text import ms_between
from schemas.events.agent.runs import RunFinished
from schemas.events.feedback import FeedbackGiven, FeedbackJoined
from schemas.events.values import Outcome

RUNS_REMEMBERED = 1_000
WAITING_MAX = 1_000


@dataclass(frozen=True)
class Ended:
    """What feedback needs to know of a run that is over."""

    at: datetime
    agent: str
    agent_version: int
    outcome: Outcome
    model: str
    cost_usd: Decimal | None


@dataclass(frozen=True)
class Runs:
    """A session's runs by id (hex), oldest first, and the feedback whose run has not ended yet."""

    ended: dict[str, Ended] = field(default_factory=dict)
    waiting: tuple[FeedbackGiven, ...] = ()


def join(runs: Runs, event: RunFinished | FeedbackGiven) -> tuple[Runs, list[FeedbackJoined]]:
    """The same is said in whichever order the two come."""
    if isinstance(event, FeedbackGiven):
        run = runs.ended.get(event.run.hex)
        if run:
            return runs, [_joined(event, run)]
        return Runs(runs.ended, (*runs.waiting, event)[-WAITING_MAX:]), []
    run = Ended(
        event.at, event.agent, event.agent_version, event.outcome, event.model, event.cost_usd
    )
    ended = {**runs.ended, event.run.hex: run}
    if len(ended) > RUNS_REMEMBERED:
        del ended[next(iter(ended))]
    joined = [_joined(feedback, run) for feedback in runs.waiting if feedback.run == event.run]
    return Runs(
        ended, tuple(feedback for feedback in runs.waiting if feedback.run != event.run)
    ), joined


def _joined(feedback: FeedbackGiven, run: Ended) -> FeedbackJoined:
    return feedback.then(
        FeedbackJoined,
        at=max(feedback.at, run.at),
        agent=run.agent,
        agent_version=run.agent_version,
        outcome=run.outcome,
        model=run.model,
        run_cost_usd=run.cost_usd,
        delay_ms=ms_between(run.at, feedback.at),
    )
