"""What is the model asked next, and which limit forbids another step?"""

from dataclasses import replace

from processors import conversation, patterns, prompts, waiting
from processors.conversation import CONTEXT_CHARS_MAX, chars_in
from processors.output import schema_text
from processors.session import Moved, Run, Session, agent_of, end_run
from processors.text import ms_between
from schemas.agent import ModelAsked
from schemas.base import Event
from schemas.registry import Agent, Definitions


def ask(session: Session, event: Event, given: Definitions) -> Moved:
    """Ask the model, unless a limit is reached."""
    run, agent = session.run, agent_of(session.run, given)
    reached = limit_reached(agent, run)
    if reached:
        return end_run(session, event, "stopped", *reached)
    try:
        system = prompts.system_text(agent, run.prompt_version, run.request, given)
    except prompts.Unrendered as wrong:
        return end_run(session, event, "failed", "prompt_unfit", str(wrong))
    own = patterns.own_question(session, agent, system, given)
    messages = own.messages if own else conversation.to_send(system, agent, session.messages)
    if chars_in(messages) > CONTEXT_CHARS_MAX:
        detail = f"the conversation has more than {CONTEXT_CHARS_MAX:,} characters: begin a new session"
        kept = session.messages if run.step else session.messages[:-1]  # a question too long is not kept
        return end_run(replace(session, messages=kept), event, "failed", "too_large", detail)
    run = replace(run, step=run.step + 1)
    name = own.model if own else agent.model
    tools = () if own else conversation.tool_specs(run.tool_versions, given) + waiting.specs(agent)
    asked = run.says(
        event, ModelAsked, step=run.step, model=name, fallback=agent.fallback, messages=messages, tools=tools,
        temperature=agent.temperature, max_output_tokens=agent.max_output_tokens,
        timeout_ms=max(1, ms_between(event.at, run.ends_at(event.at))), cache_ttl_s=agent.cache.ttl_s if agent.cache else 0,
        output_schema=schema_text(agent) if patterns.answers_next(session) else "")
    return replace(session, run=run), [asked]


def limit_reached(agent: Agent, run: Run) -> tuple[str, str] | None:
    """The limit that forbids another step, and a sentence on it. An answer that is there is never thrown away."""
    limits, spent = agent.limits, run.tokens.input_tokens + run.tokens.output_tokens
    values = {"steps": (run.step, limits.steps), "tokens": (spent, limits.tokens),
              "cost_usd": (run.cost_usd, limits.cost_usd)}
    for name, (value, limit) in values.items():
        if value >= limit:
            return name, f"reached {value} of at most {limit}: raise limits.{name} of agent {agent.name!r}"
    return None
