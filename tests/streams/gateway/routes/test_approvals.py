"""Is a call that waits for somebody's word shown, decided and told over HTTP, and a question to the
user answered?
"""

from uuid import UUID

import pytest

from schemas.definitions.kinds import Definitions
from schemas.definitions.limits import Approval
from schemas.events.agent.approvals import ApprovalDecided
from streams.gateway.auth import new_key
from tests.streams.gateway.routes.test_runs import story

REFUND = {
    "agent": "support",
    "text": "I want the refund of A-1002, it was damaged",
    "session": "s1",
}


@pytest.fixture
def approved(link):
    """Refunds need the word of kim, or of a lead."""
    tool = link.definitions.tool("refund_order").model_copy(
        update={"approval": Approval(by=("kim", "lead"))}
    )
    link.definitions = Definitions(
        {**link.definitions.bodies, ("tool", "refund_order", 1): tool}, link.definitions.newest
    )


def test_an_approval_is_asked_for_given_and_told(http, link, approved):
    async def asked(client):
        run = (await client.post("/v1/requests", json=REFUND)).headers["location"]
        waiting = (await client.get(run)).json()
        [one] = waiting["waits_for"]
        wrong = await client.post(
            f"/v1/approvals/{one['approval']}", json={"decision": "approve", "by": "bo"}
        )
        still = (await client.get(run)).json()
        right = await client.post(
            f"/v1/approvals/{one['approval']}",
            json={"decision": "approve", "by": "bo"},
            headers={"weir-roles": "lead"},
        )
        events = (await client.get(run + "/events")).text
        return waiting, wrong, still, right, (await client.get(run)).json(), story(events)

    waiting, wrong, still, right, done, events = http(asked)
    assert (waiting["status"], waiting["waits_for"][0]["tool"]) == ("waiting", "refund_order")
    assert wrong.status_code == right.status_code == 202 and still["status"] == "waiting"
    assert done["status"] == "completed" and done["waits_for"] == []
    assert {"ApprovalAsked", "ApprovalResolved", "ToolCalled"} <= {one["event"] for one in events}
    assert [event.roles for event in link.taken if isinstance(event, ApprovalDecided)] == [
        (),
        ("lead",),
    ]


@pytest.mark.parametrize(
    "subject, typed, done",
    [("kim", "bo", True), ("kim", "", True), ("", "kim", False), ("mallory", "kim", False)],
)
@pytest.mark.parametrize("as_event", [False, True])
def test_beside_a_key_a_typed_name_counts_for_nothing_and_is_noted(
    http, link, approved, subject, typed, done, as_event
):
    text, key = new_key("k1", "fernweh", ("request", "read", "approve"), subject=subject)
    link.definitions = Definitions(
        {**link.definitions.bodies, ("key", "k1", 1): key},
        {**link.definitions.newest, ("key", "k1"): 1},
    )

    async def asked(client):
        client.headers["authorization"] = f"Bearer {text}"
        run = (await client.post("/v1/requests", json=REFUND)).headers["location"]
        [one] = (await client.get(run)).json()["waits_for"]
        word = {"decision": "approve", "note": "checked"} | ({"by": typed} if typed else {})
        if as_event:
            data = word | {"approval": one["approval"], "session": "s1"}
            await client.post(
                "/v1/events",
                headers={"content-type": "application/cloudevents+json"},
                json={
                    "specversion": "1.0",
                    "type": "ApprovalDecided",
                    "source": "/desk",
                    "id": "1",
                    "data": data,
                },
            )
        else:
            await client.post(f"/v1/approvals/{one['approval']}", json=word)
        return (await client.get(run)).json()["status"]

    assert http(asked) == ("completed" if done else "waiting")
    [word] = [event for event in link.taken if isinstance(event, ApprovalDecided)]
    assert (word.by, word.note) == (
        subject or "k1",
        f"in the name of {typed}: checked" if typed else "checked",
    )


@pytest.mark.parametrize(
    "body, status, says",
    [
        ({"decision": "maybe"}, 422, "decision"),
        ({"decision": "deny"}, 404, "lists those that wait"),
        ({"decision": "deny", "session": "s"}, 422, "add `by`"),
    ],
)
def test_a_word_on_nothing_is_answered_with_what_to_do(http, body, status, says):
    done = http(lambda client: client.post(f"/v1/approvals/{UUID(int=5)}", json=body))
    assert done.status_code == status and says in done.json()["detail"]


def test_what_waits_is_listed_out_of_clickhouse(http, tables):
    tables.found = [
        {
            "approval": UUID(int=1),
            "run": UUID(int=2),
            "session": "s",
            "agent": "support",
            "tool": "refund_order",
            "arguments": "{}",
            "approvers": ["kim"],
            "override": False,
            "asked_at": "2026-05-04T12:00:00Z",
            "expires_at": "2026-05-05T12:00:00Z",
        }
    ]
    assert http(lambda client: client.get("/v1/approvals")).json()[0]["approvers"] == ["kim"]


def test_a_question_to_the_user_is_the_answer_and_the_next_request_answers_it(http, link):
    agent = link.definitions.agent("support").model_copy(update={"ask_user": True})
    link.definitions = Definitions(
        {**link.definitions.bodies, ("agent", "support", 1): agent}, link.definitions.newest
    )
    link.script["rules"].insert(
        0,
        {
            "when": {"last": "user", "matches": "ask me"},
            "call": {
                "name": "ask_user",
                "arguments": {"question": "Which order?", "options": ["A-1001", "A-1002"]},
            },
        },
    )
    link.script["rules"].insert(
        0, {"when": {"last": "tool", "tool": "ask_user", "matches": ".+"}, "say": "You said {0}."}
    )

    async def asked(client):
        chat = {"model": "support", "metadata": {"session": "s1"}}
        said = [
            (
                await client.post(
                    "/v1/chat/completions",
                    json=chat | {"messages": [{"role": "user", "content": text}]},
                )
            ).json()["choices"][0]["message"]["content"]
            for text in ("ask me", "A-1001")
        ]
        return said, (await client.get(f"/v1/runs/{link.taken[0].id}")).json()["status"]

    said, status = http(asked)
    assert (
        said[0] == "Which order?\n- A-1001\n- A-1002"
        and "A-1001" in said[1]
        and status == "completed"
    )
