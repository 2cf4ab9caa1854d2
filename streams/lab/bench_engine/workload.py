"""The works that are measured: two steps with their input, the same for every engine.

`fold` keeps a tally a session: 16 fields in, 16 and more out, one state a key. `window` is the
pipeline's own `total_usage`: a tenant's tokens and cost by the minute of event time.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from schemas.events.agent.runs import ToolCalled
from schemas.events.base import Event, milliseconds
from schemas.events.guardrails import VerdictReached
from schemas.events.usage import TokensUsed, UsageTotalled
from schemas.events.values import Tokens
from streams.engine.shapes import Fold, Step
from streams.topology.usage import TOTAL_USAGE

SEED = 7
TENANTS = 500
SEEN_TWICE = 2
EVENTS_A_MINUTE = 5_000


@dataclass(frozen=True)
class Tally:
    """The verdicts of a session so far."""

    verdicts: int = 0
    findings: int = 0
    blocked: int = 0
    last_ms: int = 0


def tally(state: Tally, verdict: VerdictReached) -> tuple[Tally, list[ToolCalled]]:
    """One event in, one out, and a state that changes every time."""
    now = Tally(
        state.verdicts + 1,
        state.findings + verdict.findings,
        state.blocked + (verdict.action == "block"),
        max(state.last_ms, milliseconds(verdict.at)),
    )
    called = verdict.then(
        ToolCalled,
        step=now.verdicts,
        call=verdict.rule,
        tool=verdict.policy,
        effect="pure",
        tool_version=verdict.policy_version,
        arguments=f'{{"findings": {now.findings}}}',
        timeout_ms=1_000,
        user=verdict.category,
    )
    return now, [called]


@dataclass(frozen=True)
class Work:
    """A step to measure: the stage's key, what it reads and writes."""

    name: str
    key: str
    step: Step
    reads: type[Event]
    writes: type[Event]


WORKS = {
    "fold": Work(
        "fold",
        "session",
        Step("tally", Fold(Tally, tally)),
        VerdictReached,
        ToolCalled,
    ),
    "window": Work(
        "window",
        "tenant",
        Step("total_usage", TOTAL_USAGE),
        TokensUsed,
        UsageTotalled,
    ),
}


def events(work: Work, count: int) -> Iterator[Event]:
    """`count` events of a work, the same in every run but for the day that they happen on."""
    dice = random.Random(SEED)
    end = datetime.now(UTC) - timedelta(minutes=1)
    begin = end - timedelta(minutes=count / EVENTS_A_MINUTE)
    for number in range(count):
        at = begin + (end - begin) * (number / count)
        identity = UUID(int=dice.getrandbits(128), version=4)
        yield (_verdict if work.name == "fold" else _tokens)(identity, at, number, count, dice)


def _verdict(
    identity: UUID, at: datetime, number: int, count: int, dice: random.Random
) -> VerdictReached:
    session = f"session-{number % max(1, count // SEEN_TWICE)}"
    return VerdictReached(
        id=identity,
        at=at,
        tenant=f"tenant-{number % TENANTS}",
        cause=identity,
        session=session,
        run=identity,
        agent="support",
        agent_version=3,
        stage="request",
        policy="default",
        policy_version=7,
        rule="card-number",
        category="personal",
        action=dice.choice(("flag", "redact", "block")),
        enforced=True,
        findings=dice.randrange(5),
    )


def _tokens(
    identity: UUID, at: datetime, number: int, count: int, dice: random.Random
) -> TokensUsed:
    used = Tokens(input_tokens=dice.randrange(4_000), output_tokens=dice.randrange(500))
    return TokensUsed(
        id=identity,
        at=at,
        tenant=f"tenant-{dice.randrange(TENANTS)}",
        cause=identity,
        session=f"session-{number}",
        run=identity,
        agent="support",
        agent_version=3,
        user="a person",
        model="small",
        provider="openai",
        tokens=used,
        cost_usd=Decimal(used.input_tokens * 15 + used.output_tokens * 60) / 100_000_000,
    )
