"""Is everybody told who wants to know, again and again after growing pauses, and given up for
good?
"""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from processors.webhooks.delivery import Resting, announce, announce_alert, ask, rest, tell
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.quality import DriftFound
from schemas.events.usage import BudgetAlerted
from schemas.events.webhooks import (
    Webhook,
    WebhookAnswer,
    WebhookDelivered,
    WebhookDropped,
    WebhookDue,
    WebhookFailed,
    WebhookRested,
)
from schemas.ports import Failure, Impossible
from tests.support.processors import of_run

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
CRM = Webhook(name="crm", url="https://crm.example/hook", secret="env:CRM", retries_s=(5, 300))
GIVEN = Definitions.of(CRM)


def finished(tenant="acme"):
    return of_run(RunFinished, "r1", outcome="completed", started_at=NOON, wait_ms=1).model_copy(
        update={"tenant": tenant}
    )


def failed(attempt=1, message=1, seconds=0.0, **fields):
    return WebhookFailed(
        id=UUID(int=attempt * 100 + message),
        at=NOON + timedelta(seconds=seconds),
        tenant="acme",
        session="s",
        run=UUID(int=9),
        webhook="crm",
        message=UUID(int=message),
        type="run.finished",
        attempt=attempt,
        body="{}",
        reason="http_503",
        started_at=NOON,
        **fields,
    )


def rested(seconds):
    return WebhookRested(
        id=UUID(int=77),
        at=NOON + timedelta(seconds=seconds),
        tenant="acme",
        session="s",
        step_name="deliver_again",
    )


@pytest.mark.parametrize(
    "more, event, told",
    [
        ({}, finished(), True),
        ({"tenants": ("other",)}, finished(), False),
        ({"tenants": ("other",)}, finished("other"), True),
        ({"events": ("request.refused",)}, finished(), False),
        (
            {"events": ("request.refused",)},
            of_run(RequestRefused, "r1", text="x", reason="quota"),
            True,
        ),
    ],
)
def test_who_wants_to_know_is_told(more, event, told):
    said = announce(event, Definitions.of(CRM.model_copy(update=more)))
    assert len(said) == told
    if said:
        [due] = said
        assert json.loads(due.body)["data"]["id"] == str(event.id) and due.attempt == 1
        assert (
            announce(event, Definitions.of(CRM))[:1] == said[:1]
            or more["events"]
            or more["tenants"]
        )


@pytest.mark.parametrize(
    ("event", "type_"),
    [
        (
            BudgetAlerted(
                id=UUID(int=1),
                at=NOON,
                tenant="acme",
                period="2026-05",
                budget_usd=10,
                share="0.8",
                spent_usd="8.5",
            ),
            "budget.alerted",
        ),
        (
            DriftFound(
                id=UUID(int=2),
                at=NOON,
                tenant="acme",
                agent="a",
                until=NOON,
                feature="model",
                psi=1,
                psi_critical=0.25,
                reference_runs=300,
                runs=40,
                reference={"x": 300},
                current={"y": 40},
            ),
            "drift.found",
        ),
    ],
)
def test_what_concerns_a_tenant_is_told_in_a_session_of_its_own(event, type_):
    [due] = announce_alert(event, Definitions.of(CRM.model_copy(update={"events": (type_,)})))
    assert (due.type, due.tenant, due.session, due.run) == (type_, "acme", "alerts", UUID(int=0))
    assert json.loads(due.body)["data"]["id"] == str(event.id)
    assert announce_alert(event, GIVEN) == []  # only those that name it


def test_a_message_keeps_its_id_and_its_body_at_every_attempt():
    [due] = announce(finished(), GIVEN)
    assert ask(due, GIVEN).message == str(due.message)
    [bad] = tell(due, Failure("http_503", "busy", NOON, NOON), GIVEN)
    resting, _ = rest(Resting(), bad, GIVEN)
    _, [again] = rest(resting, rested(5), GIVEN)
    assert (again.message, again.body, again.attempt) == (
        due.message,
        due.body,
        2,
    ) and again.id != due.id


def test_the_newest_definition_counts_and_without_one_nothing_is_sent():
    [due] = announce(finished(), GIVEN)
    assert (
        ask(due, Definitions.of(CRM.model_copy(update={"url": "https://new.example"}))).url
        == "https://new.example"
    )
    assert isinstance(ask(due, Definitions()), Impossible)


@pytest.mark.parametrize(
    "answer, kind, hopeless",
    [
        (WebhookAnswer(204, NOON, NOON), WebhookDelivered, None),
        (Failure("timeout", "", NOON, NOON), WebhookFailed, False),
        (Failure("http_410", "", NOON, NOON), WebhookFailed, True),
        (Failure("webhook_gone", "", NOON, NOON), WebhookFailed, True),
    ],
)
def test_an_answer_is_told(answer, kind, hopeless):
    [due] = announce(finished(), GIVEN)
    [said] = tell(due, answer, GIVEN)
    assert isinstance(said, kind) and getattr(said, "hopeless", None) is hopeless


def test_pauses_grow_and_after_the_last_the_message_is_given_up():
    resting, said = rest(Resting(), failed(1), GIVEN)
    assert said == [] and resting.wake_at == NOON + timedelta(seconds=5)
    assert rest(resting, failed(1), GIVEN) == (resting, []), (
        "an answer that comes twice counts once"
    )
    assert rest(resting, rested(4), GIVEN) == (resting, [])
    nothing, [due] = rest(resting, rested(5), GIVEN)
    assert nothing is None and isinstance(due, WebhookDue)
    resting, _ = rest(Resting(), failed(2, seconds=5), GIVEN)
    assert resting.wake_at == NOON + timedelta(seconds=305)
    nothing, [dropped] = rest(Resting(), failed(3, seconds=305), GIVEN)
    assert nothing is None and isinstance(dropped, WebhookDropped) and dropped.body == "{}"


def test_a_receiver_that_wants_no_more_is_not_asked_again_and_others_are():
    resting, _ = rest(Resting(), failed(1, message=1), GIVEN)
    after, [dropped] = rest(resting, failed(1, message=2, hopeless=True), GIVEN)
    assert dropped.message == UUID(int=2) and after.messages.keys() == {UUID(int=1).hex}


def test_what_waits_is_bounded():
    resting = Resting()
    for message in range(1, 103):
        resting, said = rest(resting, failed(1, message=message), GIVEN)
    assert len(resting.messages) == 100 and "wait already" in said[0].detail
