"""Model requests: what the model is asked next, and which limit forbids another step."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from processors.agent.calls import human_input
from processors.agent.conversation import context_window, message_deltas
from processors.agent.conversation import messages as conversation
from processors.agent.conversation.messages import CONTEXT_CHARS_MAX, chars_in
from processors.agent.conversation.structured_output import instruction, schema_text
from processors.agent.decisions import AskModel, Decided
from processors.agent.plan_and_critique import StageQuestion, answers_next, stage_question
from processors.agent.run_end import end_run
from processors.agent.state import Active, ActiveRun, RunUsage, agent_of
from processors.common.text import ms_between
from processors.prompts import render
from processors.usage.metering import add_cost
from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.limits import Context
from schemas.events.values import ToolSpec


def ask(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Ask the model, unless a limit is reached."""
    run = session.run
    agent = agent_of(run, definitions)
    reached = limit_reached(agent, run)
    if reached:
        return end_run(session, "stopped", *reached)
    try:
        system = render.system_text(agent, run.prompt_version, run.request, definitions)
    except render.RenderError as wrong:
        return end_run(session, "failed", "prompt_unfit", str(wrong))
    own = stage_question(run, agent, system, definitions)
    if own:
        return _ask_stage_question(session, at, agent, own)
    tools = _tools(run, agent, definitions)
    if agent.context:
        room = _room(agent, agent.context, system, tools)
        shape = context_window.shaped(session.messages, run.task, agent.context, room)
        session = replace(session, messages=shape.messages)
        if shape.too_long:
            what = f"more than the {agent.context.tokens:,} tokens of the agent's context"
            return _too_large(session, what)
        if shape.older:
            question = context_window.question(session.messages, shape.older, room)
            summarising = replace(run, summary_of=shape.older)
            return _asked(
                replace(session, run=summarising),
                at,
                agent,
                model=agent.model,
                messages=conversation.to_send(system, agent, question),
                tools=tools,  # the beginning is that of any question: providers have it cached
                max_output_tokens=context_window.SUMMARY_TOKENS,
                purpose="summary",
            )
    return _ask_next(session, at, agent, system, tools)


def _ask_next(
    session: Active, at: datetime, agent: Agent, system: str, tools: tuple[ToolSpec, ...]
) -> Decided:
    """The conversation's next question."""
    messages = conversation.to_send(system, agent, session.messages)
    if chars_in(messages) > CONTEXT_CHARS_MAX:
        return _too_large(session, f"more than {CONTEXT_CHARS_MAX:,} characters")
    delta, sent = message_deltas.delta_of(session.run.sent, messages)
    return _asked(
        replace(session, run=replace(session.run, sent=sent)),
        at,
        agent,
        messages=delta.messages,
        follows=delta.follows,
        follows_chars=delta.follows_chars,
        digest=delta.digest,
        model=agent.model,
        tools=tools,
        **_answer_fields(session.run, agent),
    )


def _ask_stage_question(session: Active, at: datetime, agent: Agent, own: StageQuestion) -> Decided:
    """A question of a plan or a critique that is not the conversation's next."""
    if chars_in(own.messages) > CONTEXT_CHARS_MAX:
        return _too_large(session, f"more than {CONTEXT_CHARS_MAX:,} characters")
    return _asked(
        session,
        at,
        agent,
        model=own.model,
        messages=own.messages,
        **_answer_fields(session.run, agent),
    )


def _answer_fields(run: ActiveRun, agent: Agent) -> dict[str, Any]:
    """The fields of a question that are about its answer."""
    return {
        "max_output_tokens": agent.max_output_tokens,
        "cache_ttl_s": agent.cache.ttl_s if agent.cache else 0,
        "output_schema": schema_text(agent) if answers_next(run) else "",
    }


def _asked(session: Active, at: datetime, agent: Agent, **question: Any) -> Decided:
    run = replace(session.run, step=session.run.step + 1)
    asked = AskModel(
        of=run.request,
        step=run.step,
        fallback=agent.fallback,
        temperature=agent.temperature,
        timeout_ms=time_left_ms(run, at),
        **question,
    )
    return replace(session, run=run), (asked,)


def time_left_ms(run: ActiveRun, at: datetime) -> int:
    """How long a question of the run may take that is asked at `at`."""
    return max(1, ms_between(at, run.ends_at(at)))


def _too_large(session: Active, what: str) -> Decided:
    """End the run. A first question that is too long is not kept."""
    messages = session.messages if session.run.step else session.messages[:-1]
    detail = f"the conversation has {what}: begin a new session"
    return end_run(replace(session, messages=messages), "failed", "too_large", detail)


def _tools(run: ActiveRun, agent: Agent, definitions: Definitions) -> tuple[ToolSpec, ...]:
    return conversation.tool_specs(run.tool_versions, definitions) + human_input.specs(agent)


def _room(agent: Agent, context: Context, system: str, tools: tuple[ToolSpec, ...]) -> int:
    return context_window.room(context, system + instruction(agent), tools)


def go_on_with_summary(
    session: Active, text: str | None, at: datetime, definitions: Definitions
) -> Decided:
    """Go on with a summary in place of the messages that it is of; without one, without them."""
    run = session.run
    agent = agent_of(run, definitions)
    system = render.system_text(agent, run.prompt_version, run.request, definitions)
    room = 0
    if agent.context:
        room = _room(agent, agent.context, system, _tools(run, agent, definitions))
    return ask(context_window.summarised(session, text, room), at, definitions)


def ask_again(session: Active, at: datetime, definitions: Definitions) -> Decided:
    """Ask once more, with the whole conversation. Nobody was asked: the worker that should have
    asked does not know the conversation.
    """
    run = replace(session.run, sent=None, summary_of=0, asides=session.run.asides + 1)
    return ask(replace(session, run=run), at, definitions)


def _spent_usd(usage: RunUsage) -> Decimal:
    """What counts towards the limit: what is known, and what is estimated of the rest."""
    known = add_cost(usage.cost_usd, usage.sub_agents.total_cost_usd)
    return add_cost(known, usage.estimated_usd)


def limit_reached(agent: Agent, run: ActiveRun) -> tuple[str, str] | None:
    """The limit that forbids another step, and a sentence on it. It is asked before a step only, so
    an answer that is there is never thrown away.
    """
    usage = run.usage
    limits = agent.limits
    values = {
        "steps": (run.step - run.asides, limits.steps),
        "tokens": (usage.tokens.input_tokens + usage.tokens.output_tokens, limits.tokens),
        "cost_usd": (_spent_usd(usage), limits.cost_usd),
    }
    for name, (value, limit) in values.items():
        if value >= limit:
            advice = f"raise limits.{name} of agent {agent.name!r}"
            return name, f"reached {value} of at most {limit}: {advice}"
    return None
