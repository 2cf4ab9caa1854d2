"""One line of text for an event of a run.

A run's story leaves out events that only repeat others: clearances without a finding, spans,
accounts.
"""

from itertools import takewhile

from processors.agent.conversation.messages import NOT_CALLED, error_in
from processors.agent.workflow.node_calls import COMPENSATION
from schemas.events.agent.approvals import ApprovalAsked, ApprovalResolved, UserAsked
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded, ResponseBlocked
from schemas.events.agent.runs import (
    AgentRequested,
    PassagesAsked,
    PassagesFound,
    RequestAdmitted,
    RequestBlocked,
    RequestRefused,
    RunCancelled,
    RunFinished,
    ToolCalled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
)
from schemas.events.agent.signals import Signalled, SignalRefused
from schemas.events.attempts import AttemptEnded
from schemas.events.base import Event
from schemas.events.guardrails import VerdictReached
from schemas.events.operations import BreakerMoved
from schemas.events.values import Body
from streams.cli.output import short
from streams.operations.figures import usd

WIDTH = 110


def line(event: Event) -> str | None:
    """The event as a line of its run's story; None where it adds nothing."""
    return _step(event) or _call(event) or _decision(event) or _trouble(event)


def _step(event: Event) -> str | None:
    """Requests, responses of models, and the end."""
    match event:
        case RequestAdmitted():
            return f"asked      {short(event.text, WIDTH)}"
        case AgentRequested(parent=parent) if parent is not None:
            return f"asks       agent {event.agent}: {short(event.text, WIDTH)}"
        case RequestRefused():
            return f"refused    {event.reason}: {event.detail}"
        case ModelResponded():
            wishes = ", ".join(
                f"{call.name} {short(call.arguments, 60)}" for call in event.tool_calls
            )
            spent = (
                f"{event.tokens.input_tokens}+{event.tokens.output_tokens} tokens, "
                f"{event.wait_ms} ms"
            )
            spent = "out of the cache, for nothing" if event.cache_hit else spent
            return (
                f"model      {event.model} ({spent}): "
                f"{'wants ' + wishes if wishes else short(event.content, WIDTH)}"
            )
        case ModelAsked():
            return _not_called(event)
        case RunFinished():
            reason = ": ".join(filter(None, (event.reason, event.detail)))
            return f"{event.outcome:<10} {short(reason or event.answer, WIDTH)}"
        case _:
            return None


def _call(event: Event) -> str | None:
    """Calls of tools and searches, and their results."""
    match event:
        case ToolCalled():
            verb = "undoes" if event.call.startswith(COMPENSATION) else "calls"
            return f"{verb:<10} {event.tool} {short(event.arguments, WIDTH)} [{event.effect}]"
        case PassagesAsked():
            return f"searches   {short(event.query, WIDTH)}"
        case PassagesFound():
            return f"found      {len(event.passages)} passages in {event.wait_ms} ms"
        case ToolReturned():
            return (
                f"result     {event.tool} in {event.wait_ms} ms: "
                f"{short(event.content, WIDTH)}{_kept(event.whole)}"
            )
        case _:
            return None


def _decision(event: Event) -> str | None:
    """What people and other systems are asked, and their answers."""
    match event:
        case UserAsked():
            choice = f" ({' | '.join(event.options)})" if event.options else ""
            return f"asks you   {short(event.question, WIDTH)}{choice}"
        case Signalled():
            return f"signal     {event.name} {short(event.payload, WIDTH)}"
        case ApprovalAsked():
            return (
                f"needs      the word of {' or '.join(event.approvers)}: {event.tool} "
                f"{short(event.arguments, 60)}"
            )
        case ApprovalResolved():
            return (
                f"{event.status:<10} {event.tool}{' by ' + event.by if event.by else ''} "
                f"{short(event.note, 60)}"
            )
        case _:
            return None


def _not_called(asked: ModelAsked) -> str | None:
    """The wishes of the last answer that were not granted: the model is told why, and no event is
    made of it.
    """
    told = takewhile(lambda message: message.role == "tool", reversed(asked.messages))
    errors = [
        (message.name, said["detail"])
        for message in told
        if (said := error_in(message.content, NOT_CALLED))
    ]
    return (
        "; ".join(f"not called {name}: {short(detail, WIDTH)}" for name, detail in reversed(errors))
        or None
    )


def _kept(whole: Body | None) -> str:
    """Where a result is of which the model sees a part."""
    return f" ({whole.bytes:,} bytes in all, kept as {whole.key})" if whole else ""


def _trouble(event: Event) -> str | None:
    match event:
        case VerdictReached(findings=findings) if findings:
            return f"guardrail  {event.stage}: {event.rule} found {findings} x, {event.action}"
        case RequestBlocked() | ResponseBlocked():
            return f"blocked    {event.rule}: {event.detail}"
        case AttemptEnded(wasted=True):
            spent = "may be billed" if event.cost_usd is None else usd(event.cost_usd)
            return f"in vain    {event.model}: {event.reason} after {event.wait_ms} ms, {spent}"
        case ToolFailed() | ModelFailed():
            name = event.tool if isinstance(event, ToolFailed) else event.model
            return f"failed     {name}: {event.reason} {short(event.detail, WIDTH)}"
        case BreakerMoved():
            rest = (
                f" and not asked for {event.open_ms / 1000:.0f} s: too many of its calls failed"
                if event.state == "open"
                else ""
            )
            return f"breaker    {event.name} is {event.state.replace('_', ' ')}{rest}"
        case ToolUncertain():
            return f"uncertain  {event.tool}: {short(event.detail, WIDTH)}"
        case SignalRefused():
            return f"refused    signal {event.name}: {event.detail}"
        case RunCancelled():
            return f"cancelled  {event.reason}"
        case _:
            return None
