"""Is every text that can be sent answered with a sentence, and never with the gateway's own
mistake?
"""

import copy
import gzip
import json
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

JSON = "application/json"
EVENT = "application/cloudevents+json"
SAID = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
ASK = {
    "agent": "support",
    "text": "hi",
    "session": "s",
    "user": "u",
    "channel": "c",
    "metadata": {"a": "b"},
}
CHAT = {
    "model": "support",
    "messages": SAID,
    "user": "u",
    "metadata": {"a": "b"},
    "stream": False,
    "n": 1,
}
MODEL = {
    "model": "support",
    "max_tokens": 9,
    "input": SAID,
    "messages": SAID,
    "metadata": {"a": "b"},
    "system": "x",
    "conversation": {"id": "s"},
    "previous_response_id": None,
}
NOW = str(time.time_ns())
MANY = [
    {"key": "a", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}]}}},
    {"key": "b", "value": {"kvlistValue": {"values": [{"key": "c", "value": {"intValue": "5"}}]}}},
]
SPAN = {
    "traceId": "a" * 32,
    "spanId": "b" * 16,
    "name": "x",
    "kind": 3,
    "startTimeUnixNano": NOW,
    "endTimeUnixNano": NOW,
    "attributes": MANY,
    "events": [{"name": "e", "timeUnixNano": NOW}],
    "links": [{"traceId": "a" * 32, "spanId": "b" * 16}],
    "status": {"code": 2, "message": "m"},
}
RECORD = {
    "eventName": "gen_ai.choice",
    "timeUnixNano": NOW,
    "traceId": "a" * 32,
    "attributes": MANY,
    "body": {"kvlistValue": {"values": MANY}},
}
AROUND = {"resource": {"attributes": MANY}}
RUN = "0b9f6bd0-5f4e-4d0c-8a8e-0e3f4f5f2d11"
ROUTES = {
    "/v1/requests": ASK,
    "/v1/chat/completions": CHAT,
    "/v1/responses": MODEL,
    "/v1/messages": MODEL,
    "/v1/events": {
        "specversion": "1.0",
        "id": "1",
        "source": "/x",
        "type": "AgentRequested",
        "data": ASK | {"history": [{"role": "user", "content": "x"}]},
    },
    "/v1/traces": {
        "resourceSpans": [AROUND | {"scopeSpans": [{"scope": {"name": "s"}, "spans": [SPAN]}]}]
    },
    "/v1/logs": {
        "resourceLogs": [AROUND | {"scopeLogs": [{"scope": {"name": "s"}, "logRecords": [RECORD]}]}]
    },
    "/v1/embeddings": {"input": []},
    "/v1/feedback": {"run": RUN, "score": 1, "comment": "c", "session": "s"},
    f"/v1/approvals/{RUN}": {"decision": "approve", "by": "kim", "arguments": "{}", "session": "s"},
    f"/v1/runs/{RUN}/cancel": {"reason": "r", "session": "s"},
    "/v1/sessions/s/signals/paid": {"payload": {"a": [1]}},
}


def sent(http, path: str, body: bytes, kind: str = JSON, **headers: str):
    return http(
        lambda client: client.post(path, content=body, headers={"content-type": kind} | headers)
    )


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "says"),
    [
        ("/v1/requests", b"[" * 100_000, JSON, 400, "nested too deep"),
        ("/v1/chat/completions", b'{"a":' * 100_000, JSON, 400, "nested too deep"),
        ("/v1/events", b"[" * 100_000, EVENT, 400, "nested too deep"),
        ("/v1/requests", b'{"agent": "\xff"}', JSON, 400, "in UTF-8"),
        (
            "/v1/requests",
            json.dumps(ASK).encode(),
            "application/x-www-form-urlencoded",
            415,
            "Content-Type: application/json",
        ),
        ("/v1/requests", b"", "application/x-www-form-urlencoded", 422, "body is missing"),
        (
            "/v1/responses",
            json.dumps(MODEL | {"conversation": {"id": {}}}).encode(),
            JSON,
            422,
            "session's name",
        ),
    ],
)
def test_what_cannot_be_read_is_told_why(http, path, body, kind, status, says):
    done = sent(http, path, body, kind)
    assert (done.status_code, done.headers["content-type"]) == (status, "application/problem+json")
    assert says in done.json()["detail"]


def test_a_packed_body_is_told_to_come_as_it_is(http):
    done = sent(
        http,
        "/v1/requests",
        gzip.compress(json.dumps(ASK).encode()),
        **{"content-encoding": "gzip"},
    )
    assert (done.status_code, done.json()["code"]) == (415, "packed")


@pytest.mark.parametrize("spans", [5, {"a": 1}, "x", [[]]])
def test_spans_that_are_none_are_named_one_by_one(http, spans):
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    assert (
        sent(http, "/v1/traces", json.dumps(body).encode()).json()["partialSuccess"][
            "rejectedSpans"
        ]
        == "1"
    )


@pytest.mark.parametrize("session", ["会话 1", "é", "a\nb", "50%"])
def test_a_session_of_any_letters_goes_through_a_header_and_back(http, link, session):
    first = sent(
        http, "/v1/chat/completions", json.dumps(CHAT | {"metadata": {"session": session}}).encode()
    )
    sent(
        http,
        "/v1/chat/completions",
        json.dumps(CHAT).encode(),
        **{"weir-session": first.headers["weir-session"]},
    )
    assert [event.session for event in link.taken] == [session, session]


def test_names_that_no_header_can_hold_are_left_out_of_one(http):
    done = sent(
        http,
        "/v1/chat/completions",
        json.dumps(CHAT | {"会话": 1, "a\r\nset-cookie: b": 1, "top_p": 1}).encode(),
    )
    assert done.headers["weir-ignored"] == "top_p"


def test_405_says_what_is_done(http):
    done = http(lambda client: client.delete("/v1/requests"))
    assert (done.status_code, done.headers["allow"], done.json()["code"]) == (
        405,
        "POST",
        "unknown_method",
    )


WORSE = (
    None,
    True,
    -1,
    2**70,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\ud800",
    "\0",
    "9" * 50,
    [],
    [[]],
    [{}],
    {},
    {"a": 1},
)


def places(value, here=()):
    """Every place in a body, the outermost last."""
    if isinstance(value, dict):
        members = list(value.items())
    else:
        members = list(enumerate(value)) if isinstance(value, list) else []
    for name, each in members:
        yield from places(each, (*here, name))
        yield *here, name


def spoilt(body, place, worse):
    *around, last = place
    made = at = copy.deepcopy(body)
    for name in around:
        at = at[name]
    at[last] = worse
    return made


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_whatever_stands_in_a_body_it_is_answered(http, data):
    """A right body with one place spoilt, at each route; what is taken has been through the codec."""
    bodies = {
        path: spoilt(
            body, data.draw(st.sampled_from(list(places(body)))), data.draw(st.sampled_from(WORSE))
        )
        for path, body in ROUTES.items()
    }

    async def all_of_them(client):
        return {
            path: await client.post(
                path,
                content=json.dumps(body),
                headers={"content-type": EVENT if path == "/v1/events" else JSON},
            )
            for path, body in bodies.items()
        }

    wrong = {
        path: (done.text[:300], bodies[path])
        for path, done in http(all_of_them).items()
        if done.status_code >= 500
    }
    assert not wrong


@pytest.mark.parametrize(
    ("path", "place", "worse", "status"),
    [
        ("/v1/chat/completions", ("messages", 0, "role"), {}, 422),
        ("/v1/responses", ("input", 0, "content", 0, "type"), [], 422),
        ("/v1/responses", ("metadata", "a"), "\ud800", 200),
        ("/v1/events", ("id",), "\ud800", 202),
        ("/v1/events", ("source",), "\ud800", 202),
        ("/v1/embeddings", ("input",), "\ud800", 200),
        (f"/v1/approvals/{RUN}", ("by",), "\ud800", 202),
        ("/v1/requests", ("metadata",), {"\ud800": 1}, 422),
    ],
)
def test_what_was_once_answered_with_an_error_of_the_gateways_own(http, path, place, worse, status):
    body = json.dumps(spoilt(ROUTES[path], place, worse)).encode()
    assert sent(http, path, body, EVENT if path == "/v1/events" else JSON).status_code == status


@pytest.mark.parametrize(
    ("place", "worse"),
    [
        (("kind",), float("inf")),
        (("kind",), "\ud800"),
        (("spanId",), "\ud800"),
        (("attributes",), {"a": 1}),
        (("name",), "\ud800"),
    ],
)
def test_a_span_that_breaks_its_reader_is_turned_away_alone(http, place, worse):
    good = ROUTES["/v1/traces"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [good, spoilt(good, place, worse)]}]}]}
    done = sent(http, "/v1/traces", json.dumps(body).encode())
    assert (done.status_code, done.json()["partialSuccess"]["rejectedSpans"]) == (200, "1")
