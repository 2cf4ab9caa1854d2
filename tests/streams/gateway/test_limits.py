"""Are large, slow and too many bodies told to wait, or to be smaller, before they are memory here?"""

import asyncio
import json

import pytest

from streams.gateway.limits import EXPORT_BYTES_MAX, BodyMemory
from streams.http_app import application

ASK = json.dumps({"agent": "support", "text": "x" * 70_000}).encode()
JSON = {"content-type": "application/json"}


async def chunks(body: bytes, size: int = 10_000):
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize(
    ("path", "size", "says"),
    [
        ("/v1/requests", 5_000_000, "WEIR_GATEWAY_BODY_BYTES"),
        ("/v1/traces", EXPORT_BYTES_MAX + 1, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_body_that_is_too_large_is_told_how_large_it_may_be(http, path, size, says, whole):
    body = bytes(size)
    done = http(
        lambda client: client.post(
            path, content=body if whole else chunks(body, 1_000_000), headers=JSON
        )
    )
    assert done.status_code == 413 and says in done.json()["detail"]


@pytest.mark.parametrize("whole", [True, False])
def test_large_bodies_wait_for_room(http, app, link, whole):
    room = app.state.gateway.bodies

    def ask(client):
        return client.post("/v1/requests", content=ASK if whole else chunks(ASK), headers=JSON)

    with room.reserve(room.most):
        full = http(ask)
        small = http(
            lambda client: client.post("/v1/requests", json={"agent": "support", "text": "hi"})
        )
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (
        503,
        "busy",
        "1",
    )
    assert small.status_code == http(ask).status_code == 202
    assert room.taken == 0 and len(link.taken) == 2


def test_a_body_that_does_not_come_gives_its_place_to_others(settings, link, tables):
    app = application(settings.model_copy(update={"gateway_slow_s": 0.02}), link, tables)
    sent = []

    async def receive():
        if not sent and not came:
            came.append(True)
            return {"type": "http.request", "body": b'{"agent"', "more_body": True}
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    came: list[bool] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/requests",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"100"),
            (b"weir-tenant", b"fernweh"),
        ],
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 5))
    said = json.loads(sent[1]["body"])
    assert (sent[0]["status"], said["code"]) == (408, "too_slow") and (
        b"connection",
        b"close",
    ) in sent[0]["headers"]
    assert app.state.gateway.metrics.value("weir_gateway_in_flight") == 0 and link.taken == []


def test_a_request_that_nobody_could_answer_is_counted_as_500(http, app, tables, monkeypatch):
    monkeypatch.setattr(app.state.gateway.link, "current_definitions", lambda: 1 / 0)
    done = http(lambda client: client.get("/v1/models"))
    assert (done.status_code, done.json()["code"]) == (500, "internal")
    assert 'status="500"' in app.state.gateway.metrics.text().decode()


def test_small_bodies_take_no_room():
    room = BodyMemory(10)
    with room.reserve(50):
        assert room.taken == 50, "one alone always fits"
    assert room.taken == 0
