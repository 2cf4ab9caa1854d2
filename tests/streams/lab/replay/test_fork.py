"""A fork shows another prompt or model at work, calls no tool and stays within its cost."""

import asyncio
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from infra.embedded.scripted import server
from processors.tenants import budgets
from schemas.definitions.kinds import Definitions, Model, Route
from schemas.definitions.prompts import Prompt, PromptUse
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import RequestCleared, RunFinished, ToolCalled
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from streams.cli.runs.forks import prompt_of, result
from streams.config import Settings
from streams.definitions import folder
from streams.engine.definitions_topic import plan
from streams.engine.errors import UserError
from streams.lab.playground import Playground
from streams.lab.replay.fork import Change, ForkError, fork
from streams.lab.replay.run_history import of_run

COMPANY = Path(__file__).parents[4] / "infra/company"
OTHER = {
    "rules": [
        {
            "when": {"last": "user", "matches": "order"},
            "call": {"name": "lookup_order", "arguments": {"order": "A-1001"}},
        },
        {
            "when": {"last": "user", "matches": "again"},
            "call": {"name": "refund_order", "arguments": {"order": "A-1001", "reason": "damaged"}},
        },
        {
            "when": {"last": "tool", "tool": "lookup_order"},
            "say": "In other words: {result.status}.",
        },
        {"when": {"last": "tool"}, "say": "I could not."},
    ]
}
GIVEN = Definitions.of(
    *folder.load(COMPANY, 8090).definitions,
    Model(
        name="other",
        provider="scripted",
        base_url="http://other/v1",
        upstream="scripted-2",
        price={"input": 1000, "output": 1000},
    ),
)


@pytest.fixture(scope="module")
def past():
    desk = Playground(Settings(services_port=8090), COMPANY, "support", "fernweh")
    events = desk.say("Where is my order A-1001?")
    desk.close()
    return of_run(events, events[0].run)


def over(script):
    return ModelClient(
        http_sender(
            httpx.AsyncClient(transport=httpx.ASGITransport(app=server.application(script))), str
        )
    )


def forked(past, change, script=OTHER, given=GIVEN):
    return asyncio.run(fork(past, given, change, over(script), unbooked))


async def unbooked(*used):
    """Where a test looks at something else."""


def test_another_model_from_the_second_step_on(past):
    made = forked(past, Change(step=2, model="other", cost_usd=Decimal(100)))
    assert (
        made.replayed == 1
        and made.finished.answer == "In other words: on its way."
        and made.unrecorded == []
    )
    assert [type(call) for call in made.calls] == [ToolCalled]
    found = result(past, next(e for e in past if isinstance(e, RunFinished)), made)
    assert found["different"] == 1 and found["steps"][0]["then"] == found["steps"][0]["now"]


def test_a_whole_run_again_asks_every_step_anew(past):
    made = forked(past, Change(model="other", cost_usd=Decimal(100)))
    assert made.replayed == 0 and len(made.answers) == 2 and made.cost_usd > 0


def test_what_the_run_did_not_call_is_not_called_now(past):
    again = [
        e.model_copy(update={"text": "and again"}) if isinstance(e, RequestCleared) else e
        for e in past
    ]
    made = forked(again, Change(model="other", cost_usd=Decimal(100)))
    assert made.unrecorded == ["refund_order"] and made.finished.answer == "I could not."


def test_a_fork_stops_at_its_cost(past):
    made = forked(past, Change(model="other", cost_usd=Decimal("0.00001")))
    assert (
        made.finished.outcome == "failed"
        and made.finished.reason == "fork_cost"
        and len(made.answers) == 2
    )


def test_a_model_without_a_price_is_not_asked_for_ever(past):
    free = Model(
        name="free", provider="scripted", base_url="http://other/v1", upstream="scripted-2"
    )
    asked = []

    async def restless(question):
        asked.append(question)
        call = {"name": "lookup_order", "arguments": {"order": f"A-{len(asked)}"}}
        return await over(
            {"rules": [{"when": {"last": last}, "call": call} for last in ("user", "tool")]}
        )(question)

    made = asyncio.run(
        fork(
            past,
            Definitions.of(*GIVEN.bodies.values(), free),
            Change(model="free"),
            restless,
            unbooked,
        )
    )
    assert made.finished.reason == "fork_cost" and made.unpriced == len(asked) == 5


def test_a_model_that_hangs_ends_the_fork(past):
    async def hang(question):
        await asyncio.Event().wait()

    made = asyncio.run(fork(past, GIVEN, Change(model="other", seconds=0.05), hang, unbooked))
    assert made.finished.outcome == "failed" and made.finished.reason == "fork_time"


@pytest.mark.parametrize("cost", ["0", "-1", "NaN"])
def test_no_money_asks_nobody(past, cost):
    assert (
        forked(past, Change(model="other", cost_usd=Decimal(cost))).finished.reason == "fork_cost"
    )


def test_a_route_answers_too(past):
    given = Definitions.of(
        *GIVEN.bodies.values(), Route(name="either", candidates=[{"model": "other"}])
    )
    made = forked(past, Change(model="either", cost_usd=Decimal(100)), given=given)
    assert made.finished.answer == "In other words: on its way."


def test_a_prompt_that_cannot_be_rendered_ends_the_fork_with_a_sentence(past):
    given = Definitions.of(*GIVEN.bodies.values(), Prompt(name="bad", task="{{ 1 / 0 }}"))
    finished = forked(past, Change(prompt=PromptUse(use="bad")), given=given).finished
    assert finished.outcome == "failed" and "division by zero" in finished.detail


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Change(model="nobody"), "there is no model 'nobody'"),
        (Change(prompt=PromptUse(use="nothing")), "there is no prompt nothing@prod"),
        (Change(prompt=PromptUse(use="support", version=7)), "there is no prompt support@7"),
        (
            Change(prompt=PromptUse(use="support", alias="canary")),
            "there is no prompt support@canary",
        ),
        (Change(step=3), "its last step is 2, and there is no step 3"),
    ],
)
def test_what_is_not_there_is_said(past, change, says):
    with pytest.raises(ForkError, match=says):
        forked(past, change)


def test_without_its_beginning_a_run_cannot_be_forked(past):
    with pytest.raises(ForkError, match="not on Kafka any more"):
        forked([event for event in past if not isinstance(event, RequestCleared)], Change())


def test_what_a_fork_spends_is_usage_of_the_tenant_each_time(past):
    booked = []

    async def book(*used):
        booked.extend(used)

    forks = [
        asyncio.run(
            fork(
                past, GIVEN, Change(step=2, model="other", cost_usd=Decimal(100)), over(OTHER), book
            )
        )
        for _ in range(2)
    ]
    assert [
        (used.tenant, used.agent, used.model, used.run, used.cost_usd, used.source)
        for used in booked
    ] == [("fernweh", "support", "other", made.id, made.cost_usd, "weir") for made in forks]
    assert len({used.id for used in booked}) == 2, (
        "a second fork of a run is no repeat of the first"
    )
    account, _ = budgets.spend(budgets.Account(), booked[0], None)
    assert account.month.usd == booked[0].charged_usd > 0


def test_the_prompt_that_is_not_changed_is_the_one_that_the_run_had(past):
    """Its alias may have moved on since."""
    asked = []
    newer = GIVEN.prompt("support").model_copy(update={"policy": "Answer in verse."})

    async def chat(question):
        asked.append(question.messages[0].content)
        return await over(OTHER)(question)

    given = GIVEN.having(plan(GIVEN, [newer]))
    asyncio.run(fork(past, given, Change(), chat, unbooked))
    asyncio.run(fork(past, given, Change(prompt=PromptUse(use="support")), chat, unbooked))
    assert ["verse" in text for text in asked] == [False, False, True, True]


def test_another_prompt_reaches_the_model(past):
    asked = []

    async def chat(question):
        asked.append(question.messages[0].content)
        return await over(OTHER)(question)

    asyncio.run(fork(past, GIVEN, Change(prompt="Be a pirate."), chat, unbooked))
    assert asked and all(text == "Be a pirate." for text in asked)


@pytest.mark.parametrize(
    ("change", "prompt"),
    [
        ("", None),
        ("prompt=support@v3", PromptUse(use="support", version=3)),
        ("prompt=support@4", PromptUse(use="support", version=4)),
        ("prompt=support@canary", PromptUse(use="support", alias="canary")),
    ],
)
def test_what_with_asks_for(change, prompt):
    assert prompt_of(change) == prompt


@pytest.mark.parametrize("change", ["model=x", "prompt=", "prompt=no/such/file"])
def test_what_with_cannot_mean_is_said(change):
    with pytest.raises(UserError, match="prompt"):
        prompt_of(change)


def test_a_long_run_is_forked_whole():
    """Questions of a long run carry what is new; the model of the fork is asked with all of it."""
    desk = Playground(Settings(services_port=8090), COMPANY, "support", "fernweh")
    events = [
        event
        for text in (*["Hello! " + "x" * 3_900] * 9, "Where is my order A-1001?")
        for event in desk.say(text)
    ]
    desk.close()
    last = [event for event in events if isinstance(event, RunFinished)][-1]
    past = of_run(events, last.run)
    asked = []
    assert [bool(event.follows) for event in past if isinstance(event, ModelAsked)] == [False, True]

    async def chat(question):
        asked.append(len(question.messages))
        return await over(OTHER)(question)

    made = asyncio.run(fork(past, GIVEN, Change(step=2), chat, unbooked))
    assert made.finished.outcome == "completed" and len(made.answers) == 2 and asked == [22]
