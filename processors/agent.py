"""How does an agent's conversation go on when something happens to it?

A session is a state machine: idle, thinking (a model was asked) or acting (tools were called). Every transition that
there is stands in `NEXT`; whatever is not there changes nothing, so an answer that nobody waits for any more is
ignored, and each run ends exactly once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from processors import children, conversation
from processors.calling import plan_calls, wrong_with
from processors.conversation import CONTEXT_CHARS_MAX, chars_in, error_result, user_says
from processors.session import Phase, Run, Session, blocked_run, end_run, outcome_of, with_results
from processors.usage import add_cost, add_tokens
from schemas.agent import (
    Message, ModelAsked, ModelFailed, PassagesAsked, RequestBlocked, RequestCleared, ResponseBlocked, ResponseCleared,
    ResultCleared, RunCancelled, RunFinished, ToolCalled, ToolFailed, ToolUncertain, Woke,
)
from schemas.base import Event
from schemas.registry import Agent, Definitions, Model, Tool

WAITING_MAX = 20
CANCELLED_REMEMBERED = 20

Heard = (RequestCleared | RequestBlocked | ResponseCleared | ResponseBlocked | ResultCleared | ModelFailed | ToolFailed
         | ToolUncertain | RunCancelled | Woke)
Moved = tuple[Session, list[Event]]


def advance(
    session: Session, event: Heard, given: Definitions
) -> tuple[Session, list[Event]]:
    """Take one event. When a run has ended, the request that waited longest begins."""
    move = NEXT.get((session.phase, type(event)))
    if move is None:
        return session, []
    before = session
    session, events = move.act(session, event, given)
    while session.run is None and session.waiting:
        request, *rest = session.waiting
        session, more = _begin(replace(session, waiting=tuple(rest)), request, event, given)
        events = [*events, *more]
    return session, [*events, *children.consequences(before, event, events)]


def _take(session: Session, request: RequestCleared, given: Definitions) -> Moved:
    if session.knows(request.run):
        return session, []
    not_begun = Run(request, deadline=request.at)
    if request.run in session.cancelled:
        return session.without(request.run), [outcome_of(not_begun, request, "cancelled", "cancelled before it began")]
    if session.run is None:
        return _begin(session, request, request, given)
    chars = sum(len(other.text) for other in (*session.waiting, request))
    if len(session.waiting) >= WAITING_MAX or chars > CONTEXT_CHARS_MAX:
        detail = f"{len(session.waiting)} requests wait in this session already: send the next when one has finished"
        return session.without(request.run), [outcome_of(not_begun, request, "failed", "session_busy", detail)]
    return replace(session, waiting=(*session.waiting, request)), []


def _begin(session: Session, request: RequestCleared, event: Event, given: Definitions) -> Moved:
    agent = given.find("agent", request.agent, request.agent_version)
    if not isinstance(agent, Agent):
        detail = f"version {request.agent_version} of agent {request.agent!r} is not defined: apply it again"
        failed = outcome_of(Run(request, deadline=event.at), event, "failed", "agent_missing", detail)
        return session.without(request.run), [failed]
    versions = {name: version for name in agent.tools if (version := given.version("tool", name)) is not None}
    run = Run(request, deadline=event.at + timedelta(seconds=agent.limits.seconds), tool_versions=versions)
    kept = conversation.recent(session.messages, agent.history_messages, CONTEXT_CHARS_MAX // 2)
    return _ask(replace(session, run=run, messages=(*kept, user_says(request.text))), event, given)


def _ask(session: Session, event: Event, given: Definitions) -> Moved:
    """Ask the model, unless a limit is reached."""
    run, request = session.run, session.run.request
    agent = given.find("agent", request.agent, request.agent_version)
    reached = _limit_reached(agent, run)
    if reached:
        return end_run(session, event, "stopped", *reached)
    messages = conversation.to_send(agent, session.messages)
    if chars_in(messages) > CONTEXT_CHARS_MAX:
        detail = f"the conversation has more than {CONTEXT_CHARS_MAX:,} characters: begin a new session"
        kept = session.messages if run.step else session.messages[:-1]  # a question too long is not kept
        return end_run(replace(session, messages=kept), event, "failed", "too_large", detail)
    run = replace(run, step=run.step + 1)
    model = given.find("model", agent.model)
    timeout = {"timeout_ms": model.timeout_ms} if isinstance(model, Model) else {}
    asked = run.says(
        event, ModelAsked, step=run.step, model=agent.model, fallback=agent.fallback, messages=messages,
        tools=conversation.tool_specs(run.tool_versions, given), temperature=agent.temperature,
        max_output_tokens=agent.max_output_tokens, **timeout)
    return replace(session, run=run), [asked]


def _limit_reached(agent: Agent, run: Run) -> tuple[str, str] | None:
    """The limit that forbids another step, and a sentence on it. An answer that is there is never thrown away."""
    limits, spent = agent.limits, run.tokens.input_tokens + run.tokens.output_tokens
    values = {"steps": (run.step, limits.steps), "tokens": (spent, limits.tokens),
              "cost_usd": (run.cost_usd, limits.cost_usd)}
    for name, (value, limit) in values.items():
        if value >= limit:
            return name, f"reached {value} of at most {limit}: raise limits.{name} of agent {agent.name!r}"
    return None


def _hear(session: Session, said: ResponseCleared, given: Definitions) -> Moved:
    if not session.run.awaits(said):
        return session, []
    session = _counted(session, said)
    if said.finish_reason == "length":
        return end_run(session, said, "failed", "truncated", "the answer reached the model's limit on output tokens: "
                       "raise the agent's max_output_tokens")
    if said.finish_reason == "content_filter":
        return end_run(session, said, "failed", "content_filter", "the provider withheld the answer")
    message = Message(role="assistant", content=said.content, tool_calls=said.tool_calls)
    if chars_in((*session.messages, message)) > CONTEXT_CHARS_MAX:
        return end_run(session, said, "failed", "too_large", "the answer is too long for the conversation: "
                       "set the agent's max_output_tokens")
    if said.tool_calls:
        return _act(session, said, message, given)
    if not said.content:
        return end_run(session, said, "failed", "empty_answer", "the model said nothing and called nothing")
    return end_run(_with(session, message), said, "completed", answer=said.content)


def _act(session: Session, said: ResponseCleared, message: Message, given: Definitions) -> Moved:
    wrong = wrong_with(said.tool_calls)
    if wrong:
        return end_run(session, said, "failed", "bad_tool_calls", wrong)
    plan = plan_calls(session.run, said, given)
    if plan.repeated:
        return end_run(session, said, "stopped", "loop", f"the model called {plan.repeated!r} with the same arguments "
                       "3 times: it makes no progress")
    session = replace(_with(session, message), run=plan.run)
    if plan.events:
        return session, list(plan.events)
    return _ask(with_results(session), said, given)


def _collect(session: Session, result: ResultCleared | ToolFailed | ToolUncertain, given: Definitions) -> Moved:
    """Keep a result; when it was the last one, go on with all of them."""
    run = session.run
    if not run.awaits(result):
        return session, []
    content = _told(result)
    pending = tuple(replace(p, content=content, ends=_ends(run, result, given))
                    if p.call == result.call and p.content is None else p for p in run.pending)
    session = replace(session, run=replace(run, pending=pending))
    if pending == run.pending or any(p.content is None for p in pending):
        return session, []
    last = next((p for p in pending if p.ends), None)
    session = with_results(session)
    if last:
        return end_run(session, result, "completed", reason="tool", detail=f"ended by tool {last.tool!r}",
                       answer=last.content)
    return _ask(session, result, given)


def _told(result: ResultCleared | ToolFailed | ToolUncertain) -> str:
    """A result as the model reads it."""
    if isinstance(result, ResultCleared):
        return result.content
    if isinstance(result, ToolFailed):
        return error_result(result.reason, result.detail)
    return error_result("unknown", f"nobody knows whether this was done ({result.detail}): do not do it again, say "
                        "that it must be looked at")


def _ends(run: Run, result: ResultCleared | ToolFailed | ToolUncertain, given: Definitions) -> bool:
    if not isinstance(result, ResultCleared):
        return False
    tool = given.find("tool", result.tool, run.tool_versions.get(result.tool, 0))
    return result.ends or (isinstance(tool, Tool) and tool.terminal)


def _fail(session: Session, failed: ModelFailed, given: Definitions) -> Moved:
    if not session.run.awaits(failed):
        return session, []
    run = replace(session.run, model_calls=session.run.model_calls + 1, unpriced_calls=session.run.unpriced_calls + 1)
    return end_run(replace(session, run=run), failed, "failed", failed.reason, failed.detail)


def _block(session: Session, blocked: ResponseBlocked, given: Definitions) -> Moved:
    if not session.run.awaits(blocked):
        return session, []
    return end_run(_counted(session, blocked), blocked, "blocked", blocked.rule, blocked.detail)


def _refuse(session: Session, blocked: RequestBlocked, given: Definitions) -> Moved:
    if session.knows(blocked.run):
        return session, []
    return session.without(blocked.run), [blocked_run(blocked)]


def _cancel(session: Session, cancelled: RunCancelled, given: Definitions) -> Moved:
    """Wherever the run stands; one that has not come yet is remembered, so that it ends when it comes."""
    if session.run and session.run.request.run == cancelled.run:
        return end_run(session, cancelled, "cancelled", "cancelled", cancelled.reason)
    for request in session.waiting:
        if request.run == cancelled.run:
            ended = outcome_of(Run(request, cancelled.at), cancelled, "cancelled", "cancelled", cancelled.reason)
            return session.without(request.run), [ended]
    if session.knows(cancelled.run) or cancelled.run in session.cancelled:
        return session, []
    return replace(session, cancelled=(*session.cancelled, cancelled.run)[-CANCELLED_REMEMBERED:]), []


def _wake(session: Session, woke: Woke, given: Definitions) -> Moved:
    run = session.run
    if woke.at < run.deadline:
        return session, []
    agent = given.find("agent", run.request.agent, run.request.agent_version)
    return end_run(session, woke, "stopped", "seconds", f"reached {agent.limits.seconds:g} seconds: raise "
                   f"limits.seconds of agent {agent.name!r}")


def _counted(session: Session, said: ResponseCleared | ResponseBlocked) -> Session:
    run = session.run
    return replace(session, run=replace(
        run, model_calls=run.model_calls + 1, tokens=add_tokens(run.tokens, said.tokens),
        cost_usd=add_cost(run.cost_usd, said.cost_usd), unpriced_calls=run.unpriced_calls + (said.cost_usd is None)))


def _with(session: Session, message: Message) -> Session:
    return replace(session, messages=(*session.messages, message))


@dataclass(frozen=True)
class Move:
    """What is done at an event in a phase, and in which phases the session may be afterwards."""

    act: Callable[..., Moved]
    to: frozenset[Phase]


IDLE, THINKING, ACTING = Phase
ANY = frozenset(Phase)
OVER = frozenset({IDLE, THINKING})  # ended: idle, or thinking about the request that waited

# fmt: off
NEXT: dict[tuple[Phase, type[Event]], Move] = {
    (IDLE,     RequestCleared):  Move(_take,    OVER),
    (THINKING, RequestCleared):  Move(_take,    frozenset({THINKING})),
    (ACTING,   RequestCleared):  Move(_take,    frozenset({ACTING})),
    (IDLE,     RequestBlocked):  Move(_refuse,  frozenset({IDLE})),
    (THINKING, RequestBlocked):  Move(_refuse,  frozenset({THINKING})),
    (ACTING,   RequestBlocked):  Move(_refuse,  frozenset({ACTING})),
    (THINKING, ResponseCleared): Move(_hear,    ANY),
    (THINKING, ResponseBlocked): Move(_block,   OVER),
    (THINKING, ModelFailed):     Move(_fail,    OVER),
    (ACTING,   ResultCleared):   Move(_collect, ANY),
    (ACTING,   ToolFailed):      Move(_collect, ANY),
    (ACTING,   ToolUncertain):   Move(_collect, ANY),
    (IDLE,     RunCancelled):    Move(_cancel,  frozenset({IDLE})),
    (THINKING, RunCancelled):    Move(_cancel,  OVER),
    (ACTING,   RunCancelled):    Move(_cancel,  ANY),
    (THINKING, Woke):            Move(_wake,    OVER),
    (ACTING,   Woke):            Move(_wake,    ANY),
}
# fmt: on
