"""What does an answer do to the run that waits for it: a model's, a tool's, or none at all?"""

from dataclasses import replace

from processors.agent import plan_and_critique
from processors.agent.conversation.message_deltas import UNKNOWN
from processors.agent.conversation.messages import (
    CONTEXT_CHARS_MAX,
    chars_in,
    error_result,
    user_says,
)
from processors.agent.model_requests import again, ask, summarised
from processors.agent.state import Moved, Pending, Run, Session, agent_of, end_run, with_results
from processors.agent.structured_output import ERROR_CHARS, complaint, read_output
from processors.agent.tool_calls import plan_calls, wrong_with
from processors.common.json_schema import Unfit
from processors.common.text import cut
from processors.usage.metering import add_cost, add_tokens, add_took
from schemas.definitions.kinds import Definitions
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import ResultCleared, ToolFailed, ToolUncertain
from schemas.events.base import Event
from schemas.events.values import Message


def hear(session: Session, said: ResponseCleared, given: Definitions) -> Moved:
    if not session.run.awaits(said):
        return session, []
    session = counted(session, said)
    if session.run.summary_of:
        whole = said.finish_reason not in ("length", "content_filter") and not said.tool_calls
        return summarised(session, said, said.content if whole else None, given)
    if said.finish_reason == "length":
        return end_run(
            session,
            said,
            "failed",
            "truncated",
            "the answer reached the model's limit on output tokens: "
            "raise the agent's max_output_tokens",
        )
    if said.finish_reason == "content_filter":
        return end_run(
            session, said, "failed", "content_filter", "the provider withheld the answer"
        )
    message = Message(role="assistant", content=said.content, tool_calls=said.tool_calls)
    if chars_in((*session.messages, message)) > CONTEXT_CHARS_MAX:
        return end_run(
            session,
            said,
            "failed",
            "too_large",
            "the answer is too long for the conversation: set the agent's max_output_tokens",
        )
    agent = agent_of(session.run, given)
    if said.tool_calls and plan_and_critique.tools_forbidden(session, agent):
        return end_run(
            session,
            said,
            "failed",
            "bad_tool_calls",
            "the model called a tool where none was offered",
        )
    if said.tool_calls:
        return _act(session, said, message, given)
    if not said.content:
        return end_run(
            session, said, "failed", "empty_answer", "the model said nothing and called nothing"
        )
    turn = plan_and_critique.turn(session, said, agent, given)
    if turn.failed:
        return end_run(turn.session, said, "failed", *turn.failed)
    if turn.final is None:
        return ask(turn.session, said, given)
    return _answer(turn, said, given)


def _answer(turn: plan_and_critique.Turn, said: ResponseCleared, given: Definitions) -> Moved:
    """End the run with an answer that its agent promises; one that does not fit is shown to the
    model with what is wrong.

    The last text of a run that fails is kept in `answer`, and never as a result: its outcome is
    `failed`.
    """
    session, run, agent = turn.session, turn.session.run, agent_of(turn.session.run, given)
    try:
        return end_run(
            session, said, "completed", detail=turn.detail, answer=read_output(agent, turn.final)
        )
    except Unfit as unfit:
        if run.repairs >= agent.output_repairs:
            return end_run(
                session, said, "failed", "bad_output", _unfit_after(run.repairs, unfit), turn.final
            )
        session = replace(
            _with(session, user_says(complaint(unfit))), run=replace(run, repairs=run.repairs + 1)
        )
        return ask(session, said, given)


def _unfit_after(repairs: int, unfit: Unfit) -> str:
    return f"the answer does not fit the agent's output schema, after {repairs} repairs: {cut(str(unfit), ERROR_CHARS)}"


def _act(session: Session, said: ResponseCleared, message: Message, given: Definitions) -> Moved:
    wrong = wrong_with(said.tool_calls)
    if wrong:
        return end_run(session, said, "failed", "bad_tool_calls", wrong)
    plan = plan_calls(session.run, said, given)
    if plan.repeated:
        return end_run(
            session,
            said,
            "stopped",
            "loop",
            f"the model called {plan.repeated!r} with the same arguments "
            "3 times: it makes no progress",
        )
    session = replace(_with(session, message), run=plan.run)
    if plan.events:
        return session, list(plan.events)
    return ask(with_results(session), said, given)


def collect(
    session: Session, result: ResultCleared | ToolFailed | ToolUncertain, given: Definitions
) -> Moved:
    """Keep a result; when it was the last one, go on with all of them. A call that waits for people
    has none yet.
    """
    run = session.run
    if not run.awaits(result):
        return session, []
    content = _told(result)
    pending = tuple(
        replace(p, content=content, ends=_ends(run, result, given), whole=_kept(result))
        if p.call == result.call and p.content is None and not p.waits
        else p
        for p in run.pending
    )
    if pending == run.pending:
        return session, []
    return go_on(
        with_others(replace(session, run=replace(run, pending=pending)), result), result, given
    )


def go_on(session: Session, event: Event, given: Definitions) -> Moved:
    """Ask on with all results, once the last one is there."""
    if session.run.unanswered():
        return session, []
    last = next((p for p in session.run.pending if p.ends), None)
    session = with_results(session)
    if last:
        return _ended_by(last, session, event, given)
    return ask(session, event, given)


def _ended_by(last: Pending, session: Session, event: Event, given: Definitions) -> Moved:
    """A tool's result is the run's answer, and must be what the agent promises too."""
    try:
        answer = read_output(agent_of(session.run, given), last.content or "")
    except Unfit as unfit:
        return end_run(session, event, "failed", "bad_output", _unfit_after(0, unfit), last.content)
    return end_run(
        session,
        event,
        "completed",
        reason="tool",
        detail=f"ended by tool {last.tool!r}",
        answer=answer,
        whole=last.whole,
    )


def _told(result: ResultCleared | ToolFailed | ToolUncertain) -> str:
    """A result as the model reads it."""
    if isinstance(result, ResultCleared):
        return result.content
    if isinstance(result, ToolFailed):
        return error_result(result.reason, result.detail)
    return error_result(
        "unknown",
        f"nobody knows whether this was done ({result.detail}): do not do it again, say "
        "that it must be looked at",
    )


def _kept(result: ResultCleared | ToolFailed | ToolUncertain) -> str:
    return result.whole.key if isinstance(result, ResultCleared) and result.whole else ""


def _ends(run: Run, result: ResultCleared | ToolFailed | ToolUncertain, given: Definitions) -> bool:
    if not isinstance(result, ResultCleared):
        return False
    tool = given.tool(result.tool, run.tool_versions.get(result.tool, 0))
    return result.ends or (tool is not None and tool.terminal)


def fail(session: Session, failed: ModelFailed, given: Definitions) -> Moved:
    if not session.run.awaits(failed):
        return session, []
    if failed.reason == UNKNOWN:
        return again(session, failed, given)
    session = counted(session, failed)
    if session.run.summary_of:
        return summarised(session, failed, None, given)
    return end_run(session, failed, "failed", failed.reason, failed.detail)


def block(session: Session, blocked: ResponseBlocked, given: Definitions) -> Moved:
    if not session.run.awaits(blocked):
        return session, []
    session = counted(session, blocked)
    if session.run.summary_of:
        return summarised(session, blocked, None, given)
    return end_run(session, blocked, "blocked", blocked.rule, blocked.detail)


def counted(session: Session, said: ResponseCleared | ResponseBlocked | ModelFailed) -> Session:
    """The session with what an answer took, or what a failure did."""
    run = replace(session.run, model=said.model or session.run.model)
    if isinstance(said, ModelFailed):
        return replace(
            session,
            run=_with_waste(
                replace(
                    run, model_calls=run.model_calls + 1, unpriced_calls=run.unpriced_calls + 1
                ),
                said,
            ),
        )
    return replace(
        session,
        run=_with_waste(
            replace(
                run,
                model_calls=run.model_calls + 1,
                tokens=add_tokens(run.tokens, said.tokens),
                cost_usd=add_cost(run.cost_usd, said.cost_usd),
                unpriced_calls=run.unpriced_calls + (said.cost_usd is None),
            ),
            said,
        ),
    )


def with_others(session: Session, result: ResultCleared | ToolFailed | ToolUncertain) -> Session:
    """The session with what an agent took whose end is this result."""
    if isinstance(result, ToolUncertain):
        return session
    return replace(
        session, run=replace(session.run, others=add_took(session.run.others, result.total))
    )


def _with_waste(run: Run, said: ResponseCleared | ResponseBlocked | ModelFailed) -> Run:
    """The run with what attempts took whose answers were not used: it counts against the limits
    like all the rest.
    """
    return replace(
        run,
        tokens=add_tokens(run.tokens, said.wasted_tokens),
        cost_usd=add_cost(run.cost_usd, said.wasted_usd),
    )


def _with(session: Session, message: Message) -> Session:
    return replace(session, messages=(*session.messages, message))
