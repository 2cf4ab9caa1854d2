"""What is a model asked, and what does its answer mean? The asking is a port's work."""

from processors.text import clean, label, ms_between
from processors.usage import price
from schemas.agent import ModelAsked, ModelFailed, ModelResponded
from schemas.calls import ChatAnswer, ChatQuestion, Endpoint, Failure, Impossible, Uncertain
from schemas.codec import traceparent_of
from schemas.registry import Agent, Definitions, Model, Policy


def ask(asked: ModelAsked, given: Definitions) -> ChatQuestion | Impossible:
    """The event's id is the idempotency key: a redelivery may ask again and must not pay again."""
    found = (given.find("model", name) for name in (asked.model, *asked.fallback))
    endpoints = tuple(_endpoint(model) for model in found if isinstance(model, Model))
    if not endpoints:
        return Impossible("unknown_model", f"no model {asked.model!r} is defined: apply it, or change the agent's model")
    return ChatQuestion(
        endpoints, asked.messages, asked.tools, asked.temperature, asked.max_output_tokens, asked.timeout_ms,
        idempotency_key=str(asked.id), user=asked.user,
        context={"tenant": asked.tenant, "session": asked.session, "run": str(asked.run), "agent": asked.agent,
                 "step": str(asked.step), "traceparent": traceparent_of(asked)},
        audible=audible(asked, given),
        output_schema=asked.output_schema,
    )


def tell(
    asked: ModelAsked, answer: ChatAnswer | Failure | Uncertain, given: Definitions
) -> list[ModelResponded | ModelFailed]:
    """A failure arrives as a value, after the port's retries and fallbacks."""
    wait_ms = ms_between(answer.started_at, answer.at)
    if isinstance(answer, ChatAnswer):
        cost_usd = price(given.find("model", answer.endpoint), answer.provider, answer.response_model,
                         answer.tokens, answer.started_at, answer.service_tier)
        return [asked.then(
            ModelResponded, at=answer.at, model=label(answer.endpoint), provider=label(answer.provider),
            response_model=label(answer.response_model), tool_calls=answer.tool_calls,
            content=None if answer.content is None else clean(answer.content),
            finish_reason=label(answer.finish_reason), tokens=answer.tokens, cost_usd=cost_usd,
            attempts=answer.attempts, fell_back=answer.endpoint != asked.model, started_at=answer.started_at,
            wait_ms=wait_ms, first_token_ms=answer.first_token_ms,
            charge=asked.charge.model_copy(update={"service_tier": label(answer.service_tier)}))]
    reason = answer.reason if isinstance(answer, Failure) else "uncertain"
    return [asked.then(
        ModelFailed, at=answer.at, model=label(getattr(answer, "model", "") or asked.model), reason=label(reason),
        detail=clean(answer.detail), attempts=getattr(answer, "attempts", 1), started_at=answer.started_at,
        wait_ms=wait_ms)]


def _endpoint(model: Model) -> Endpoint:
    return Endpoint(model.name, model.provider, model.base_url, model.upstream, model.api_key, model.timeout_ms,
                    model.stream, model.first_token_ms, model.idle_ms, model.json_schema)


def audible(asked: ModelAsked, given: Definitions) -> bool:
    """Whether people may read along: not where a policy may still redact or block what the model is saying."""
    agent = given.find("agent", asked.agent, asked.agent_version)
    if asked.purpose:
        return False  # no turn of the conversation
    if not isinstance(agent, Agent) or agent.policy is None:
        return isinstance(agent, Agent)
    policy = given.find("policy", agent.policy)
    return isinstance(policy, Policy) and (policy.shadow or not any(
        "response" in rule.at and rule.action != "flag" for rule in policy.rules))
