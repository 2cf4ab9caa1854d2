"""What is the model asked next, and which limit forbids another step?"""

from dataclasses import replace
from typing import Any

from processors.agent import human_input, plan_and_critique
from processors.agent.conversation import context_window, message_deltas
from processors.agent.conversation import messages as conversation
from processors.agent.conversation.messages import CONTEXT_CHARS_MAX, chars_in
from processors.agent.state import Moved, Run, Session, agent_of, end_run
from processors.agent.structured_output import instruction, schema_text
from processors.common.text import ms_between
from processors.prompts import render
from processors.usage.metering import add_cost
from schemas.definitions.kinds import Agent, Definitions
from schemas.events.agent.models import ModelAsked, ModelFailed
from schemas.events.base import Event
from schemas.events.values import ToolSpec


def ask(session: Session, event: Event, given: Definitions) -> Moved:
    """Ask the model, unless a limit is reached."""
    run, agent = session.run, agent_of(session.run, given)
    reached = limit_reached(agent, run)
    if reached:
        return end_run(session, event, "stopped", *reached)
    try:
        system = render.system_text(agent, run.prompt_version, run.request, given)
    except render.Unrendered as wrong:
        return end_run(session, event, "failed", "prompt_unfit", str(wrong))
    own = plan_and_critique.own_question(session, agent, system, given)
    tools = (
        () if own else conversation.tool_specs(run.tool_versions, given) + human_input.specs(agent)
    )
    if own is None and agent.context:
        shape = context_window.shaped(
            session.messages, run.task, agent.context, _room(agent, system, tools)
        )
        session = replace(session, messages=shape.messages)
        if shape.too_long:
            return _too_large(
                session,
                event,
                f"more than the {agent.context.tokens:,} tokens of the agent's context",
            )
        if shape.older:
            return _ask_for_summary(session, event, agent, system, tools, shape.older)
    messages = own.messages if own else conversation.to_send(system, agent, session.messages)
    if chars_in(messages) > CONTEXT_CHARS_MAX:
        return _too_large(session, event, f"more than {CONTEXT_CHARS_MAX:,} characters")
    known, sent = (
        ({"messages": messages}, run.sent) if own else message_deltas.fields(run.sent, messages)
    )
    session = replace(session, run=replace(run, sent=sent))
    return _asked(
        session,
        event,
        agent,
        **known,
        model=own.model if own else agent.model,
        tools=tools,
        max_output_tokens=agent.max_output_tokens,
        cache_ttl_s=agent.cache.ttl_s if agent.cache else 0,
        output_schema=schema_text(agent) if plan_and_critique.answers_next(session) else "",
    )


def _asked(session: Session, event: Event, agent: Agent, **question: Any) -> Moved:
    run = replace(session.run, step=session.run.step + 1)
    asked = run.says(
        event,
        ModelAsked,
        step=run.step,
        fallback=agent.fallback,
        temperature=agent.temperature,
        timeout_ms=max(1, ms_between(event.at, run.ends_at(event.at))),
        **question,
    )
    return replace(session, run=run), [asked]


def _too_large(session: Session, event: Event, what: str) -> Moved:
    kept = (
        session.messages if session.run.step else session.messages[:-1]
    )  # a question too long is not kept
    return end_run(
        replace(session, messages=kept),
        event,
        "failed",
        "too_large",
        f"the conversation has {what}: begin a new session",
    )


def _room(agent: Agent, system: str, tools: tuple[ToolSpec, ...]) -> int:
    return context_window.room(agent.context, system + instruction(agent), tools)


def _ask_for_summary(
    session: Session,
    event: Event,
    agent: Agent,
    system: str,
    tools: tuple[ToolSpec, ...],
    older: int,
) -> Moved:
    """The same beginning as any other question, so that the provider has it in its cache."""
    asked = context_window.question(session.messages, older, _room(agent, system, tools))
    session = replace(session, run=replace(session.run, summary_of=older))
    return _asked(
        session,
        event,
        agent,
        model=agent.model,
        messages=conversation.to_send(system, agent, asked),
        tools=tools,
        max_output_tokens=context_window.SUMMARY_TOKENS,
        purpose="summary",
    )


def summarised(session: Session, event: Event, text: str | None, given: Definitions) -> Moved:
    """Go on with a summary in place of what it is of. Without one it goes on as well: what was said
    before is left out.
    """
    run, agent = session.run, agent_of(session.run, given)
    tools = conversation.tool_specs(run.tool_versions, given) + human_input.specs(agent)
    system = render.system_text(agent, run.prompt_version, run.request, given)
    return ask(context_window.summarised(session, text, _room(agent, system, tools)), event, given)


def again(session: Session, failed: ModelFailed, given: Definitions) -> Moved:
    """Ask once more, with the whole conversation: nobody was asked, because who should have been
    does not know it.
    """
    run = replace(session.run, sent=None, summary_of=0, asides=session.run.asides + 1)
    return ask(replace(session, run=run), failed, given)


def limit_reached(agent: Agent, run: Run) -> tuple[str, str] | None:
    """The limit that forbids another step, and a sentence on it. An answer that is there is never
    thrown away.
    """
    limits, spent = agent.limits, run.tokens.input_tokens + run.tokens.output_tokens
    values = {
        "steps": (run.step - run.asides, limits.steps),
        "tokens": (spent, limits.tokens),
        "cost_usd": (add_cost(run.cost_usd, run.others.total_cost_usd), limits.cost_usd),
    }
    for name, (value, limit) in values.items():
        if value >= limit:
            return (
                name,
                f"reached {value} of at most {limit}: raise limits.{name} of agent {agent.name!r}",
            )
    return None
