"""Is every text that can be sent answered with a sentence, and never with the edge's own mistake?"""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JSON, EVENT = "application/json", "application/cloudevents+json"
ASK = {"agent": "support", "text": "hi"}
CHAT = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
MODEL = {"model": "support", "max_tokens": 9, "input": "hi", "messages": CHAT["messages"]}
RUN = "0b9f6bd0-5f4e-4d0c-8a8e-0e3f4f5f2d11"
ROUTES = {"/v1/requests": ASK, "/v1/chat/completions": CHAT, "/v1/responses": MODEL, "/v1/messages": MODEL,
          "/v1/events": {"specversion": "1.0", "id": "1", "source": "/x", "type": "AgentRequested", "data": ASK},
          "/v1/traces": {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]},
          "/v1/logs": {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]},
          "/v1/embeddings": {}, "/v1/feedback": {"run": RUN, "score": 1, "session": "s"},
          f"/v1/approvals/{RUN}": {"decision": "approve", "by": "kim", "session": "s"},
          f"/v1/runs/{RUN}/cancel": {"session": "s"}, "/v1/sessions/s/signals/paid": {"payload": 1}}


def sent(http, path: str, body: bytes, kind: str = JSON, **headers: str):
    return http(lambda client: client.post(path, content=body, headers={"content-type": kind} | headers))


@pytest.mark.parametrize(("path", "body", "kind", "status", "says"), [
    ("/v1/requests", b"[" * 100_000, JSON, 400, "nested too deep"),
    ("/v1/chat/completions", b'{"a":' * 100_000, JSON, 400, "nested too deep"),
    ("/v1/events", b"[" * 100_000, EVENT, 400, "nested too deep"),
    ("/v1/requests", b'{"agent": "\xff"}', JSON, 400, "in UTF-8"),
    ("/v1/requests", json.dumps(ASK).encode(), "application/x-www-form-urlencoded", 415, "Content-Type: application/json"),
    ("/v1/requests", b"", "application/x-www-form-urlencoded", 422, "body is missing"),
    ("/v1/responses", json.dumps(MODEL | {"conversation": {"id": {}}}).encode(), JSON, 422, "session's name"),
])
def test_what_cannot_be_read_is_told_why(http, path, body, kind, status, says):
    done = sent(http, path, body, kind)
    assert (done.status_code, done.headers["content-type"]) == (status, "application/problem+json")
    assert says in done.json()["detail"]


def test_a_packed_body_is_told_to_come_as_it_is(http):
    done = sent(http, "/v1/requests", gzip.compress(json.dumps(ASK).encode()), **{"content-encoding": "gzip"})
    assert (done.status_code, done.json()["code"]) == (415, "packed")


@pytest.mark.parametrize("spans", [5, {"a": 1}, "x", [[]]])
def test_spans_that_are_none_are_named_one_by_one(http, spans):
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    assert sent(http, "/v1/traces", json.dumps(body).encode()).json()["partialSuccess"]["rejectedSpans"] == "1"


@pytest.mark.parametrize("session", ["会话 1", "é", "a\nb", "50%"])
def test_a_session_of_any_letters_goes_through_a_header_and_back(http, link, session):
    first = sent(http, "/v1/chat/completions", json.dumps(CHAT | {"metadata": {"session": session}}).encode())
    sent(http, "/v1/chat/completions", json.dumps(CHAT).encode(), **{"weir-session": first.headers["weir-session"]})
    assert [event.session for event in link.taken] == [session, session]


def test_names_that_no_header_can_hold_are_left_out_of_one(http):
    done = sent(http, "/v1/chat/completions", json.dumps(CHAT | {"会话": 1, "a\r\nset-cookie: b": 1, "top_p": 1}).encode())
    assert done.headers["weir-ignored"] == "top_p"


def test_405_says_what_is_done(http):
    done = http(lambda client: client.delete("/v1/requests"))
    assert (done.status_code, done.headers["allow"], done.json()["code"]) == (405, "POST", "unknown_method")


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["", "\ud800", "a/b", "\0"])
anything = st.recursive(leaves, lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(), more, max_size=3),
                        max_leaves=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_in_a_body_it_is_answered(http, data):
    """A right body with one place changed, at each route; what is taken has been through the codec."""
    bodies = {path: dict(body) for path, body in ROUTES.items()}
    for body in bodies.values():
        name = data.draw(st.sampled_from([*body, "session", "metadata", "history"]))
        body[name] = data.draw(anything)

    async def all_of_them(client):
        return {path: await client.post(path, content=json.dumps(body), headers={
            "content-type": EVENT if path == "/v1/events" else JSON}) for path, body in bodies.items()}

    wrong = {path: (done.status_code, done.text[:500]) for path, done in http(all_of_them).items() if done.status_code >= 500}
    assert not wrong
