"""Events on the pipeline itself: dead letters and circuit breakers."""

from datetime import timedelta
from typing import ClassVar, Literal

from schemas.events.agent.base import RunEvent
from schemas.events.base import DAY, QUARTER, Count, Event, Money
from schemas.events.values import Label

Reason = Literal[
    "not_avro",
    "unknown_schema",
    "invalid",
    "wrong_key",
    "future",
    "expired",
    "late",
    "unprocessable",
    "error",
    "rejected",
    "body_missing",
]


class DeadLettered(Event):
    """A record that no step could take: its bytes, its headers, where it stood, and why. `source`
    is that place.

    `topic_id` is the id that the broker gave the topic when it was made, where the consumer knows
    it.
    """

    family: ClassVar[str] = "operations"
    key: ClassVar[str] = "source"
    owner: ClassVar[str] = "operations"
    retention: ClassVar[timedelta | None] = QUARTER
    table: ClassVar[str] = "dead_letters"
    source: Label
    topic_name: Label
    partition: Count
    offset: Count
    record_key: bytes | None = None
    record_value: bytes | None = None
    headers: dict[str, str] = {}
    consumer: Label
    reason: Reason
    detail: str = ""
    topic_id: str = ""


class BreakerMoved(RunEvent):
    """The breaker of a model or tool has another state in one call runner; the run is the one whose
    call told of it.

    `open`: too many calls failed, and for `open_ms` none goes out. `half_open`: one call probes it.
    `closed`: all go out.
    """

    family: ClassVar[str] = "operations"
    owner: ClassVar[str] = "operations"
    retention: ClassVar[timedelta | None] = QUARTER
    table: ClassVar[str] = "breakers"
    kind: Literal["model", "tool"]
    provider: Label = ""
    name: Label
    state: Literal["closed", "half_open", "open"]
    open_ms: Count = 0
    runner: Label = ""


class LiveFigures(Event):
    """What one event adds to the live views of its minute: a run that finished, a request that was
    refused, a model call, a verdict. The exact numbers are in ClickHouse.
    """

    family: ClassVar[str] = "operations"
    owner: ClassVar[str] = "operations"
    retention: ClassVar[timedelta | None] = DAY
    agent: Label = ""
    model: Label = ""
    runs: Count = 0
    errors: Count = 0
    blocked: Count = 0
    refused: Count = 0
    verdicts: Count = 0
    model_calls: Count = 0
    unpriced_calls: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cost_usd: Money | None = None
    wait_ms: Count | None = None
