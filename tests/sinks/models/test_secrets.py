"""A provider that repeats the key, in every place of its reply: one file of the corpus a case."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from schemas.events.values import Message
from schemas.events.webhooks import WebhookQuestion
from schemas.ports import ChatAnswer, ChatQuestion, Endpoint
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.runtime import Runtime
from sinks.webhooks import WebhookSender

KEY = "pk-9f3c2d71aa5e4b"
SECRETS = {"env:PEAK_KEY": KEY, "env:HOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "corpus" / "model_secrets").glob("*.json"))
}


def client_of(case):
    def reply(request):
        assert request.headers.get("authorization") in (f"Bearer {KEY}", None)
        return httpx.Response(
            case["status"], content=case["body"], headers={"content-type": case["type"]}
        )

    return httpx.AsyncClient(transport=httpx.MockTransport(reply))


def asked(case):
    heard = []

    async def sleep(_):
        return None

    def listener_of(_question, _attempt):
        return lambda text, last: heard.append(text)

    endpoint = Endpoint(
        "peak", "stub", "http://peak.test/v1", "stub-1", "env:PEAK_KEY", 1_000, case["stream"]
    )
    question = ChatQuestion(
        (endpoint,), (Message(role="user", content="hi"),), (), 0.2, 50, 2_000, "q-1", "ann", {}
    )
    port = ModelClient(
        http_sender(client_of(case), SECRETS.__getitem__), Runtime(sleep=sleep), listener_of
    )
    return asyncio.run(port(question)), "".join(heard)


@pytest.mark.parametrize("name", CASES)
def test_the_key_of_a_provider_leaves_in_no_answer_and_no_failure(name):
    answer, heard = asked(CASES[name])
    assert KEY not in str(answer) + heard and KEY[:10] not in str(answer) + heard
    assert "env:PEAK_KEY" in str(answer)
    if CASES[name]["stream"] and isinstance(answer, ChatAnswer):
        assert heard == answer.content == "your key is env:PEAK_KEY, keep it"


def test_a_receiver_of_webhooks_that_repeats_a_key():
    case = {"status": 401, "type": "text/plain", "body": "Authorization: Bearer Zq81mVx02LpT7cRw"}
    port = WebhookSender(client_of(case), SECRETS.__getitem__)
    question = WebhookQuestion(
        webhook="desk",
        message="m-1",
        url="http://desk.test/",
        body="{}",
        secret="env:HOOK",
        timeout_ms=2_000,
    )
    failure = asyncio.run(port(question))
    assert "Zq81" not in str(failure) and "[key]" in failure.detail
