"""The webhook port: sends signed messages, as Standard Webhooks says.

`webhook-id` is the message's and the same at each attempt; `webhook-timestamp` and
`webhook-signature` are the attempt's. A receiver that is slow or down occupies no more than
`AT_ONCE` calls of the runner: further messages to it fail at once and are sent again later.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import httpx
from standardwebhooks import Webhook

from schemas.events.webhooks import WebhookAnswer, WebhookQuestion
from schemas.ports import Failure
from sinks.http import CallError, OutgoingRequest, Secret, request
from sinks.redaction import without_keys
from sinks.runtime import now_utc

AT_ONCE = 20
ANSWER_BYTES_MAX = 64 * 1024
"""The most that is read of a receiver's answer; only its status counts."""


class WebhookSender:
    """The port `webhook`: an async callable that never raises for what the receiver does."""

    def __init__(
        self, http: httpx.AsyncClient, secret: Secret, now: Callable[[], datetime] = now_utc
    ):
        self._http = http
        self._secret = secret
        self._now = now
        self._under_way: Counter[str] = Counter()

    async def __call__(self, question: WebhookQuestion) -> WebhookAnswer | Failure:
        started_at = self._now()
        name = question.webhook
        if self._under_way[name] >= AT_ONCE:
            return Failure(
                "busy",
                f"{AT_ONCE} messages are on their way to {name} already",
                started_at,
                started_at,
            )
        self._under_way[name] += 1
        try:
            headers = self._headers(question, started_at)
            outgoing = OutgoingRequest("POST", question.url, headers, question.body.encode())
            timeout_s = question.timeout_ms / 1000
            reply = await request(self._http, outgoing, timeout_s, ANSWER_BYTES_MAX)
        except CallError as failure:
            return Failure(failure.reason, without_keys(failure.detail), started_at, self._now())
        finally:
            self._under_way[name] -= 1
        return WebhookAnswer(reply.status, started_at, self._now())

    def _headers(self, question: WebhookQuestion, at: datetime) -> dict[str, str]:
        """The headers of one attempt. Raises CallError where the secret is not set, or is not
        valid.
        """
        try:
            signer = Webhook(self._secret(question.secret))
        except KeyError as error:
            raise CallError("no_secret", str(error.args[0])) from error
        except Exception as error:  # its own for an empty secret, binascii's for what is no base64
            raise CallError(
                "bad_secret",
                f"{question.secret} is no secret of Standard Webhooks: it is whsec_ and base64, as "
                "`./weir webhooks secret` prints",
            ) from error
        return {
            "content-type": "application/json",
            "user-agent": "weir",
            "webhook-id": question.message,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signer.sign(question.message, at, question.body),
        }
