"""Does the gateway say within two seconds that Kafka is away, whatever is sent, and is it back by
itself?
"""

import asyncio
import signal
import time

import httpx
import pytest
from confluent_kafka import KafkaException

from infra.embedded import stack
from schemas.catalogue import event_classes
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import AgentRequested
from schemas.events.tracing import SpanReceived
from schemas.wire.codec import Codec, LocalIds
from streams.engine import kafka
from streams.engine.monitoring.telemetry import Metrics
from streams.gateway.auth import new_key
from streams.gateway.kafka_link import TOLD, KafkaLink
from streams.http_app import application
from streams.operations.deploy import wanted_topics
from tests.support.otlp_exports import export
from tests.support.waiting import until

pytestmark = pytest.mark.engine
DOORS = {
    "/v1/requests": b'{"agent": "support", "text": "hi"}',
    "/v1/chat/completions": b'{"model": "support", "messages": [{"role": "user", "content": "hi"}]}',
    "/v1/traces": export({}).SerializeToString(),
}
NEEDED = {kind.topic() for kind in (*TOLD, AgentRequested, SpanReceived)}


def led(settings) -> bool:
    """Whether the broker has begun to serve the topics that were just made."""
    try:
        return all(kafka.high_watermark(settings, settings.prefix + name, 0, 5) for name in NEEDED)
    except KafkaException:
        return False


async def timed(client, path: str, key: str):
    began = time.monotonic()
    answered = await client.post(
        path,
        content=DOORS[path],
        headers={
            "Idempotency-Key": key,
            "content-type": "application/x-protobuf"
            if path == "/v1/traces"
            else "application/json",
        },
    )
    return answered, time.monotonic() - began


def test_a_broker_that_hangs_is_told_at_every_door_and_taken_up_again(engines, own_settings):
    kafka.create_topics(
        own_settings, [topic for topic in wanted_topics(own_settings) if topic.name in NEEDED]
    )
    until(lambda: led(own_settings), 20, lambda: "the topics have no leaders")
    secret, key = new_key("shop", "fernweh", ("request", "telemetry"))
    given = Definitions.of(key)

    async def within():
        real = KafkaLink(own_settings, Codec(LocalIds(event_classes())), lambda: given, Metrics())
        transport = httpx.ASGITransport(app=application(own_settings, real, lambda *_: []))
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers, timeout=60
        ) as client:
            await timed(client, "/v1/requests", "before")
            stack.kill(engines.home, "kafka", signal.SIGSTOP)
            try:
                known, _ = await timed(client, "/v1/requests", "before")
                away = await asyncio.gather(*(timed(client, path, "k") for path in DOORS))
            finally:
                stack.kill(engines.home, "kafka", signal.SIGCONT)
            back = [await timed(client, path, "k") for path in ("/v1/requests", "/v1/traces")]
        await asyncio.to_thread(real.close)
        return known, away, back

    known, away, back = asyncio.run(within())
    assert known.status_code == 202 and known.headers["idempotency-replayed"] == "true"
    for answered, took_s in away:
        assert (answered.status_code, answered.headers["retry-after"]) == (503, "2") and took_s < 4
    assert [answered.status_code for answered, _ in back] == [202, 200]
    assert "idempotency-replayed" not in back[0][0].headers, (
        "what was given up is asked for anew, under the same run"
    )
