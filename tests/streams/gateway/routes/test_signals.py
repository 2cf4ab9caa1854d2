"""Does a workflow that waits go on when a service says over HTTP what happened, once, however often
it is said?
"""

import pytest

from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.patterns import Workflow
from schemas.events.agent.signals import Signalled

DEPOSIT = "/v1/sessions/group-7/signals/deposit_paid"
WAITS = Agent(
    name="excursion",
    prompt="Go.",
    model="small",
    pattern="workflow",
    workflow=Workflow.model_validate(
        {
            "start": "first",
            "answer": "string(nodes.first.result.usd) + ' and ' + string(nodes.second.result.usd)",
            "nodes": {
                "first": {"kind": "event", "event": "deposit_paid", "next": "second"},
                "second": {"kind": "event", "event": "deposit_paid"},
            },
        }
    ),
)


@pytest.fixture
def excursion(link):
    """An agent that waits for two deposits."""
    link.definitions = Definitions(
        {**link.definitions.bodies, ("agent", "excursion", 1): WAITS},
        {**link.definitions.newest, ("agent", "excursion"): 1},
    )


def test_a_signal_helps_the_workflow_on_and_counts_once(http, link, excursion):
    async def asked(client):
        group = {"agent": "excursion", "text": "We are 12", "session": "group-7"}
        run = (await client.post("/v1/requests", json=group)).headers["location"]
        told = [
            await client.post(
                DEPOSIT, json={"payload": {"usd": 50}}, headers={"idempotency-key": "pay-1"}
            )
            for _ in range(2)
        ]
        between = (await client.get(run)).json()
        await client.post(DEPOSIT, json={"payload": '{"usd": 70}'})
        return told, between, (await client.get(run)).json()

    told, between, after = http(asked)
    assert [one.status_code for one in told] == [202, 202] and told[0].json()["id"] == told[
        1
    ].json()["id"]
    assert between["status"] in ("running", "waiting")
    assert (after["status"], after["answer"]) == ("completed", "50 and 70")
    assert len({event.id for event in link.taken if isinstance(event, Signalled)}) == 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (DEPOSIT, {"payloads": 1}, 422),
        ("/v1/sessions/s/signals/" + "x" * 201, {}, 422),
        (DEPOSIT, {}, 202),
    ],
)
def test_a_signal_that_is_none_is_told_so(http, path, body, status):
    assert http(lambda client: client.post(path, json=body)).status_code == status
