"""Is a tool called as it says, twice only when that does no harm, and is its answer text or a
reason?
"""

import asyncio
import json

import pytest

from schemas.definitions.tools import HttpTarget
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.http import http_client
from sinks.runtime import Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.kinds.http import query_of
from sinks.tools.runner import ToolRunner
from tests.support.model_faults import FAULTS, faulty, reply

LOOP = asyncio.Runner()
HTTP = http_client(10)
FRESH = http_client(10, reuse=False)


@pytest.fixture(scope="module")
def server():
    with faulty() as running:
        yield running
    LOOP.run(HTTP.aclose())
    LOOP.run(FRESH.aclose())


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    for name, answer in {
        "text": reply(200, "it is 5 °C".encode(), "text/plain"),
        "json": reply(200, b'{"a":  1}'),
        "picture": reply(200, b"\x89PNG", "image/png"),
        "ended": reply(200, b"bye", "text/plain", weir_ends="true"),
        "502": reply(502, b""),
        "204": b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n",
    }.items():
        monkeypatch.setitem(FAULTS, name, answer)


def call(
    url, effect="idempotent", method="POST", arguments='{"city":  "Wien"}', chars=1_000, **headers
):
    async def sleep(_):
        return None

    port = ToolRunner(
        ToolContext(HTTP, FRESH), {"env:KEY": "sesame"}.__getitem__, runtime=Runtime(sleep=sleep)
    )
    return LOOP.run(
        port(
            ToolQuestion(
                "weather",
                HttpTarget(url=url, method=method, headers=headers),
                arguments,
                800,
                chars,
                effect,
                "call-1",
                {"session": "s1", "call": "c1"},
            )
        )
    )


@pytest.mark.parametrize(
    "path, content, ends",
    [
        ("text", "it is 5 °C", False),
        ("json", '{"a":  1}', False),
        ("ended", "bye", True),
        ("204", "", False),
    ],
)
def test_a_result_is_kept_as_it_came(server, path, content, ends):
    answer = call(f"{server.url}/{path}")
    assert isinstance(answer, ToolAnswer) and (answer.content, answer.ends) == (content, ends)


@pytest.mark.parametrize(
    "path, reason, effect, attempts",
    [
        ("html", "bad_content_type", "pure", 1),
        ("picture", "bad_content_type", "pure", 1),
        ("oversize", "too_large", "pure", 1),
        ("404", "http_404", "idempotent", 1),
        ("500", "http_500", "idempotent", 3),
        ("500", "http_500", "once", 1),
        ("429", "http_429", "reconcilable", 1),
        ("reset", "reset", "pure", 3),
        ("hang", "timeout", "pure", 1),
        ("truncated", "truncated", "idempotent", 3),
        ("302", "http_302", "pure", 1),
    ],
)
def test_a_fault_becomes_a_failure(server, path, reason, effect, attempts):
    before = server.asked[path]
    failure = call(f"{server.url}/{path}", effect)
    assert isinstance(failure, Failure) and failure.reason == reason and failure.detail
    assert (server.asked[path] - before, failure.attempts) == (attempts, attempts)


@pytest.mark.parametrize("path", ["reset", "closed", "hang", "truncated", "502"])
@pytest.mark.parametrize("effect", ["once", "reconcilable"])
def test_where_the_answer_is_lost_nobody_knows_whether_it_was_done(server, path, effect):
    before = server.asked[path]
    assert isinstance(call(f"{server.url}/{path}", effect), Uncertain)
    assert server.asked[path] - before == 1


def test_what_was_never_sent_was_not_done():
    failure = call("http://127.0.0.1:1/x", "once")
    assert isinstance(failure, Failure) and failure.reason == "refused"


def test_too_long_a_result_says_the_limit(server):
    failure = call(f"{server.url}/text", chars=5)
    assert failure.reason == "too_large" and "5" in failure.detail


def test_arguments_go_as_they_are_and_secrets_are_resolved(server):
    call(f"{server.url}/text", Authorization="Bearer env:KEY")
    head, body = server.last
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    assert body == b'{"city":  "Wien"}'
    assert (headers["authorization"], headers["idempotency-key"]) == ("bearer sesame", "call-1")
    assert (headers["weir-session"], headers["weir-call"]) == ("s1", "c1")


def test_a_get_has_a_query(server):
    call(f"{server.url}/text", method="GET", arguments='{"q": "a b", "n": 3, "deep": {"x": [1]}}')
    assert server.last[0].startswith("GET /text?q=a+b&n=3&deep=") and not server.last[1]
    assert json.loads(query_of('{"deep": {"x": [1]}}')["deep"]) == {"x": [1]}


def test_a_secret_that_is_not_set_is_named(server):
    assert call(f"{server.url}/text", Authorization="env:OTHER").reason == "no_secret"
