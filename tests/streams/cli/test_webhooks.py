"""A run's end reaches its webhook, after failures too, or ends as a dropped delivery."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from standardwebhooks import Webhook as Receiver

from infra.embedded.scripted import server
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import AgentRequested, RunFinished
from schemas.events.operations import DeadLettered
from schemas.events.webhooks import Webhook, WebhookDelivered, WebhookDropped, WebhookFailed
from sinks.models.attempt import http_sender
from sinks.models.client import ModelClient
from sinks.webhooks import WebhookSender
from streams.app import COMPANY
from streams.definitions import folder
from streams.engine.in_memory import Local
from streams.topology import PIPELINE

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CRM = Webhook(name="crm", url="https://crm.example/hook", secret="env:CRM", retries_s=(5, 300))


@pytest.fixture
def world():
    """Plays one request; the receiver answers with the statuses in `world.answers`, in order, and
    then the last.
    """

    class World:
        def __init__(self):
            self.answers = [204]
            self.heard = []

        def receive(self, request):
            self.heard.append(
                (
                    request.headers["webhook-id"],
                    Receiver(SECRET).verify(request.content, dict(request.headers)),
                )
            )
            return httpx.Response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

        def play(self):
            app = server.application(server.load(COMPANY / "script.yaml"))
            model = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
            hook = httpx.AsyncClient(transport=httpx.MockTransport(self.receive))
            ports = {
                "chat": ModelClient(http_sender(model, str)),
                "tool": None,
                "search": None,
                "webhook": WebhookSender(
                    hook, lambda _: SECRET, lambda: datetime.now(UTC).replace(microsecond=0)
                ),
            }
            local = Local(
                PIPELINE, Definitions.of(*folder.load(COMPANY, 1).definitions, CRM), ports
            )
            try:
                said = local.send(
                    AgentRequested(
                        id=UUID(int=1),
                        at=datetime.now(UTC),
                        tenant="fernweh",
                        agent="support",
                        text="Hello",
                    )
                )
                for minutes in (1, 10, 20):
                    said += local.advance(datetime.now(UTC) + timedelta(minutes=minutes))
            finally:
                local.close()
            assert not [event for event in said if isinstance(event, DeadLettered)]
            return [
                event
                for event in said
                if isinstance(event, WebhookDelivered | WebhookFailed | WebhookDropped)
            ], said

    World.heard = []
    return World()


def test_an_end_is_told_once_and_signed(world):
    told, said = world.play()
    finished = next(event for event in said if isinstance(event, RunFinished))
    assert [type(event) for event in told] == [WebhookDelivered] and told[0].status == 204
    [(message, body)] = world.heard
    assert (
        body["type"] == "run.finished"
        and body["data"]["id"] == str(finished.id)
        and message == str(told[0].message)
    )


def test_a_receiver_that_comes_back_gets_the_same_message(world):
    world.answers = [503, 204]
    told, _ = world.play()
    assert [type(event) for event in told] == [WebhookFailed, WebhookDelivered] and told[
        1
    ].attempt == 2
    assert world.heard[0] == world.heard[1]


def test_one_that_stays_away_makes_a_dead_letter(world):
    world.answers = [500]
    told, _ = world.play()
    assert [event.attempt for event in told] == [1, 2, 3, 3] and isinstance(
        told[-1], WebhookDropped
    )
    assert len({message for message, _ in world.heard}) == 1 and told[-1].body
