"""What does Weir do, step by step? One row a step: what it reads, by which shape, what it writes.

Steps that read events of one key are one stage: they run in one worker, in one transaction.
Diagrams, the AsyncAPI document and the topics to create are drawn from this table.
"""

from datetime import timedelta

from processors.agent import machine, subagents
from processors.guardrails import screen
from processors.knowledge import ingest, retrieve
from processors.models import call
from processors.quality import drift, feedback, profiles
from processors.tenants import admission
from processors.tools import call as tools
from processors.tracing import foreign_spans, spans
from processors.usage import attempts, metering
from processors.webhooks import delivery
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalRefused,
    ApprovalResolved,
    UserAsked,
)
from schemas.events.agent.models import (
    ModelAsked,
    ModelFailed,
    ModelResponded,
    ResponseBlocked,
    ResponseCleared,
)
from schemas.events.agent.runs import (
    AgentRequested,
    PassagesAsked,
    PassagesFound,
    RequestAdmitted,
    RequestBlocked,
    RequestCleared,
    RequestRefused,
    ResultCleared,
    RunCancelled,
    RunFinished,
    RunSettled,
    RunsHeld,
    ToolCalled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
    Woke,
)
from schemas.events.agent.signals import Signalled, SignalRefused
from schemas.events.agent.subagents import CallHeld, ChildCancelled, ChildFinished, ChildHeld
from schemas.events.attempts import AttemptEnded
from schemas.events.base import Event
from schemas.events.feedback import FeedbackGiven, FeedbackJoined
from schemas.events.guardrails import VerdictReached
from schemas.events.knowledge import (
    ChunkPrepared,
    ChunkRetired,
    DocumentPublished,
    DocumentWithdrawn,
)
from schemas.events.model_chunks import ModelChunk
from schemas.events.operations import BreakerMoved, DeadLettered
from schemas.events.quality import DriftFound, HourProfiled
from schemas.events.tracing import SpanEnded, SpanReceived, TraceRested
from schemas.events.usage import BudgetAlerted, TokensUsed, UsageTotalled
from schemas.events.webhooks import (
    WebhookDelivered,
    WebhookDropped,
    WebhookDue,
    WebhookFailed,
    WebhookRested,
)
from streams.engine.shapes import Call, Each, Fold, Step, Tumbling, Window, kinds


def per_minute(of) -> Window:
    return Window(
        of.Total, of.add, of.close, Tumbling(timedelta(minutes=1)), grace=timedelta(seconds=10)
    )


def per_hour(of) -> Window:
    """What comes late is counted and in no profile: after a standstill the runs blocked in it are
    hours older than others.
    """
    return Window(
        of.Total,
        of.add,
        of.close,
        Tumbling(timedelta(hours=1)),
        grace=timedelta(minutes=5),
        letters=False,
    )


# fmt: off
FROM_SERVICES = (AgentRequested | RunCancelled | ApprovalDecided | FeedbackGiven | DocumentPublished | DocumentWithdrawn
                 | SpanReceived | Signalled)
TO_AGENT = (RequestCleared | RequestBlocked | ResponseCleared | ResponseBlocked | ResultCleared | ModelFailed
            | ToolFailed | ToolUncertain | ApprovalDecided | CallHeld | RunCancelled | Signalled | Woke)
FROM_AGENT = (ModelAsked | ToolCalled | PassagesAsked | AgentRequested | ApprovalAsked | ApprovalResolved | ApprovalRefused
              | UserAsked | SignalRefused | RunFinished | ChildFinished | ChildCancelled | ChildHeld
              | RunsHeld)
TO_TRACE = (RequestAdmitted | RequestCleared | RequestBlocked | VerdictReached | ModelResponded | ResponseCleared
            | ResponseBlocked | ModelFailed | ToolCalled | ToolReturned | PassagesFound | ResultCleared | ToolFailed
            | ToolUncertain | ApprovalResolved | RunFinished)

PIPELINE = (
    # step               reads                              by
    # writes
    Step("admit",           AgentRequested | RunSettled | RunsHeld | TokensUsed, Fold(admission.Bucket, admission.admit), RequestAdmitted | RequestRefused | ToolFailed | BudgetAlerted, given=True),
    Step("screen_request",  RequestAdmitted,                   Each(screen.screen_request),                     VerdictReached | RequestCleared | RequestBlocked, given=True),
    Step("screen_response", ModelResponded,                    Each(screen.screen_response),                    VerdictReached | ResponseCleared | ResponseBlocked, given=True),
    Step("screen_result",   ToolReturned | PassagesFound,      Each(screen.screen_result),                      VerdictReached | ResultCleared, given=True),
    Step("agent",           TO_AGENT,                          Fold(machine.Session, machine.advance, wakes=Woke),      FROM_AGENT, given=True),
    Step("ask_model",       ModelAsked,                        Call(call.ask, "chat", call.tell, ordered=False),  ModelResponded | ModelFailed | BreakerMoved, given=True),
    Step("use_tool",        ToolCalled,                        Call(tools.ask, "tool", tools.tell, ordered=False),  ToolReturned | ToolFailed | ToolUncertain | BreakerMoved, given=True),
    Step("search",          PassagesAsked,                     Call(retrieve.ask, "search", retrieve.tell, ordered=False), PassagesFound | ToolFailed, given=True),
    Step("return_child",    ChildFinished,                     Each(subagents.result),                               ToolReturned | ToolFailed),
    Step("hold_parent",     ChildHeld,                         Each(subagents.hold),                                CallHeld),
    Step("cancel_child",    ChildCancelled,                    Each(subagents.cancel),                               RunCancelled),
    Step("trace",           TO_TRACE,                          Fold(spans.Open, spans.trace),                   SpanEnded),
    Step("join_feedback",   RunFinished | FeedbackGiven,       Fold(feedback.Runs, feedback.join),                  FeedbackJoined),
    Step("meter",           ModelResponded | ModelFailed,      Each(metering.meter),                                   TokensUsed, given=True),
    Step("book_attempts",   ModelResponded | ModelFailed,      Each(attempts.book),                                 AttemptEnded),
    Step("settle",          RunFinished,                       Each(metering.settle),                                  RunSettled),
    Step("total_usage",     TokensUsed,                        per_minute(metering),                                   UsageTotalled),
    Step("profile",         RunSettled,                        per_hour(profiles),                                  HourProfiled),
    Step("watch_drift",     HourProfiled,                      Fold(drift.Reference, drift.watch),                  DriftFound, given=True),
    Step("map_span",        SpanReceived | TraceRested,        Fold(foreign_spans.Seen, foreign_spans.map_span, wakes=TraceRested), SpanEnded | TokensUsed, given=True),
    Step("announce",        RunFinished | RequestRefused | ApprovalAsked, Each(delivery.announce),                  WebhookDue, given=True),
    Step("announce_alert",  BudgetAlerted | DriftFound,        Each(delivery.announce_alert),                       WebhookDue, given=True),
    Step("deliver",         WebhookDue,                        Call(delivery.ask, "webhook", delivery.tell, ordered=False), WebhookDelivered | WebhookFailed, given=True),
    Step("deliver_again",   WebhookFailed | WebhookRested,     Fold(delivery.Resting, delivery.rest, wakes=WebhookRested), WebhookDue | WebhookDropped, given=True),
    Step("chunk",           DocumentPublished | DocumentWithdrawn, Fold(ingest.Document, ingest.chunk),             ChunkPrepared | ChunkRetired),
)

SINKS = {
    "clickhouse": (RunFinished | RequestRefused | SpanEnded | TokensUsed | AttemptEnded | UsageTotalled | BudgetAlerted
                   | VerdictReached | FeedbackGiven | FeedbackJoined | ApprovalAsked | ApprovalResolved | ApprovalRefused | UserAsked
                   | SignalRefused | WebhookDelivered | WebhookFailed | WebhookDropped | HourProfiled | DriftFound | BreakerMoved | DeadLettered),
    "qdrant": ChunkPrepared | ChunkRetired,
    "otlp": SpanEnded,
}
# fmt: on

HINTS = {"ask_model": ModelChunk}
"""What a Call tells while it is under way: at most once, outside of its transaction, to whoever
reads along.
"""


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
