"""Is every share of a budget told once, in its own period, and does a hard one stop what comes
after?
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.tenants.admission import Bucket, admit
from processors.tenants.budgets import Account, Spent, spend, used_up
from schemas.definitions.kinds import Definitions
from schemas.definitions.prices import Budget
from schemas.events.agent.runs import RequestAdmitted, RequestRefused
from schemas.events.usage import BudgetAlerted, TokensUsed
from schemas.events.values import Tokens
from schemas.events.webhooks import Webhook, WebhookAnswer, WebhookDelivered
from schemas.ports import ChatAnswer
from streams.engine.in_memory import Local
from streams.topology import PIPELINE
from tests.support.processors import AGENT, MODEL, TENANT, asked, company, ident

LAST_DAY = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)
NEXT_MONTH = LAST_DAY + timedelta(hours=2)
TEN = Budget(month=10, hard=True)


def used(usd: str | None, at: datetime = LAST_DAY, name: str = "u", **more: object) -> TokensUsed:
    return TokensUsed(
        **{
            "id": ident(f"{name}{usd}{at}"),
            "at": at,
            "tenant": "acme",
            "session": "s",
            "run": ident("r"),
            "agent": "a",
            "agent_version": 1,
            "model": "m",
            "provider": "p",
            "tokens": Tokens(),
            "cost_usd": usd,
        }
        | more
    )


def spending(
    budget: Budget | None, *calls: TokensUsed
) -> tuple[Account, list[tuple[str, Decimal, Decimal]]]:
    account, told = Account(), []
    for call in calls:
        account, alerts = spend(account, call, budget)
        told += [(alert.period, alert.share, alert.spent_usd) for alert in alerts]
    return account, told


@pytest.mark.parametrize(
    ("budget", "calls", "told"),
    [
        (Budget(month=10), ["4.99", "0.01", "0.01"], [("2026-01", "0.5", "5")]),
        (
            Budget(month=10),
            ["4", "4", "4"],
            [("2026-01", "0.5", "8"), ("2026-01", "0.8", "8"), ("2026-01", "1", "12")],
        ),
        (
            Budget(month=10),
            ["20", "20"],
            [("2026-01", share, "20") for share in ("0.5", "0.8", "1")],
        ),
        (Budget(day=1, month=100, alerts=("1",)), ["0.5", "0.5", "9"], [("2026-01-31", "1", "1")]),
        (Budget(month=10), [None, None], []),  # unpriced: nobody knows
        (None, ["100"], []),
    ],
)
def test_each_share_is_told_once(budget, calls, told):
    _, said = spending(budget, *(used(usd, name=str(nth)) for nth, usd in enumerate(calls)))
    assert said == [(period, Decimal(share), Decimal(spent)) for period, share, spent in told]


def test_what_the_contract_charges_counts_not_what_the_provider_asks():
    account, _ = spending(None, used("5", charged_usd="4"), used("1"))
    assert account.month == Spent("2026-01", Decimal(5))


def test_a_new_period_begins_at_nothing_and_a_late_call_of_the_old_one_changes_nothing():
    account, told = spending(TEN, used("10"), used("1", NEXT_MONTH), used("9", LAST_DAY, "late"))
    assert account == Account(Spent("2026-02", Decimal(1)), Spent("2026-02-01", Decimal(1)))
    assert [period for period, *_ in told] == ["2026-01"] * 3


def test_a_budget_that_is_raised_is_told_of_anew():
    account, _ = spending(Budget(month=10), used("10"))
    _, alerts = spend(account, used("1"), Budget(month=20))
    assert [alert.share for alert in alerts] == [Decimal("0.5")]


@given(st.lists(st.decimals(0, 3, places=3), max_size=20))
def test_alerts_are_those_of_the_sum_however_it_is_parted(costs):
    _, told = spending(TEN, *(used(str(usd), name=str(nth)) for nth, usd in enumerate(costs)))
    assert [share for _, share, _ in told] == [
        share for share in TEN.alerts if sum(costs) >= share * 10
    ]


@pytest.mark.parametrize(
    ("budget", "spent", "at", "over"),
    [
        (TEN, "10", LAST_DAY, ("2026-01", 3_600_000)),
        (TEN, "9.999999", LAST_DAY, None),
        (TEN, "10", NEXT_MONTH, None),
        (Budget(month=10), "10", LAST_DAY, None),  # it only tells
        (
            Budget(day=10, hard=True),
            "10",
            datetime(2026, 1, 31, 23, 59, 59, 500_000, UTC),
            ("2026-01-31", 500),
        ),
    ],
)
def test_a_hard_budget_is_used_up_until_its_period_is_over(budget, spent, at, over):
    account, _ = spending(None, used(spent))
    found = used_up(account, budget, at)
    assert (found and (found.period, found.wait_ms)) == over


KEPT = Budget(month=10, hard=True, reserve_usd=2)


@pytest.mark.parametrize(
    ("spent", "running", "kept"),
    [
        ("0", 4, None),
        ("0", 5, "10"),
        ("4", 2, None),
        ("4.01", 2, "4"),
        ("8", 0, None),
        ("8.5", 0, "0"),
        ("10", 0, "0"),
    ],
)
def test_a_reserve_is_kept_for_each_run_under_way(spent, running, kept):
    account, _ = spending(None, used(spent))
    over = used_up(account, KEPT, LAST_DAY, running)
    assert (over and over.kept_usd) == (kept and Decimal(kept))
    assert over is None or (over.wait_ms is None) == (Decimal(spent) < 10)


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "end"]), st.decimals(0, 2, places=2)), max_size=60)
)
def test_with_a_reserve_of_what_a_run_may_cost_a_burst_overspends_nothing(steps):
    """Requests come and runs end in any order, and what a run costs is known when it ends."""
    knows, bucket = company(TENANT.model_copy(update={"budget_usd": KEPT, "burst": 100})), Bucket()
    spent = Decimal(0)
    for nth, (what, usd) in enumerate(steps):
        if what == "ask":
            bucket, _ = admit(bucket, asked(f"r{nth}", at=LAST_DAY), knows)
        elif bucket.running:
            bucket, _ = admit(bucket, used(str(usd), name=str(nth)), knows)
            bucket, spent = replace(bucket, running=bucket.running - 1), spent + usd
    assert spent + 2 * bucket.running <= 10


def test_without_a_reserve_a_burst_overspends_by_what_its_runs_take():
    knows, bucket = (
        company(TENANT.model_copy(update={"budget_usd": TEN, "burst": 100, "concurrent_runs": 30})),
        Bucket(),
    )
    for nth in range(50):
        bucket, _ = admit(bucket, asked(f"r{nth}", at=LAST_DAY), knows)
    assert (
        bucket.running == 30
    )  # all of them may still cost what their agent's limits.cost_usd says


def test_a_reserve_that_is_full_is_told_as_such():
    knows = company(TENANT.model_copy(update={"budget_usd": KEPT}))
    _, [refused] = admit(Bucket(running=5), asked(at=LAST_DAY), knows)
    assert (refused.reason, refused.retry_after_ms) == ("budget", None)
    assert "$10.00 kept for 5 runs under way: ask again when one has finished" in refused.detail
    bucket, _ = admit(Bucket(), used("9"), knows)
    _, [refused] = admit(bucket, asked(at=LAST_DAY), knows)
    assert "less is left than a run's reserve_usd" in refused.detail


@pytest.mark.parametrize(("foreign", "told"), [(True, ["0.5", "0.8", "1"]), (False, ["0.5"])])
def test_what_other_applications_told_of_counts_unless_the_budget_says_otherwise(foreign, told):
    budget = Budget(month=10, foreign=foreign, hard=True)
    account, said = spending(budget, used("6"), used("5", name="otel", source="otel"))
    assert [share for _, share, _ in said] == [Decimal(share) for share in told]
    assert (used_up(account, budget, LAST_DAY) is None) != foreign


def test_admission_refuses_with_a_sentence_and_alerts_have_ids_of_their_own():
    knows = company(TENANT.model_copy(update={"budget_usd": TEN}))
    bucket, alerts = admit(Bucket(), used("12.5"), knows)
    assert len({alert.id for alert in alerts}) == 3
    _, [refused] = admit(bucket, asked(at=LAST_DAY), knows)
    assert (type(refused), refused.reason, refused.retry_after_ms) == (
        RequestRefused,
        "budget",
        3_600_000,
    )
    assert "$12.50 of the budget of $10.00 for 2026-01" in refused.detail
    pennies = company(
        TENANT.model_copy(update={"budget_usd": Budget(month=Decimal("0.0004"), hard=True)})
    )
    _, [refused] = admit(admit(Bucket(), used("0.000462"), pennies)[0], asked(at=LAST_DAY), pennies)
    assert "$0.000462 of the budget of $0.0004 for 2026-01" in refused.detail
    _, [admitted] = admit(bucket, asked(at=NEXT_MONTH), knows)
    assert type(admitted) is RequestAdmitted


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"month": 0},
        {"month": 5, "alerts": ["-1"]},
        {"month": "NaN"},
        {"month": 5, "reserve_usd": 1},
        {"month": 5, "hard": True, "reserve_usd": -1},
        {"month": 5, "day": 1, "hard": True, "reserve_usd": 2},
    ],
)
def test_a_budget_that_says_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Budget(**wrong)


def test_from_request_to_alert_and_stop_by_feature_and_team():
    """The whole table: calls carry the request's feature to the ledger, whose cost stops the next
    request.
    """

    def chat(question):
        return ChatAnswer(
            "small",
            "openai",
            "gpt-4o-mini",
            "hello",
            (),
            "stop",
            Tokens(input_tokens=500_000),
            when,
            when,
        )

    when = asked().at
    # 500,000 tokens at 2 dollars a million.
    knows = Definitions.of(
        TENANT.model_copy(update={"budget_usd": Budget(month="1.5", hard=True)}),
        MODEL,
        AGENT.model_copy(update={"tools": (), "policy": None, "fallback": ()}),
    )
    pager = Webhook(
        name="pager", url="https://pager.example", secret="env:PAGER", events=("budget.alerted",)
    )
    knows = Definitions.of(*knows.bodies.values(), pager)
    local = Local(
        PIPELINE,
        knows,
        {
            "chat": chat,
            "tool": None,
            "search": None,
            "webhook": lambda question: WebhookAnswer(204, when, when),
        },
    )
    said = [
        event
        for n in range(3)
        for event in local.send(
            asked(f"r{n}", session=f"s{n}", metadata={"feature": "returns", "team": "care"})
        )
    ]
    local.close()
    assert [
        (e.charge.feature, e.charge.team, e.charged_usd) for e in said if type(e) is TokensUsed
    ] == [("returns", "care", Decimal(1))] * 2
    assert [(e.share, e.spent_usd) for e in said if type(e) is BudgetAlerted] == [
        (Decimal("0.5"), 1),
        (Decimal("0.8"), 2),
        (Decimal(1), 2),
    ]
    assert [e.reason for e in said if type(e) is RequestRefused] == ["budget"]
    delivered = [e for e in said if type(e) is WebhookDelivered]
    assert len(delivered) == 3 and {(e.webhook, e.type, e.session) for e in delivered} == {
        ("pager", "budget.alerted", "alerts")
    }
