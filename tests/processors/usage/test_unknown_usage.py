"""What nobody reported is unpriced and never free; an estimate stands beside it and counts."""

from dataclasses import replace
from decimal import Decimal

import pytest

from processors.models.call import tell
from processors.tenants.budgets import Account, spend, used_up
from processors.usage.metering import Total, add, meter
from schemas.definitions.prices import Budget, Price
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.usage import TokensUsed
from schemas.events.values import Message, Tokens
from schemas.ports import ChatAnswer, Failure, Tried
from tests.support.processors import MODEL, at, company, of_run

PRICED = MODEL.model_copy(update={"price": Price(input=1, output=2)})
KNOWN = company(PRICED)
ASKED = of_run(
    ModelAsked, "1", step=1, model=MODEL.name, messages=(Message(role="user", content="x" * 400),)
)
ANSWER = ChatAnswer(
    MODEL.name, MODEL.provider, "", "y" * 40, (), "stop", Tokens(), at(0), at(1), usage_known=False
)


def responded(answer: ChatAnswer) -> ModelResponded:
    event = tell(ASKED, answer, KNOWN)[0]
    assert isinstance(event, ModelResponded)
    return event


def used(answer: ChatAnswer) -> TokensUsed:
    return meter(responded(answer), KNOWN)[0]


@pytest.mark.parametrize(
    ("reported", "estimated_usd"),
    [
        (Tokens(), Decimal("0.00012")),
        (Tokens(input_tokens=1_000), Decimal("0.00102")),
        (Tokens(input_tokens=1_000, output_tokens=1), Decimal("0.00102")),
    ],
)
def test_a_call_of_unknown_usage_has_no_price_and_an_estimate(
    reported: Tokens, estimated_usd: Decimal
) -> None:
    one = used(replace(ANSWER, tokens=reported))
    assert one.cost_usd is None and one.charged_usd is None and one.uncached_usd is None
    assert one.estimated_usd == estimated_usd
    assert one.tokens == reported
    assert add(Total(), one).unpriced_calls == 1


def test_counted_zeros_are_free_and_a_cached_answer_too() -> None:
    zeros = used(replace(ANSWER, usage_known=True))
    assert (zeros.cost_usd, zeros.estimated_usd) == (0, None)
    cached = used(replace(ANSWER, cache_hit=True))
    assert cached.cost_usd == 0
    assert cached.saved_usd is None and cached.estimated_usd is None


def test_a_hard_budget_counts_the_estimate() -> None:
    budget = Budget(day=Decimal("0.0001"), hard=True)
    account, alerts = spend(Account(), used(ANSWER), budget)
    assert account.day.usd == Decimal("0.00012")
    assert used_up(account, budget, at(2)) is not None
    assert alerts


ATTEMPT = Tried(MODEL.name, MODEL.provider, "provider_error", tokens=Tokens(input_tokens=300))


@pytest.mark.parametrize(
    ("known", "cost_usd", "estimated_usd"),
    [(True, Decimal("0.0003"), None), (False, None, Decimal("0.0003"))],
)
def test_what_failed_attempts_reported_is_booked_as_waste(
    known: bool, cost_usd: Decimal | None, estimated_usd: Decimal | None
) -> None:
    attempt = replace(ATTEMPT, usage_known=known, wasted=True, unsure=True)
    failure = Failure("provider_error", "broken off", at(0), at(1), 1, MODEL.name, (attempt,))
    failed = tell(ASKED, failure, KNOWN)[0]
    assert isinstance(failed, ModelFailed)
    assert failed.wasted_tokens.input_tokens == 300
    (booked,) = meter(failed, KNOWN)
    assert booked.wasted and booked.tokens.input_tokens == 300
    assert (booked.cost_usd, booked.estimated_usd) == (cost_usd, estimated_usd)
