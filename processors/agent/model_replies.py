"""Replies to a run: what a model's answer, or the result of a call, does to the run that waits for
it.
"""

from dataclasses import replace
from datetime import datetime

from processors.agent import plan_and_critique
from processors.agent.calls.pending import (
    AnsweredCall,
    AwaitingSubAgent,
    AwaitingTool,
)
from processors.agent.calls.tool_calls import plan_calls, wrong_with
from processors.agent.conversation.message_deltas import UNKNOWN
from processors.agent.conversation.messages import (
    CONTEXT_CHARS_MAX,
    chars_in,
    error_result,
    user_says,
)
from processors.agent.conversation.structured_output import ERROR_CHARS, complaint, read_output
from processors.agent.decisions import Decided
from processors.agent.model_requests import ask, ask_again, go_on_with_summary
from processors.agent.progress import RepeatCounts, with_results_counted
from processors.agent.run_end import end_run
from processors.agent.state import (
    Active,
    ActiveRun,
    CallResult,
    ModelAnswer,
    RunUsage,
    agent_of,
    with_results,
)
from processors.common.json_schema import InvalidValueError
from processors.common.text import cut
from processors.usage.metering import add_cost, add_tokens, add_took
from schemas.definitions.kinds import Agent, Definitions
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import ResultCleared, ToolFailed, ToolUncertain
from schemas.events.values import Message

UNUSABLE = {
    "length": (
        "truncated",
        "the answer reached the model's limit on output tokens: "
        "raise the agent's max_output_tokens",
    ),
    "content_filter": ("content_filter", "the provider withheld the answer"),
}
"""Finish reasons that end a run: its reason, and a sentence."""


def read(session: Active, answer: ResponseCleared, definitions: Definitions) -> Decided:
    """Take a model's answer: a summary, calls, a stage of a plan or a critique, or the run's
    answer.
    """
    if not session.run.awaits(answer):
        return session, ()
    session = counted(session, answer)
    if session.run.summary_of:
        whole = answer.finish_reason not in UNUSABLE and not answer.tool_calls
        summary = answer.content if whole else None
        return go_on_with_summary(session, summary, answer.at, definitions)
    agent = agent_of(session.run, definitions)
    message = Message(role="assistant", content=answer.content, tool_calls=answer.tool_calls)
    wrong = _wrong_with(session, answer, message, agent)
    if wrong:
        return end_run(session, "failed", *wrong)
    if answer.tool_calls:
        return _call(session, message, answer.at, definitions)
    turn = plan_and_critique.turn(session, answer.content or "", agent)
    if turn.failed:
        return end_run(turn.session, "failed", *turn.failed)
    if turn.final is None:
        return ask(turn.session, answer.at, definitions)
    return _answer(turn.session, turn.final, turn.detail, answer.at, definitions)


def _wrong_with(
    session: Active, answer: ResponseCleared, message: Message, agent: Agent
) -> tuple[str, str] | None:
    """Why a run cannot go on with this answer, as a reason and a sentence; None where it can."""
    if answer.finish_reason in UNUSABLE:
        return UNUSABLE[answer.finish_reason]
    if chars_in((*session.messages, message)) > CONTEXT_CHARS_MAX:
        detail = "the answer is too long for the conversation: set the agent's max_output_tokens"
        return "too_large", detail
    if answer.tool_calls:
        wrong = wrong_with(answer.tool_calls)
        if plan_and_critique.tools_forbidden(session.run, agent):
            wrong = "the model called a tool where none was offered"
        return ("bad_tool_calls", wrong) if wrong else None
    if not answer.content:
        return "empty_answer", "the model said nothing and called nothing"
    return None


def _answer(
    session: Active, text: str, detail: str, at: datetime, definitions: Definitions
) -> Decided:
    """End the run with an answer that its agent promises. One that does not fit is shown to the
    model with what is wrong.

    The last text of a run that fails is kept in `answer`, and never as a result: its outcome is
    `failed`.
    """
    run = session.run
    agent = agent_of(run, definitions)
    try:
        return end_run(session, "completed", detail=detail, answer=read_output(agent, text))
    except InvalidValueError as unfit:
        if run.repairs >= agent.output_repairs:
            wrong = _unfit_after(run.repairs, unfit)
            return end_run(session, "failed", "bad_output", wrong, text)
        repairing = replace(session, run=replace(run, repairs=run.repairs + 1))
        return ask(_with(repairing, user_says(complaint(unfit))), at, definitions)


def _unfit_after(repairs: int, unfit: InvalidValueError) -> str:
    wrong = cut(str(unfit), ERROR_CHARS)
    return f"the answer does not fit the agent's output schema, after {repairs} repairs: {wrong}"


def _call(session: Active, message: Message, at: datetime, definitions: Definitions) -> Decided:
    """Make the calls of the model's message. Where none can be made, the model is asked on."""
    planned = plan_calls(session.run, message.tool_calls, at, definitions)
    if planned.repeated:
        limit = agent_of(session.run, definitions).limits.repeats
        detail = (
            f"the model called {planned.repeated!r} with the same arguments {limit} times, and the "
            "result was the same each time: it makes no progress (limits.repeats)"
        )
        return end_run(session, "stopped", "loop", detail)
    session = replace(_with(session, message), run=planned.run)
    if planned.decisions:
        return session, planned.decisions
    return ask(with_results(_counted_results(session, definitions)), at, definitions)


def collect(session: Active, result: CallResult, definitions: Definitions) -> Decided:
    """Keep a result, and go on when it was the last one that is missing."""
    run = session.run
    if not run.awaits(result):
        return session, ()
    for pending in run.pending:
        waits = isinstance(pending, AwaitingTool | AwaitingSubAgent)
        if waits and pending.call == result.call:
            answered = _answered(pending, run, result, definitions)
            session = replace(session, run=run.with_call(pending, answered))
            return go_on_with_results(with_sub_agents(session, result), result.at, definitions)
    return session, ()


def go_on_with_results(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Ask the model on with all results, once the last one is there."""
    run = session.run
    if run.unanswered:
        return session, ()
    answered = (one for one in run.pending if isinstance(one, AnsweredCall))
    last = next((one for one in answered if one.ends), None)
    session = with_results(_counted_results(session, definitions))
    if last is None:
        return ask(session, at, definitions)
    try:
        answer = read_output(agent_of(run, definitions), last.content)
    except InvalidValueError as unfit:
        return end_run(session, "failed", "bad_output", _unfit_after(0, unfit), last.content)
    return end_run(session, "completed", "tool", f"ended by tool {last.tool!r}", answer, last.whole)


def _counted_results(session: Active, definitions: Definitions) -> Active:
    """The session with the results of this turn counted, and notes at those that do not change."""
    run = session.run
    limit = agent_of(run, definitions).limits.repeats
    asked = session.messages[-1].tool_calls if session.messages else ()
    before = RepeatCounts(run.repeats, run.last_results)
    pending, repeats = with_results_counted(run.pending, asked, before, limit)
    run = replace(
        run, pending=pending, repeats=dict(repeats.times), last_results=dict(repeats.results)
    )
    return replace(session, run=run)


def _answered(
    pending: AwaitingTool | AwaitingSubAgent,
    run: ActiveRun,
    result: CallResult,
    definitions: Definitions,
) -> AnsweredCall:
    """The call with its result, as the model reads it."""
    answered = AnsweredCall(pending.call, pending.tool, "", pending.remark)
    match result:
        case ResultCleared():
            tool = definitions.tool(result.tool, run.tool_versions.get(result.tool, 0))
            return replace(
                answered,
                content=result.content,
                ends=result.ends or (tool is not None and tool.terminal),
                whole=result.whole.key if result.whole else "",
            )
        case ToolFailed():
            return replace(answered, content=error_result(result.reason, result.detail))
        case ToolUncertain():
            detail = (
                f"nobody knows whether this was done ({result.detail}): do not do it again, say "
                "that it must be looked at"
            )
            return replace(answered, content=error_result("unknown", detail))


def fail(session: Active, failed: ModelFailed, definitions: Definitions) -> Decided:
    """A model that failed ends the run. One that could not be asked for want of the conversation is
    asked again, and without a summary the run goes on.
    """
    if not session.run.awaits(failed):
        return session, ()
    if failed.reason == UNKNOWN:
        return ask_again(session, failed.at, definitions)
    session = counted(session, failed)
    if session.run.summary_of:
        return go_on_with_summary(session, None, failed.at, definitions)
    return end_run(session, "failed", failed.reason, failed.detail)


def block(session: Active, blocked: ResponseBlocked, definitions: Definitions) -> Decided:
    """A blocked answer ends the run. Without a summary the run goes on."""
    if not session.run.awaits(blocked):
        return session, ()
    session = counted(session, blocked)
    if session.run.summary_of:
        return go_on_with_summary(session, None, blocked.at, definitions)
    return end_run(session, "blocked", blocked.rule, blocked.detail)


def counted(session: Active, answer: ModelAnswer) -> Active:
    """The session with what an answer used, or a failure; attempts whose answers were not used
    count against the limits like all the rest.
    """
    usage = session.run.usage
    tokens = usage.tokens
    cost_usd = usage.cost_usd
    estimated_usd = usage.estimated_usd
    unpriced = True
    if not isinstance(answer, ModelFailed):
        tokens = add_tokens(tokens, answer.tokens)
        cost_usd = add_cost(cost_usd, answer.cost_usd)
        estimated_usd = add_cost(estimated_usd, answer.estimated_usd)
        unpriced = answer.cost_usd is None
    usage = RunUsage(
        model=answer.model or usage.model,
        model_calls=usage.model_calls + 1,
        tool_calls=usage.tool_calls,
        tokens=add_tokens(tokens, answer.wasted_tokens),
        cost_usd=add_cost(cost_usd, answer.wasted_usd),
        unpriced_calls=usage.unpriced_calls + unpriced,
        estimated_usd=estimated_usd,
        sub_agents=usage.sub_agents,
    )
    return replace(session, run=replace(session.run, usage=usage))


def with_sub_agents(session: Active, result: CallResult) -> Active:
    """The session with what a sub-agent used whose end is this result."""
    if isinstance(result, ToolUncertain):
        return session
    usage = session.run.usage
    usage = replace(usage, sub_agents=add_took(usage.sub_agents, result.total))
    return replace(session, run=replace(session.run, usage=usage))


def _with(session: Active, message: Message) -> Active:
    return replace(session, messages=(*session.messages, message))
