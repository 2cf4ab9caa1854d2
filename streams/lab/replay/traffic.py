"""Drives a trace of real arrivals through the pipeline, and measures when results are queryable.

A trace is a CSV with `replay_ms`, `input_tokens` and `output_tokens`. A request's text carries its
tokens, and the recorded model reports them as usage; so the sums in ClickHouse must equal the
trace's.
"""

import csv
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Tenant
from schemas.definitions.limits import Limits
from schemas.definitions.prices import Price
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event, SessionEvent
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.engine.client import Client, now, request
from streams.engine.errors import UserError

TENANT = "traffic"
AGENT = "traffic"
VISIBLE = """SELECT session, at FROM runs
WHERE startsWith(session, {batch:String}) AND at >= {since:DateTime64(3)}"""
Rows = Callable[[str, dict[str, Any]], list[dict[str, Any]]]


class TraceFileError(UserError):
    """An invalid trace; the text names the line and the right form."""


@dataclass(frozen=True)
class Arrival:
    at_ms: int
    input_tokens: int
    output_tokens: int


@dataclass
class Driven:
    """The result of a trace: outcomes, seconds from request to result and to a queryable row."""

    seconds: float = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    result_s: list[float] = field(default_factory=list)
    queryable_s: list[float] = field(default_factory=list)


def read(path: Path, limit: int = 0) -> list[Arrival]:
    """The arrivals of a file, in order of time, the first one at 0. Raises TraceFileError."""
    with path.open(newline="") as lines:
        rows = csv.DictReader(lines)
        try:
            found = [
                Arrival(int(r["replay_ms"]), int(r["input_tokens"]), int(r["output_tokens"]))
                for r in rows
            ]
        except (KeyError, ValueError, TypeError) as error:
            raise TraceFileError(
                f"{path}, line {rows.line_num}: {type(error).__name__}: {error}. A trace is a CSV "
                "with the columns replay_ms, input_tokens, output_tokens, all whole numbers"
            ) from error
    if not found:
        raise TraceFileError(f"{path} has no arrivals")
    found.sort(key=lambda arrival: arrival.at_ms)
    return found[:limit] if limit else found


def sums(arrivals: Sequence[Arrival]) -> dict[str, int]:
    return {
        "requests": len(arrivals),
        "input_tokens": sum(a.input_tokens for a in arrivals),
        "output_tokens": sum(a.output_tokens for a in arrivals),
    }


def definitions(service_url: str) -> list[Definition]:
    """A tenant without a quota, and an agent that asks the recorded model once."""
    return [
        Tenant(
            name=TENANT, requests_per_minute=10_000_000, burst=1_000_000, concurrent_runs=1_000_000
        ),
        Model(
            name="traffic",
            provider="recorded",
            base_url=f"{service_url}/v1",
            upstream="recorded-1",
            price=Price(input=Decimal("0.5"), output=Decimal("1.5")),
        ),
        Agent(
            name=AGENT,
            prompt="Answer.",
            model="traffic",
            limits=Limits(tokens=100_000_000, cost_usd=Decimal(1_000_000), repeats=None),
        ),
    ]


@dataclass(frozen=True)
class Pace:
    """How a trace is sent: `speed` times as fast, in sessions of a `batch`, with a time limit."""

    speed: float
    batch: str
    quiet_s: float = 60


def drive(
    settings: Settings,
    codec: Codec,
    arrivals: Sequence[Arrival],
    pace: Pace,
    progress: Callable[[int], None],
    rows: Rows,
) -> Driven:
    """Send every arrival at its time, and wait for all outcomes and until ClickHouse has them."""
    batch = pace.batch
    driven = Driven()
    sent: dict[str, float] = {}
    finished: dict[str, float] = {}
    done = threading.Event()

    def note(event: Event) -> None:
        if not isinstance(event, SessionEvent) or event.session in finished:
            return
        if event.session in sent:
            finished[event.session] = time.time()
            driven.outcomes[event.outcome if isinstance(event, RunFinished) else "refused"] += 1
            driven.result_s.append(time.time() - sent[event.session])

    began = time.monotonic()
    since = now()
    watcher = threading.Thread(
        target=_see, args=(rows, batch, since, driven, done, len(arrivals)), daemon=True
    )
    with Client(settings, codec, note) as client:
        watcher.start()
        for number, arrival in enumerate(arrivals):
            wait_s = (arrival.at_ms - arrivals[0].at_ms) / 1000 / pace.speed - (
                time.monotonic() - began
            )
            if wait_s > 0:
                time.sleep(wait_s)
            asked = request(
                TENANT,
                AGENT,
                f"tokens {arrival.input_tokens} {arrival.output_tokens}",
                session=f"{batch}-{number}",
            )
            sent[f"{batch}-{number}"] = time.time()
            client.publish(asked)
            progress(len(finished))
        client.flush()
        _await(finished, len(arrivals), progress, pace.quiet_s)
    driven.seconds = time.monotonic() - began
    watcher.join(pace.quiet_s)
    done.set()
    return driven


def _await(
    finished: dict[str, float], wanted: int, progress: Callable[[int], None], quiet_s: float
) -> None:
    """Wait until all are finished, or none has finished for `quiet_s`."""
    last = -1
    since = time.monotonic()
    while len(finished) < wanted and time.monotonic() - since < quiet_s:
        if len(finished) != last:
            last = len(finished)
            since = time.monotonic()
        progress(len(finished))
        time.sleep(0.05)
    progress(len(finished))


def _see(
    rows: Rows, batch: str, since: datetime, driven: Driven, done: threading.Event, wanted: int
) -> None:
    """Poll ClickHouse for new runs, and note the age of each when it was first seen."""
    seen: set[str] = set()
    newest = since
    while not done.is_set() and len(seen) < wanted:
        for row in rows(VISIBLE, {"batch": batch + "-", "since": newest}):
            if row["session"] not in seen:
                seen.add(row["session"])
                driven.queryable_s.append(
                    (now() - row["at"].replace(tzinfo=since.tzinfo)).total_seconds()
                )
        done.wait(0.1)
