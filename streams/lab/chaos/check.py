"""Counts lost, doubled, reordered, repeated and unbalanced events in the log and the tables."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from confluent_kafka import Message, TopicPartition

from schemas.events.agent.runs import RequestRefused, RunFinished, ToolUncertain
from schemas.events.base import Event
from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from schemas.events.operations import DeadLettered
from schemas.events.usage import TokensUsed, UsageTotalled
from schemas.wire.codec import Codec, DecodeError
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from streams.lab.chaos import environment
from streams.topology import PIPELINE, SINKS

AGGREGATES = (
    (
        "usage_by_hour",
        "token_usage",
        {
            "sum(calls)": "count()",
            "sum(input_tokens)": "sum(input_tokens)",
            "sum(cost_usd)": "sum(ifNull(cost_usd, 0))",
        },
    ),
    (
        "calls_by_minute",
        "token_usage",
        {
            "sum(calls)": "count()",
            "sum(output_tokens)": "sum(output_tokens)",
            "sum(charged_usd)": "sum(ifNull(charged_usd, 0))",
        },
    ),
    ("runs_by_hour", "runs", {"sum(runs)": "count()"}),
    (
        "session_totals",
        "runs",
        {"sum(runs_ended)": "count()", "sum(cost_usd)": "sum(ifNull(cost_usd, 0))"},
    ),
    ("steps_by_hour", "spans", {"sum(steps)": "count()"}),
)
"""A view, its table, and for each figure of the view the expression over the table."""

BUSY = "session_busy"
Rows = Callable[[str], list[dict[str, Any]]]
Log = Mapping[type[Event], Sequence[tuple[int, Event]]]
"""Committed events by class, each with its partition, in order."""


@dataclass
class Findings:
    """Faults by kind, with a description of each."""

    counts: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)

    def add(self, what: str, number: int, words: str) -> None:
        if number:
            self.counts[what] += number
            self.words.append(f"{what}: {number} {words}")


def read_log(settings: Settings, codec: Codec) -> Log:
    """Every committed event of the pipeline's classes, with its partition, in order."""
    classes = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))} | {
        DeadLettered
    }
    types = RecordTypes(settings.prefix, classes)
    found: dict[type[Event], list[tuple[int, Event]]] = {kind: [] for kind in classes}
    asking = kafka.consumer(
        settings, "chaos-check", None, **{"isolation.level": "read_uncommitted"}
    )
    for topic in types.topics:
        for partition in range(settings.partitions):
            first, end = asking.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            if first < end:  # a reader for each of hundreds of empty partitions would take long
                for message in kafka.read_to(settings, topic, partition, (first, end)):
                    for event in readable(codec, types, message):
                        found[type(event)].append((partition, event))
    asking.close()
    return found


def readable(codec: Codec, types: RecordTypes, message: Message) -> list[Event]:
    """The event in a record; none where it is of a class that is not wanted, or a dead letter of
    whoever reads it.
    """
    try:
        kind = types.of(message)
        return [codec.decode(kind, message.value() or b"")] if kind else []
    except (DecodeError, UnknownRecordTypeError):
        return []


E = TypeVar("E", bound=Event)


def of_kind(log: Log, kind: type[E]) -> list[E]:
    """The events of one class, without their partitions."""
    return [event for _, event in log[kind] if isinstance(event, kind)]


def check_log(log: Log, asked: Mapping[UUID, tuple[str, int]], findings: Findings) -> None:
    """One outcome a request, no event twice, each session's runs in the order of their requests.

    A run that was refused because its session was busy is answered at once, and is left out.
    """
    outcomes = Counter(
        event.run for kind in (RunFinished, RequestRefused) for event in of_kind(log, kind)
    )
    findings.add("lost", sum(run not in outcomes for run in asked), "requests without an outcome")
    findings.add(
        "doubled",
        sum(n - 1 for run, n in outcomes.items() if run in asked),
        "requests with a second outcome",
    )
    for kind, events in log.items():
        ids = Counter(event.id for _, event in events)
        findings.add("doubled", len(events) - len(ids), f"{kind.__name__} events twice on the log")
    last: dict[str, int] = {}
    wrong = 0
    for event in of_kind(log, RunFinished):
        session, number = asked.get(event.run, ("", -1))
        if session and event.reason != BUSY:
            wrong += number < last.get(session, -1)
            last[session] = max(number, last.get(session, -1))
    findings.add("out_of_order", wrong, "runs finished before an earlier one of their session")


def check_windows(log: Log, findings: Findings) -> None:
    """Each closed minute's total equals its calls in the log, but late ones; none closes twice."""
    late = {event.record_value for event in of_kind(log, DeadLettered) if event.reason == "late"}
    calls: Counter[tuple[str, Any]] = Counter()
    for _, event in log[TokensUsed]:
        calls[event.tenant, event.at.replace(second=0, microsecond=0)] += 1
    closed = defaultdict(int)
    for total in of_kind(log, UsageTotalled):
        closed[total.tenant, total.at] += total.calls
    wrong = [(at, n, calls[at]) for at, n in closed.items() if n != calls[at]]
    short = sum(abs(n - true) for _, n, true in wrong)
    findings.add(
        "unbalanced",
        max(0, short - len(late)),
        f"calls missing from or too many in {len(wrong)} closed minutes",
    )


def landed(log: Log, rows: Rows) -> dict[str, tuple[set[UUID], Counter[UUID]]]:
    """By table: the ids of the log's events for it, and how often each id is in it."""
    produced: dict[str, set[UUID]] = defaultdict(set)
    for kind in kinds(SINKS["clickhouse"]):
        produced[kind.table] |= {event.id for _, event in log[kind]}
    return {
        table: (
            ids,
            Counter(
                {
                    row["id"]: row["n"]
                    for row in rows(f"SELECT id, count() AS n FROM {table} GROUP BY id")
                }
            ),
        )
        for table, ids in produced.items()
    }


def check_tables(log: Log, rows: Rows, findings: Findings) -> dict[str, int]:
    """Every event with a table is in it exactly once; returns rows by table."""
    there = landed(log, rows)
    for table, (ids, found) in there.items():
        findings.add(
            "lost",
            len(ids - found.keys()),
            f"rows of {table} that are on the log and not in the table",
        )
        findings.add("doubled", found.total() - len(found), f"rows of {table} more than once")
        findings.add(
            "unbalanced",
            abs(len(ids) - len(found)),
            f"events of {table}: produced {len(ids)}, landed {len(found)}",
        )
    return {table: found.total() for table, (_, found) in there.items()}


def check_aggregates(rows: Rows, findings: Findings) -> None:
    """The totals of the materialized views equal those of their tables."""
    for view, table, sums in AGGREGATES:
        ours = rows(f"SELECT {', '.join(sums)} FROM {view}")[0]
        theirs = rows(f"SELECT {', '.join(sums.values())} FROM {table}")[0]
        pairs = list(zip(sums, ours.values(), theirs.values(), strict=True))
        wrong = [
            f"{figure} is {one} and should be {other}"
            for figure, one, other in pairs
            if one != other
        ]
        findings.add("unbalanced", len(wrong), f"figures of {view}: {'; '.join(wrong)}")


def chunks_of(log: Log) -> set[tuple[str, str, int]]:
    """The chunks of documents in force at the end of the log: tenant, document, number."""
    last: dict[tuple[str, str, int], tuple[Any, bool]] = {}
    for kind in (ChunkPrepared, ChunkRetired):
        for event in of_kind(log, kind):
            chunk = event.tenant, event.document, event.nth
            last[chunk] = max(last.get(chunk, (event.at, False)), (event.at, kind is ChunkPrepared))
    return {chunk for chunk, (_, there) in last.items() if there}


def check_effects(effects: Mapping[tuple[str, int], int], findings: Findings) -> None:
    findings.add(
        "repeated_effects",
        sum(n - 1 for n in effects.values() if n > 1),
        "calls of a `once` tool made twice",
    )


def check_ends(
    log: Log,
    asked: Mapping[UUID, tuple[str, int]],
    effects: Mapping[tuple[str, int], int],
    findings: Findings,
) -> dict[str, int]:
    """The ends of requests, counted by reason.

    No run reports work that was not done, and none leaves work undone without saying so. Where a
    worker died in a call whose effect is unknown, the tool is not called again, and the run says
    so.
    """
    unsure = {event.run for event in of_kind(log, ToolUncertain)}
    ends = Counter(f"refused: {event.reason}" for event in of_kind(log, RequestRefused))
    odd = 0
    not_done = 0
    left = 0
    for end in of_kind(log, RunFinished):
        if end.run not in asked:
            continue
        number = asked[end.run][1]
        sure = end.run not in unsure
        books = environment.agent_of(number) == environment.BOOKER
        fails = end.outcome != "completed"
        ends[f"{end.outcome}: {end.reason}" if end.reason else end.outcome] += 1
        if end.reason == BUSY:
            odd += any(effects.get((tool, number)) for tool in environment.TOOLS)
            continue
        odd += fails != (books and (environment.is_declined(number) or not sure))
        done = ("reserve", "pay") if books else ("charge",)
        not_done += not fails and sure and not all(effects.get((tool, number)) for tool in done)
        held = effects.get(("reserve", number), 0) > effects.get(("release", number), 0)
        left += fails and held and not end.not_undone
    findings.add(
        "unexpected",
        odd + len(log[RequestRefused]),
        "requests that should not have ended as they did",
    )
    findings.add(
        "unexpected", not_done, "runs that say they are done, with a call that was never made"
    )
    findings.add(
        "unexpected", left, "failed workflows that left something behind and do not say so"
    )
    return dict(ends)
