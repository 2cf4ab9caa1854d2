"""What does Weir do, step by step? One row a step: what it reads, by which shape, what it writes.

Steps that read events of one key are one stage: they run in one worker, in one transaction.
Diagrams, the AsyncAPI document and the topics to create are drawn from this table.
"""

from datetime import timedelta
from functools import reduce
from operator import or_

from processors.agent import machine
from processors.agent.calls import subagents
from processors.agent.state import new_session
from processors.guardrails import screen
from processors.knowledge import ingest, retrieve
from processors.models import call
from processors.quality import drift, feedback, profiles
from processors.tenants import admission
from processors.tools import call as tools
from processors.tracing import foreign_spans, spans
from processors.usage import attempts, metering
from processors.webhooks import delivery
from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.agent.runs import AgentRequested, RunCancelled, Woke
from schemas.events.agent.signals import Signalled
from schemas.events.base import Event
from schemas.events.feedback import FeedbackGiven
from schemas.events.knowledge import (
    DocumentPublished,
    DocumentWithdrawn,
)
from schemas.events.model_chunks import ModelChunk
from schemas.events.tracing import SpanReceived, TraceRested
from schemas.events.webhooks import WebhookRested
from sinks.spec import sink_specs
from streams.engine.shapes import Call, Each, Fold, Step, Tumbling, Window, kinds

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TOTAL_USAGE = Window(
    metering.Total, metering.add, metering.close, Tumbling(MINUTE), grace=timedelta(seconds=10)
)
PROFILE = Window(
    profiles.Hour,
    profiles.add,
    profiles.close,
    Tumbling(HOUR),
    grace=timedelta(minutes=5),
    late_to_dead_letters=False,
)
"""A run that settles late is counted and in no profile: after a standstill the runs that were
blocked in it are hours older than others.
"""

# fmt: off
FROM_SERVICES = (AgentRequested | RunCancelled | ApprovalDecided | FeedbackGiven | DocumentPublished | DocumentWithdrawn
                 | SpanReceived | Signalled)

PIPELINE = (
    Step("admit",           Fold(admission.Bucket, admission.admit)),
    Step("screen_request",  Each(screen.screen_request)),
    Step("screen_response", Each(screen.screen_response)),
    Step("screen_result",   Each(screen.screen_result)),
    Step("agent",           Fold(new_session, machine.advance, wakes=Woke)),
    Step("ask_model",       Call(call.ask, "chat", call.tell, ordered=False, hints=ModelChunk)),
    Step("use_tool",        Call(tools.ask, "tool", tools.tell, ordered=False)),
    Step("search",          Call(retrieve.ask, "search", retrieve.tell, ordered=False)),
    Step("return_child",    Each(subagents.result)),
    Step("hold_parent",     Each(subagents.hold)),
    Step("cancel_child",    Each(subagents.cancel)),
    Step("trace",           Fold(spans.Open, spans.trace)),
    Step("join_feedback",   Fold(feedback.Runs, feedback.join)),
    Step("meter",           Each(metering.meter)),
    Step("book_attempts",   Each(attempts.book)),
    Step("settle",          Each(metering.settle)),
    Step("total_usage",     TOTAL_USAGE),
    Step("profile",         PROFILE),
    Step("watch_drift",     Fold(drift.Reference, drift.watch)),
    Step("map_span",        Fold(foreign_spans.Seen, foreign_spans.map_span, wakes=TraceRested)),
    Step("announce",        Each(delivery.announce)),
    Step("announce_alert",  Each(delivery.announce_alert)),
    Step("deliver",         Call(delivery.ask, "webhook", delivery.tell, ordered=False)),
    Step("deliver_again",   Fold(delivery.Resting, delivery.rest, wakes=WebhookRested)),
    Step("chunk",           Fold(ingest.Document, ingest.chunk)),
)

# fmt: on

SINKS = {name: reduce(or_, spec.events) for name, spec in sink_specs().items()}
"""The events of each sink, as the sinks declare them (`sinks/<system>/spec.py`)."""


def stages(pipeline: tuple[Step, ...] = PIPELINE) -> dict[str, tuple[Step, ...]]:
    """The steps of each stage, by the key that they share; Calls are in none."""
    by_key: dict[str, tuple[Step, ...]] = {}
    for step in pipeline:
        if not isinstance(step.by, Call):
            key = kinds(step.reads)[0].key
            by_key[key] = (*by_key.get(key, ()), step)
    return by_key


def calls(pipeline: tuple[Step, ...] = PIPELINE) -> tuple[Step, ...]:
    """The steps that ask the world outside."""
    return tuple(step for step in pipeline if isinstance(step.by, Call))


def inputs(steps: tuple[Step, ...]) -> tuple[type[Event], ...]:
    """What a stage reads from Kafka: all that its steps read and none of them writes, in the
    table's order.

    A timer's event is made by the runtime inside the stage.
    """
    inside = {kind for step in steps for kind in kinds(step.writes)}
    inside |= {step.by.wakes for step in steps if isinstance(step.by, Fold) and step.by.wakes}
    return tuple(
        dict.fromkeys(kind for step in steps for kind in kinds(step.reads) if kind not in inside)
    )
