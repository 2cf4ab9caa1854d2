"""What did each step of a run do, and how long did it take, as spans made from the events themselves?

A step's span is told as soon as the step is over; the run's own span, their parent, when the run is. Ids derive from
the events, so a replay makes the same trace. Only leaves carry tokens and cost: added up over a trace they are right.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from processors.text import cut, label
from schemas.agent import (
    ModelFailed, ModelResponded, PassagesFound, RequestAdmitted, RequestBlocked, RunEvent, RunFinished, Tokens,
    ToolFailed, ToolReturned, ToolUncertain,
)
from schemas.codec import trace_of
from schemas.guardrails import VerdictReached
from schemas.tracing import SpanEnded

PREVIEW_CHARS = 2_000
RUNS_MAX = 100
CALLS_MAX = 200

Traced = (RequestAdmitted | RequestBlocked | VerdictReached | ModelResponded | ModelFailed | ToolReturned | ToolFailed
          | ToolUncertain | PassagesFound | RunFinished)


@dataclass(frozen=True)
class Trail:
    """A run's trace so far. `said` is what the next model call answers, `calls` the arguments asked, by call."""

    trace: str
    parent: str | None = None
    user: str | None = None
    said: str = ""
    calls: dict[str, str] = field(default_factory=dict)


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
    span = _span(trail, event)
    if key not in state.runs and not isinstance(event, RequestAdmitted):
        return state, [span]  # what comes after a run's end must not open it again
    runs = {**state.runs, key: _after(trail, event)}
    if len(runs) > RUNS_MAX:
        del runs[next(iter(runs))]
    return Open(runs), [span]


def root_span(run: UUID) -> str:
    """The id of a run's own span: that of its AgentRequested, which every header names as the parent."""
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


def _after(trail: Trail, event: Traced) -> Trail:
    """What later spans of the run need to know of this event."""
    match event:
        case RequestAdmitted():
            return replace(trail, said=cut(event.text, PREVIEW_CHARS))
        case ModelResponded():
            calls = {call.id: cut(call.arguments, PREVIEW_CHARS) for call in event.tool_calls[:CALLS_MAX]}
            return replace(trail, calls=calls)
        case ToolReturned():
            return replace(trail, said=cut(event.content, PREVIEW_CHARS), calls=_without(trail.calls, event.call))
        case PassagesFound():
            return replace(trail, said=_titles(event), calls=_without(trail.calls, event.call))
        case ToolFailed() | ToolUncertain():
            return replace(trail, said=cut(event.detail, PREVIEW_CHARS), calls=_without(trail.calls, event.call))
    return trail


def _without(calls: dict[str, str], call: str) -> dict[str, str]:
    return {other: arguments for other, arguments in calls.items() if other != call}


def _span(trail: Trail, event: Traced) -> SpanEnded:
    match event:
        case RequestAdmitted():
            return _made(trail, event, "admission", "admission", output="admitted")
        case RequestBlocked():
            return _made(trail, event, "guardrail", "guardrail request", error="blocked", output=event.detail)
        case VerdictReached():
            return _made(trail, event, "guardrail", f"guardrail {event.rule}",
                         output=f"{event.stage}: {event.findings} × {event.category}, {event.action}"
                                f"{'' if event.enforced else ' (shadow)'}")
        case ModelResponded():
            return _made(trail, event, "chat", f"chat {event.model}", request_model=event.model, input=trail.said,
                         output=event.content or " ".join(f"{c.name}({c.arguments})" for c in event.tool_calls))
        case ModelFailed():
            return _made(trail, event, "chat", f"chat {event.model}", request_model=event.model, input=trail.said,
                         error=event.reason, output=event.detail)
        case PassagesFound():
            return _made(trail, event, "retrieval", f"retrieval {event.tool}", output=_titles(event),
                         input=trail.calls.get(event.call, ""))
    return _tool_span(trail, event)


def _tool_span(trail: Trail, event: ToolReturned | ToolFailed | ToolUncertain) -> SpanEnded:
    error = {ToolReturned: "", ToolUncertain: "uncertain"}.get(type(event), getattr(event, "reason", ""))
    return _made(trail, event, "execute_tool", f"execute_tool {event.tool}", error=error,
                 output=event.content if isinstance(event, ToolReturned) else event.detail,
                 input=trail.calls.get(event.call, ""))


def _root(trail: Trail, finished: RunFinished) -> SpanEnded:
    error = "" if finished.outcome == "completed" else finished.reason or finished.outcome
    return _made(trail, finished, "invoke_agent", f"invoke_agent {finished.agent}", span=root_span(finished.run),
                 parent=trail.parent, error=error, input=finished.text, output=finished.answer or finished.detail,
                 tokens=Tokens(), cost_usd=None, request_model=finished.model)


def _titles(found: PassagesFound) -> str:
    return cut("\n".join(f"{p.document}#{p.nth} {p.title} ({p.score:.3f})" for p in found.passages), PREVIEW_CHARS)


def _made(trail: Trail, event: RunEvent, operation: str, name: str, error: str = "", input: str = "", output: str = "",
          **fields) -> SpanEnded:
    started: datetime = getattr(event, "started_at", event.at)
    return event.then(SpanEnded, **({
        "trace": trail.trace, "span": event.id.hex[:16], "parent": root_span(event.run), "name": label(name),
        "operation": operation, "started_at": started, "wait_ms": getattr(event, "wait_ms", 0), "user": trail.user,
        "status": "error" if error else "ok", "error_type": label(error),
        "input": cut(input, PREVIEW_CHARS), "output": cut(output, PREVIEW_CHARS),
    } | fields))
