"""Does a receiver that checks Standard Webhooks accept what is sent, and is every other end a
value?
"""

import asyncio
import json

import httpx
import pytest
from standardwebhooks import Webhook

from schemas.events.webhooks import WebhookAnswer, WebhookQuestion
from schemas.ports import Failure
from sinks.webhooks import AT_ONCE, WebhookSender

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUESTION = WebhookQuestion(
    "crm", "https://crm.example/hook", "env:CRM", "msg-1", '{"type":"run.finished"}', 500
)


def sent(answer, secret=lambda _: SECRET, times=1):
    async def within():
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            port = WebhookSender(http, secret)
            return await asyncio.gather(*(port(QUESTION) for _ in range(times)))

    return asyncio.run(within())


def test_the_receivers_own_package_verifies_it():
    heard = []

    def receive(request):
        heard.append(Webhook(SECRET).verify(request.content, dict(request.headers)))
        assert request.headers["webhook-id"] == "msg-1"
        return httpx.Response(204)

    [answer] = sent(receive)
    assert (
        isinstance(answer, WebhookAnswer)
        and answer.status == 204
        and heard == [json.loads(QUESTION.body)]
    )


def no_secret(reference):
    raise KeyError(f"the secret {reference} is not set")


@pytest.mark.parametrize(
    "status, secret, reason",
    [
        (503, None, "http_503"),
        (410, None, "http_410"),
        (301, None, "http_301"),
        (200, no_secret, "no_secret"),
        (200, lambda _: "whsec_", "bad_secret"),
        (200, lambda _: "whsec_ü", "bad_secret"),
    ],
)
def test_whatever_else_happens_is_a_failure_with_its_reason(status, secret, reason):
    [answer] = sent(lambda request: httpx.Response(status), secret or (lambda _: SECRET))
    assert isinstance(answer, Failure) and answer.reason == reason and SECRET not in answer.detail


def test_a_receiver_that_is_gone_holds_only_so_many_calls():
    async def slow(request):
        await asyncio.sleep(0.01)
        return httpx.Response(200)

    answers = sent(slow, times=AT_ONCE + 3)
    assert [answer.reason for answer in answers if isinstance(answer, Failure)] == ["busy"] * 3
