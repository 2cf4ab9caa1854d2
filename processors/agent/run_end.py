"""The end of a run: what the session keeps of it, and how it is reported."""

from dataclasses import replace

from processors.agent.calls.pending import AwaitingSubAgent, AwaitingTool
from processors.agent.conversation.messages import error_result
from processors.agent.decisions import Decided, FinishRun
from processors.agent.modes import CritiqueMode, LoopMode, PlanMode, WorkflowMode
from processors.agent.state import Active, ActiveRun, RunUsage, with_results
from processors.agent.workflow.node_calls import COMPENSATION, node_of
from schemas.events.values import Outcome

UNKNOWN_RESULT = error_result("unknown", "the run ended before the result of this call was known")


def end_run(
    session: Active,
    outcome: Outcome,
    reason: str = "",
    detail: str = "",
    answer: str | None = None,
    whole: str = "",
) -> Decided:
    """End the run under way. What it did stays in the history, and a call without a result gets one
    that says so.

    `whole` is the key of an answer of which `answer` is not all. Each request has one outcome:
    those that answered the run's questions to the user have its outcome, at no cost of their own.
    """
    run = session.run
    remaining = () if outcome == "completed" else _remaining(run)
    if remaining:
        detail += f"; not undone: {'; '.join(remaining)}"
    finished = FinishRun(
        run.request,
        outcome,
        reason,
        detail,
        answer,
        usage=run.usage,
        prompt_version=run.prompt_version or 0,
        not_undone=remaining,
        whole=whole,
    )
    served = f"it answered a question of run {run.request.run}"
    others = (
        FinishRun(
            request,
            outcome,
            reason or "answered",
            f"{served}: {detail}" if detail else served,
            answer,
            usage=RunUsage(model=run.usage.model),
        )
        for request in run.answered_by
    )
    return _closed(session).ended(), (finished, *others)


def _closed(session: Active) -> Active:
    """The session with the conversation that it keeps. The calls of a workflow are none of it, nor
    is what was said on the way to no answer.
    """
    match session.run.mode:
        case WorkflowMode():
            return replace(session, run=replace(session.run, pending=()))
        case PlanMode(opening=opening) | CritiqueMode(opening=opening):
            return replace(session, messages=opening)
        case LoopMode():
            return with_results(session, UNKNOWN_RESULT)


def _remaining(run: ActiveRun) -> tuple[str, ...]:
    """What a workflow did, or may have done, and has not undone."""
    if not isinstance(run.mode, WorkflowMode):
        return ()
    calls = [one.call for one in run.pending if isinstance(one, AwaitingTool | AwaitingSubAgent)]
    begun = tuple(
        f"{node_of(call)} (it was under way)" for call in calls if not call.startswith(COMPENSATION)
    )
    return *begun, *run.mode.remaining(compensating=len(begun) < len(calls))
