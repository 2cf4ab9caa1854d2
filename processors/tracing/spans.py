"""Makes the spans of a run from its events: what each step did, and how long it took.

A step's span is told as soon as the step is over; the run's own span, their parent, when the run
is. Ids derive from the events, so a replay makes the same trace. Only leaves carry tokens and cost:
added up over a trace they are right. What a span shows of texts is what screening let pass: the
span of an answer waits for the screened answer.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from processors.agent.conversation.message_deltas import UNKNOWN
from processors.common.text import cut, label, ms_between
from schemas.events.agent.approvals import ApprovalResolved
from schemas.events.agent.base import RunEvent
from schemas.events.agent.models import (
    ModelFailed,
    ModelResponded,
    ResponseBlocked,
    ResponseCleared,
)
from schemas.events.agent.runs import (
    PassagesFound,
    RequestAdmitted,
    RequestBlocked,
    RequestCleared,
    ResultCleared,
    RunFinished,
    ToolCalled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
)
from schemas.events.base import derived_id
from schemas.events.guardrails import VerdictReached
from schemas.events.tracing import SpanEnded
from schemas.events.values import Tokens
from schemas.wire.codec import trace_of

PREVIEW_CHARS = 2_000
RUNS_MAX = 100
CALLS_MAX = 200
WAIT_MS_MAX = 366 * 86_400_000
MODEL = "model "

Traced = (
    RequestAdmitted
    | RequestCleared
    | RequestBlocked
    | VerdictReached
    | ModelResponded
    | ResponseCleared
    | ResponseBlocked
    | ModelFailed
    | ToolCalled
    | ToolReturned
    | PassagesFound
    | ResultCleared
    | ToolFailed
    | ToolUncertain
    | ApprovalResolved
    | RunFinished
)


@dataclass(frozen=True)
class Trail:
    """A run's trace so far. `said` is what the next model call answers, `calls` the arguments
    asked, by call.

    `unshown` are spans whose text is being screened: a tool's by its call, a model's by `MODEL` and
    its step.
    """

    trace: str
    parent: str | None = None
    user: str | None = None
    said: str = ""
    calls: dict[str, str] = field(default_factory=dict)
    unshown: dict[str, SpanEnded] = field(default_factory=dict)
    began: bool = False


@dataclass(frozen=True)
class Open:
    """The runs of a session that are not over, by id (hex), oldest first."""

    runs: dict[str, Trail] = field(default_factory=dict)


def trace(state: Open, event: Traced) -> tuple[Open | None, list[SpanEnded]]:
    """The span of what has ended. A run that was never seen to begin is its own trace."""
    key = event.run.hex
    trail = state.runs.get(key) or _begun(event)
    if isinstance(event, RunFinished):
        rest = {run: other for run, other in state.runs.items() if run != key}
        return (Open(rest) if rest else None), [_root(trail, event)]
    trail, spans = _step(trail, event)
    runs = {**state.runs, key: trail}
    if not trail.began and not trail.unshown:
        del runs[key]  # what comes after a run's end must not open it again
    if len(runs) > RUNS_MAX:
        del runs[next(iter(runs))]
    return (Open(runs) if runs else None), spans


def root_span(run: UUID) -> str:
    """The id of a run's own span: that of its AgentRequested, which every header names as the
    parent.
    """
    return run.hex[:16]


def _begun(event: Traced) -> Trail:
    given = getattr(event, "traceparent", None) or ""
    trace_id = trace_of([("traceparent", given.encode())])
    if trace_id is None:
        return Trail(event.run.hex, user=getattr(event, "user", None))
    return Trail(trace_id, parent=_span_id(given.split("-")[2]), user=getattr(event, "user", None))


def _span_id(text: str) -> str | None:
    fine = len(text) == 16 and set(text) <= set("0123456789abcdef") and text != "0" * 16
    return text if fine else None


def _step(trail: Trail, event: Traced) -> tuple[Trail, list[SpanEnded]]:
    """The trail after an event, and the spans that are over and may be shown."""
    match event:
        case RequestAdmitted():
            return replace(trail, began=True), [
                _made(trail, event, "admission", "admission", output="admitted")
            ]
        case RequestCleared():
            return replace(trail, said=cut(event.text, PREVIEW_CHARS)), []
        case RequestBlocked():
            return trail, [
                _made(
                    trail,
                    event,
                    "guardrail",
                    "guardrail request",
                    error="blocked",
                    output=event.detail,
                )
            ]
        case VerdictReached():
            return trail, [_verdict_span(trail, event)]
        case ModelResponded():
            return _waiting(trail, f"{MODEL}{event.step}", _chat_span(trail, event)), _wasted_spans(
                trail, event
            )
        case ModelFailed(reason=reason) if reason == UNKNOWN:
            return trail, []  # no model was asked
        case ModelFailed():
            return trail, [
                *_wasted_spans(trail, event),
                _chat_span(trail, event, error=event.reason, output=event.detail),
            ]
        case ToolCalled():  # of a workflow no answer of a model told of it before
            asked = {event.call: cut(event.arguments, PREVIEW_CHARS)}
            return replace(
                trail, calls=trail.calls | asked if len(trail.calls) < CALLS_MAX else trail.calls
            ), []
        case ToolReturned():
            return _waiting(trail, event.call, _tool_span(trail, event)), []
        case PassagesFound():
            return _waiting(trail, event.call, _search_span(trail, event)), []
        case ToolFailed() | ToolUncertain():
            return _answered(trail, event.call, event.detail), [_failed_tool_span(trail, event)]
        case ApprovalResolved():
            return trail, _approval_spans(trail, event)
        case ResponseCleared() | ResponseBlocked() | ResultCleared():
            return _shown(trail, event)
    return trail, []


def _shown(
    trail: Trail, event: ResponseCleared | ResponseBlocked | ResultCleared
) -> tuple[Trail, list[SpanEnded]]:
    """The text of a span has been screened: now it is told."""
    key = event.call if isinstance(event, ResultCleared) else f"{MODEL}{event.step}"
    span = trail.unshown.get(key)
    trail = replace(
        trail, unshown={other: waits for other, waits in trail.unshown.items() if other != key}
    )
    match event:
        case ResponseCleared():
            output = event.content or " ".join(f"{c.name}({c.arguments})" for c in event.tool_calls)
            calls = {
                call.id: cut(call.arguments, PREVIEW_CHARS) for call in event.tool_calls[:CALLS_MAX]
            }
            trail = replace(trail, calls=calls or trail.calls)
        case ResponseBlocked():
            output = f"blocked by rule {event.rule}"
        case ResultCleared():
            output = event.content
            trail = _answered(trail, event.call, event.content)
    if span is None:
        return trail, []
    keeps = span.operation == "retrieval"  # its sources say more than the beginning of the first
    return trail, [
        span if keeps else span.model_copy(update={"output": cut(output, PREVIEW_CHARS)})
    ]


def _waiting(trail: Trail, key: str, span: SpanEnded) -> Trail:
    return replace(trail, unshown={**trail.unshown, key: span})


def _answered(trail: Trail, call: str, said: str) -> Trail:
    rest = {other: arguments for other, arguments in trail.calls.items() if other != call}
    return replace(trail, said=cut(said, PREVIEW_CHARS), calls=rest)


def _verdict_span(trail: Trail, event: VerdictReached) -> SpanEnded:
    shadow = "" if event.enforced else " (shadow)"
    return _made(
        trail,
        event,
        "guardrail",
        f"guardrail {event.rule}",
        output=f"{event.stage}: {event.findings} × {event.category}, {event.action}{shadow}",
    )


def _chat_span(trail: Trail, event: ModelResponded | ModelFailed, **fields: Any) -> SpanEnded:
    return _made(
        trail,
        event,
        "chat",
        f"chat {event.model}",
        request_model=event.model,
        input=trail.said,
        **fields,
    )


def _wasted_spans(trail: Trail, event: ModelResponded | ModelFailed) -> list[SpanEnded]:
    """Attempts whose answers were not used: with what they took, so that a trace adds up to what
    was paid. The one attempt of a failure is the failure's own span.
    """
    made, known_ms = event.attempts_made, ms_between(event.started_at, event.at)
    alone = len(made) == 1 and isinstance(event, ModelFailed) and made[0].tokens == Tokens()
    return (
        []
        if alone
        else [
            _made(
                trail,
                event,
                "chat",
                f"chat {one.model}",
                error=one.reason or "wasted",
                nth=f"attempt{nth}",
                span=derived_id(event.id, f"attempt{nth}").hex[:16],
                wait_ms=one.wait_ms,
                attempts=1,
                provider=one.provider,
                started_at=event.started_at + timedelta(milliseconds=min(one.after_ms, known_ms)),
                request_model=one.model,
                response_model="",
                finish_reason="",
                tokens=one.tokens,
                cost_usd=one.cost_usd,
                cache_hit=False,
            )
            for nth, one in enumerate(made, 1)
            if one.wasted
        ]
    )


def _tool_span(
    trail: Trail, event: ToolReturned | ToolFailed | ToolUncertain, **fields: Any
) -> SpanEnded:
    return _made(
        trail,
        event,
        "execute_tool",
        f"execute_tool {event.tool}",
        input=trail.calls.get(event.call, ""),
        **fields,
    )


def _failed_tool_span(trail: Trail, event: ToolFailed | ToolUncertain) -> SpanEnded:
    reason = event.reason if isinstance(event, ToolFailed) else "uncertain"
    return _tool_span(trail, event, error=reason or "failed", output=event.detail)


def _approval_spans(trail: Trail, event: ApprovalResolved) -> list[SpanEnded]:
    """How long people took. What nobody needed any more, because the run was over, is no step of
    it.
    """
    if event.status == "cancelled":
        return []
    words = ": ".join(
        filter(None, (f"{event.status} by {event.by}" if event.by else event.status, event.note))
    )
    return [
        _made(
            trail,
            event,
            "approval",
            f"approval {event.tool}",
            input=trail.calls.get(event.call, ""),
            output=words,
            started_at=event.at - timedelta(milliseconds=min(event.wait_ms, WAIT_MS_MAX)),
        )
    ]


def _search_span(trail: Trail, event: PassagesFound) -> SpanEnded:
    titles = "\n".join(f"{p.document}#{p.nth} {p.title} ({p.score:.3f})" for p in event.passages)
    return _made(
        trail,
        event,
        "retrieval",
        f"retrieval {event.tool}",
        output=titles,
        input=trail.calls.get(event.call, ""),
    )


def _root(trail: Trail, finished: RunFinished) -> SpanEnded:
    error = "" if finished.outcome == "completed" else finished.reason or finished.outcome
    return _made(
        trail,
        finished,
        "invoke_agent",
        f"invoke_agent {finished.agent}",
        span=root_span(finished.run),
        parent=trail.parent,
        error=error,
        input=finished.text,
        output=finished.answer or finished.detail,
        tokens=Tokens(),
        cost_usd=None,
        request_model=finished.model,
    )


def _made(
    trail: Trail,
    event: RunEvent,
    operation: str,
    name: str,
    error: str = "",
    input: str = "",
    output: str = "",
    nth: str | int = 0,
    **fields: Any,
) -> SpanEnded:
    started: datetime = getattr(event, "started_at", event.at)
    return event.then(
        SpanEnded,
        nth,
        **(
            {
                "trace": trail.trace,
                "span": event.id.hex[:16],
                "parent": root_span(event.run),
                "name": label(name),
                "operation": operation,
                "started_at": started,
                "wait_ms": getattr(event, "wait_ms", 0),
                "user": trail.user,
                "status": "error" if error else "ok",
                "error_type": label(error),
                "input": cut(input, PREVIEW_CHARS),
                "output": cut(output, PREVIEW_CHARS),
            }
            | fields
        ),
    )
