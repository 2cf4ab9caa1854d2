"""Does what the `cloudevents` package sends arrive as our events, once, and is each mistake told?"""

import json

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.agent.runs import AgentRequested
from schemas.events.feedback import FeedbackGiven

ORDER = {"agent": "support", "text": "Where is order A-1001?"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
ONE = {"content-type": "application/cloudevents+json"}


def made(data=None, **attributes):
    named = {
        "id": "1",
        "type": "AgentRequested",
        "source": "/shöp",
        "datacontenttype": "application/json",
    } | attributes
    return CloudEvent(named, data or ORDER)


def plain(data=None, **attributes):
    return {
        "specversion": "1.0",
        "id": "1",
        "type": "AgentRequested",
        "source": "/shop",
        "data": data or ORDER,
    } | attributes


def send(http, message):
    return http(
        lambda client: client.post("/v1/events", content=message.body, headers=message.headers)
    )


def test_binary_and_structured_are_the_same_event(http, link):
    first = send(http, to_binary_event(made(), JSONFormat()))
    again = send(http, to_structured_event(made(type="weir.agent.AgentRequested"), JSONFormat()))
    assert first.status_code == again.status_code == 202 and first.json() == again.json()
    one, other = link.taken
    assert isinstance(one, AgentRequested) and one.id == other.id and one.tenant == "fernweh"
    run = http(lambda client: client.get(first.json()["accepted"][0]["run"])).json()
    assert run["status"] == "completed"


def test_a_batch_is_taken_whole_with_every_kind(http, link):
    session = {"session": "s", "run": "00000000-0000-0000-0000-000000000007"}
    batch = [
        plain(),
        plain({**session, "score": 1}, id="2", type="FeedbackGiven"),
        plain(
            {"session": "s", "approval": session["run"], "by": "kim", "decision": "deny"},
            id="3",
            type="ApprovalDecided",
        ),
        plain({"document": "d", "text": "x"}, id="4", type="DocumentPublished"),
    ]
    done = http(
        lambda client: client.post(
            "/v1/events", content=json.dumps(batch), headers=BATCH | {"weir-roles": "lead"}
        )
    )
    assert [one["id"] for one in done.json()["accepted"]] == ["1", "2", "3", "4"]
    assert isinstance(link.taken[1], FeedbackGiven) and link.taken[2].roles == ("lead",)
    assert isinstance(link.taken[2], ApprovalDecided)


@pytest.mark.parametrize(
    "body, headers, status, says",
    [
        ([plain(), plain(id="")], BATCH, 422, "events.1 has no id"),
        ([plain(), plain({"agent": "support"}, id="2")], BATCH, 422, "text: Field required"),
        ([], BATCH, 422, "1 to 1000"),
        ("{", ONE, 400, "not JSON"),
        (["x"], BATCH, 422, "no attributes"),
        (plain(specversion="0.3"), ONE, 422, "send 1.0"),
        (plain(type="RunFinished"), ONE, 422, "not taken here"),
        (plain(ORDER | {"parent": {}}), ONE, 422, "'parent'"),
        (plain(ORDER | {"tenant": "other"}), ONE, 422, "'tenant'"),
        (plain({"session": "s", "roles": ["lead"]}, type="ApprovalDecided"), ONE, 422, "'roles'"),
        (plain("text"), ONE, 422, "JSON object"),
        (plain(data=None, data_base64="?"), ONE, 202, ""),
        (ORDER, {"content-type": "application/json"}, 415, "no CloudEvent"),
        (ORDER, {"content-type": "application/cloudevents+avro"}, 415, "not understood"),
        (ORDER, {"content-type": "text/xml", "ce-specversion": "1.0"}, 415, "text/xml"),
    ],
)
def test_what_is_no_event_is_told_and_nothing_of_its_batch_is_taken(
    http, link, body, headers, status, says
):
    content = body if isinstance(body, str) else json.dumps(body)
    done = http(lambda client: client.post("/v1/events", content=content, headers=headers))
    assert done.status_code == status
    assert status == 202 or (says in done.json()["detail"] and link.taken == [])


def test_data_may_come_in_base64(http, link):
    event = plain() | {"data_base64": "eyJhZ2VudCI6ICJzdXBwb3J0IiwgInRleHQiOiAiaGkifQ=="}
    del event["data"]
    assert (
        http(
            lambda client: client.post("/v1/events", content=json.dumps(event), headers=ONE)
        ).status_code
        == 202
    )
    assert link.taken[0].text == "hi"
    wrong = http(
        lambda client: client.post(
            "/v1/events", content=json.dumps(event | {"data_base64": "!"}), headers=ONE
        )
    )
    assert (wrong.status_code, wrong.json()["code"]) == (422, "not_base64")
