"""What is a model asked, and what does its answer mean? The asking is a port's work."""

from decimal import Decimal

from processors.common.text import clean, label, ms_between
from processors.models.response_cache import kept
from processors.models.routing import Chosen, chars_of, choose, unrouted
from processors.usage.attempts import made_of, moves, waste_of
from processors.usage.estimates import estimated_tokens
from processors.usage.prices import price_with_and_without_cache
from schemas.definitions.kinds import Definitions, Model
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.operations import BreakerMoved
from schemas.events.values import Tokens
from schemas.ports import ChatAnswer, ChatQuestion, Endpoint, Failure, Impossible, Uncertain, Ways
from schemas.wire.codec import traceparent_of


def ask(asked: ModelAsked, definitions: Definitions) -> ChatQuestion | Impossible:
    """The event's id is the idempotency key: a redelivery may ask again and must not pay again.

    Every model has its own time, and all of them together what the run has left: one that hangs
    leaves the next its.
    """
    chosen = choose(asked, definitions)
    if isinstance(chosen, Impossible):
        return chosen
    endpoints = tuple(_endpoint(model) for model in chosen.models)
    return ChatQuestion(
        endpoints,
        asked.messages,
        asked.tools,
        asked.temperature,
        asked.max_output_tokens,
        min(asked.timeout_ms, sum(endpoint.timeout_ms for endpoint in endpoints)),
        idempotency_key=str(asked.id),
        user=asked.user,
        context={
            "tenant": asked.tenant,
            "session": asked.session,
            "run": str(asked.run),
            "agent": asked.agent,
            "step": str(asked.step),
            "traceparent": traceparent_of(asked),
        },
        audible=audible(asked, definitions),
        output_schema=asked.output_schema,
        ways=_ways(chosen),
        kept=kept(asked, endpoints),
        follows=asked.follows,
        digest=asked.digest,
    )


def tell(
    asked: ModelAsked, answer: ChatAnswer | Failure | Uncertain, definitions: Definitions
) -> list[ModelResponded | ModelFailed | BreakerMoved]:
    """A failure arrives as a value, after the port's retries and fallbacks."""
    route = (
        "" if definitions.model(asked.model) or not definitions.route(asked.model) else asked.model
    )
    common = {
        "at": answer.at,
        "route": route,
        "started_at": answer.started_at,
        "wait_ms": ms_between(answer.started_at, answer.at),
    }
    if isinstance(answer, ChatAnswer):
        return [_responded(asked, answer, definitions, common), *moves(asked, answer)]
    reason = answer.reason if isinstance(answer, Failure) else "uncertain"
    attempts = made_of(getattr(answer, "tried", ()), answer.started_at, definitions)
    return [
        asked.then(
            ModelFailed,
            model=label(getattr(answer, "model", "") or asked.model),
            reason=label(reason),
            detail=clean(answer.detail),
            attempts=getattr(answer, "attempts", 1),
            attempts_made=attempts,
            **waste_of(attempts),
            **common,
        ),
        *moves(asked, answer),
    ]


def _responded(
    asked: ModelAsked, answer: ChatAnswer, definitions: Definitions, common: dict
) -> ModelResponded:
    cost_usd, uncached_usd = _priced(answer, answer.tokens, definitions)
    estimated_usd = None
    if not answer.usage_known:
        tokens = estimated_tokens(chars_of(asked), answer)
        estimated_usd, _ = _priced(answer, tokens, definitions)
        cost_usd = uncached_usd = None
    attempts = made_of(answer.tried, answer.started_at, definitions, cost_usd)
    took = {
        "tokens": answer.tokens,
        "cost_usd": cost_usd,
        "uncached_usd": uncached_usd,
        "estimated_usd": estimated_usd,
        "unrouted_usd": unrouted(asked, answer, cost_usd, definitions),
    }
    if answer.cache_hit:
        took = {
            "tokens": Tokens(),
            "cost_usd": 0,
            "cache_hit": True,
            "saved": answer.tokens,
            "saved_usd": cost_usd,
        }
    return asked.then(
        ModelResponded,
        model=label(answer.endpoint),
        provider=label(answer.provider),
        response_model=label(answer.response_model),
        tool_calls=answer.tool_calls,
        content=None if answer.content is None else clean(answer.content),
        finish_reason=label(answer.finish_reason),
        attempts=answer.attempts,
        fell_back=answer.endpoint != (answer.preferred or asked.model),
        attempts_made=attempts,
        first_token_ms=answer.first_token_ms,
        charge=asked.charge.model_copy(update={"service_tier": label(answer.service_tier)}),
        **waste_of(attempts),
        **took,
        **common,
    )


def _priced(
    answer: ChatAnswer, tokens: Tokens, definitions: Definitions
) -> tuple[Decimal | None, Decimal | None]:
    """What so many tokens cost at the model that answered, and without its provider's cache."""
    return price_with_and_without_cache(
        definitions.model(answer.endpoint),
        answer.provider,
        answer.response_model,
        tokens,
        answer.started_at,
        answer.service_tier,
    )


def _endpoint(model: Model) -> Endpoint:
    return Endpoint(
        model.name,
        model.provider,
        model.base_url,
        model.upstream,
        model.api_key,
        model.timeout_ms,
        model.stream,
        model.first_token_ms,
        model.idle_ms,
        model.json_schema,
    )


def audible(asked: ModelAsked, definitions: Definitions) -> bool:
    """Whether people may read along: not where a policy may still redact or block what the model is
    saying, nor where the question is none of the conversation.
    """
    if asked.purpose:
        return False
    agent = definitions.agent(asked.agent, asked.agent_version)
    if agent is None or agent.policy is None:
        return agent is not None
    policy = definitions.policy(agent.policy)
    return policy is not None and not policy.changes_responses


def _ways(chosen: Chosen) -> Ways:
    """How the port goes through the endpoints, where a route says how."""
    route = chosen.route
    if route is None:
        return Ways()
    if route.cascade:
        checked = sum(
            model.name != route.cascade[-1] for model in chosen.models[: chosen.candidates]
        )
        return Ways(route.name, checked=checked, check=route.check)
    return Ways(
        route.name,
        measured=chosen.candidates if route.by == "latency" else 0,
        hedge_ms=route.hedge.after_ms if route.hedge else None,
        hedge_budget=route.hedge.budget if route.hedge else 0.0,
    )
