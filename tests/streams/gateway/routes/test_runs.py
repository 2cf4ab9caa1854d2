"""Can a service ask over HTTP, look at its run, follow, end and judge it, and is each mistake told
with what to do?
"""

import asyncio
import json
from uuid import UUID, uuid4

import httpx
import pytest

from schemas.events.agent.runs import AgentRequested, RunCancelled
from schemas.events.feedback import FeedbackGiven
from streams.http_app import application
from tests.streams.gateway.conftest import TENANT, LocalLink

ORDER = {"agent": "support", "text": "Where is order A-1001?"}


def story(text: str) -> list[dict[str, str]]:
    """The events of a stream, each with its lines by name."""
    return [
        dict(line.split(": ", 1) for line in part.splitlines())
        for part in text.split("\n\n")
        if part and not part.startswith(":")
    ]


def test_a_request_is_taken_looked_at_and_followed(http, link):
    async def asked(client):
        taken = await client.post(
            "/v1/requests", json=ORDER | {"session": "chat-1", "metadata": {"a": "b"}}
        )
        run = taken.headers["location"]
        return taken, await client.get(run), await client.get(run + "/events")

    taken, run, events = http(asked)
    assert taken.status_code == 202 and taken.json()["status"] == "running"
    assert (
        run.json() | {"status": "completed", "session": "chat-1", "tenant": "fernweh"} == run.json()
    )
    assert (
        run.json()["model_calls"] == 2 and run.json()["tool_calls"] == 1 and run.json()["cost_usd"]
    )
    names = [one["event"] for one in story(events.text)]
    assert names[0] == "RequestAdmitted" and names[-1] == "RunFinished" and "ToolCalled" in names
    assert not {"ModelAsked", "ModelResponded", "ToolReturned"} & set(names), (
        "only what was screened is told"
    )
    assert isinstance(link.taken[0], AgentRequested) and link.taken[0].metadata == {"a": "b"}


def test_a_stream_goes_on_behind_the_last_event(http):
    async def asked(client):
        run = (await client.post("/v1/requests", json=ORDER)).headers["location"] + "/events"
        whole = story((await client.get(run)).text)
        rest = await client.get(run, headers={"Last-Event-ID": whole[2]["id"]})
        return (
            whole,
            story(rest.text),
            story((await client.get(run, headers={"Last-Event-ID": "nonsense"})).text),
        )

    whole, rest, again = http(asked)
    assert rest == whole[3:] and again == whole


def test_who_prefers_to_wait_gets_the_outcome(http):
    done = http(
        lambda client: client.post("/v1/requests", json=ORDER, headers={"Prefer": "wait=5"})
    )
    assert (
        done.status_code == 200
        and done.json()["status"] == "completed"
        and "A-1001" in done.json()["answer"]
    )


def test_the_same_key_is_the_same_run_and_is_sent_once(http, link):
    async def asked(client):
        key = {"Idempotency-Key": "k-1"}
        return [
            await client.post("/v1/requests", json=body, headers=key)
            for body in (ORDER, ORDER, ORDER | {"text": "other"})
        ]

    first, again, other = http(asked)
    assert (
        first.json()["id"] == again.json()["id"] and again.headers["idempotency-replayed"] == "true"
    )
    assert again.json()["status"] == "completed"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(link.taken) == 1


def test_another_gateway_knows_the_key_too_and_what_it_was_for(http, link, settings, tables):
    other = LocalLink(link.definitions)
    heard = link.heard
    link.heard = lambda *events: (heard(*events), other.heard(*events))
    key = {"Idempotency-Key": "k-1"}
    first = http(lambda client: client.post("/v1/requests", json=ORDER, headers=key))

    async def asked():
        transport = httpx.ASGITransport(app=application(settings, other, tables))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=TENANT | key
        ) as client:
            return [
                await client.post("/v1/requests", json=body)
                for body in (ORDER, ORDER | {"text": "other"})
            ]

    again, wrong = asyncio.run(asked())
    other.close()
    assert (
        again.json()["id"] == first.json()["id"] and again.headers["idempotency-replayed"] == "true"
    )
    assert (wrong.status_code, wrong.json()["code"], other.taken) == (
        422,
        "idempotency_key_reused",
        [],
    )


def test_two_tenants_with_one_key_are_two_runs(http, link):
    async def asked(client):
        return [
            (
                await client.post(
                    "/v1/requests", json=ORDER, headers={"Idempotency-Key": "k", "weir-tenant": who}
                )
            ).json()
            for who in ("fernweh", "fernweh-outlet")
        ]

    one, other = http(asked)
    assert one["id"] != other["id"] and [event.tenant for event in link.taken] == [
        "fernweh",
        "fernweh-outlet",
    ]


def test_a_run_of_former_times_comes_out_of_clickhouse_and_its_key_is_not_sent_again(
    http, link, tables
):
    tables.found = [
        {
            "at": "2026-05-04T12:00:00Z",
            "tenant": "fernweh",
            "session": "s",
            "run": UUID(int=7),
            "agent": "support",
            "agent_version": 1,
            "outcome": "completed",
            "reason": "",
            "detail": "",
            "answer": "yes",
            "model": "small",
            "model_calls": 1,
            "tool_calls": 0,
            "input_tokens": 3,
            "cached_input_tokens": 1,
            "cache_write_tokens": 0,
            "output_tokens": 2,
            "reasoning_tokens": 0,
            "cost_usd": None,
            "total_cost_usd": "0.5",
            "wait_ms": 12,
            "started_at": "2026-05-04T12:00:00Z",
        }
    ]
    run = http(lambda client: client.get(f"/v1/runs/{UUID(int=7)}")).json()
    assert (run["status"], run["answer"], run["cost_usd"], run["total_cost_usd"]) == (
        "completed",
        "yes",
        None,
        "0.5",
    )
    again = http(
        lambda client: client.post("/v1/requests", json=ORDER, headers={"Idempotency-Key": "old"})
    )
    assert again.json()["answer"] == "yes" and link.taken == []


def test_kafka_away_is_said_and_nothing_is_half_taken(http, link):
    async def asked(client):
        link.away = "Kafka did not take it"
        lost = await client.post("/v1/requests", json=ORDER, headers={"Idempotency-Key": "k"})
        link.away = ""
        return lost, await client.post(
            "/v1/requests", json=ORDER | {"user": "u"}, headers={"Idempotency-Key": "k"}
        )

    lost, taken = http(asked)
    assert (lost.status_code, lost.json()["code"], lost.headers["retry-after"]) == (
        503,
        "kafka_away",
        "2",
    )
    assert (
        taken.status_code == 202
        and "idempotency-replayed" not in taken.headers
        and len(link.taken) == 1
    )


def test_a_run_is_cancelled_judged_and_no_other_tenants(http, link):
    async def asked(client):
        run = (await client.post("/v1/requests", json=ORDER)).json()["id"]
        over = await client.post(f"/v1/runs/{run}/cancel", json={"reason": "changed my mind"})
        judged = await client.post("/v1/feedback", json={"run": run, "score": 1, "comment": "good"})
        theirs = await client.get(f"/v1/runs/{run}", headers={"weir-tenant": "fernweh-outlet"})
        link.recent_runs.expect(UUID(int=9), "fernweh", "s9")
        return over, judged, theirs, await client.post(f"/v1/runs/{UUID(int=9)}/cancel")

    over, judged, theirs, cancelled = http(asked)
    assert (over.status_code, over.json()["code"]) == (409, "run_is_over")
    assert judged.status_code == 202 and theirs.status_code == 404 and cancelled.status_code == 202
    given = next(event for event in link.taken if isinstance(event, FeedbackGiven))
    assert (given.score, given.comment, given.tenant) == (1, "good", "fernweh")
    assert next(event for event in link.taken if isinstance(event, RunCancelled)).session == "s9"


@pytest.mark.parametrize(
    "body, status, says",
    [
        ({"agent": "support"}, 422, "text is missing: add it"),
        (ORDER | {"parent": {"run": str(uuid4())}}, 422, "parent is not known here: remove it"),
        (ORDER | {"tenant": "other"}, 422, "tenant is not known here"),
        (ORDER | {"metadata": {"a": 1}}, 422, "metadata.a is wrong"),
        ("{", 400, "not JSON"),
        (ORDER | {"text": "x" * 300_000}, 413, "at most"),
        (ORDER | {"text": "x" * 5_000_000}, 413, "WEIR_GATEWAY_BODY_BYTES"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(http, body, status, says):
    content = body if isinstance(body, str) else json.dumps(body)
    done = http(
        lambda client: client.post(
            "/v1/requests",
            content=content,
            headers={"content-type": "application/json", "Prefer": "wait=5"},
        )
    )
    if done.status_code == 200:  # admission's refusal is an outcome of the run
        assert (done.json()["status"], done.json()["reason"]) == ("refused", "too_large")
        return
    assert (done.status_code, done.headers["content-type"]) == (status, "application/problem+json")
    assert (
        says in done.json()["detail"] and done.json()["error"]["message"] == done.json()["detail"]
    )


def test_too_many_at_once_are_told_to_wait(http, link, app, settings):
    object.__setattr__(settings, "gateway_in_flight", 2)

    async def asked(client):
        link.held = asyncio.Event()
        first = [asyncio.ensure_future(client.post("/v1/requests", json=ORDER)) for _ in range(2)]
        while len(link.taken) < 2:
            await asyncio.sleep(0)
        third = await client.post("/v1/requests", json=ORDER)
        link.held.set()
        return third, await asyncio.gather(*first)

    app.middleware_stack = None
    third, first = http(asked)
    assert (third.status_code, third.json()["code"], third.headers["retry-after"]) == (
        503,
        "busy",
        "1",
    )
    assert [one.status_code for one in first] == [202, 202]


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/requests", 405),
        ("GET", f"/v1/runs/{uuid4()}", 404),
        ("GET", f"/v1/runs/{uuid4()}/events", 404),
        ("POST", f"/v1/runs/{uuid4()}/cancel", 404),
        ("GET", "/v1/runs/x", 422),
    ],
)
def test_what_is_not_there_is_a_problem_too(http, method, path, status):
    done = http(lambda client: client.request(method, path))
    assert done.status_code == status and done.headers["content-type"] == "application/problem+json"


def test_openapi_has_examples_and_the_problems(http):
    found = http(lambda client: client.get("/openapi.json")).json()
    assert found["components"]["schemas"]["RunRequest"]["examples"][0]["agent"] == "support"
    assert "503" in found["paths"]["/v1/requests"]["post"]["responses"]
