"""Does the gateway say in time that Kafka is away, and is what waited for Kafka given up with it?"""

import asyncio
import time

import pytest

from schemas.catalogue import event_classes
from schemas.definitions.kinds import Definitions
from schemas.wire.codec import Codec, LocalIds
from streams.config import Settings
from streams.engine.client import request
from streams.engine.monitoring.telemetry import Metrics
from streams.gateway import kafka_link as linked
from streams.gateway.kafka_link import KafkaLink, KafkaUnavailableError


def test_kafka_away_is_said_within_the_time_and_nothing_is_left_to_be_sent_later(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        linked, "places", lambda *_: []
    )  # where to read is asked of Kafka, before it goes away
    settings = Settings(
        home=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}, gateway_accept_s=0.3
    )

    async def within():
        link = KafkaLink(settings, Codec(LocalIds(event_classes())), Definitions, Metrics())
        began = time.monotonic()
        with pytest.raises(KafkaUnavailableError, match="same Idempotency-Key"):
            await link.publish(request("t", "a", "one"), request("t", "a", "two"))
        took, left = time.monotonic() - began, await asyncio.to_thread(link._producer.flush, 2)
        await asyncio.to_thread(link.close)
        return took, left

    took, left = asyncio.run(within())
    assert took < 15 and left == 0


def test_of_records_that_go_together_the_caller_hears_once_and_only_when_something_is_known_of_each():
    async def told(*errors):
        taken = linked.Taken(asyncio.get_running_loop(), len(errors))
        for error in errors:
            assert not taken.all.done()
            await asyncio.to_thread(taken.settle, error)
        await taken.all

    asyncio.run(told(None, None))
    with pytest.raises(KafkaUnavailableError, match="first"):
        asyncio.run(told(KafkaUnavailableError("first"), KafkaUnavailableError("second"), None))
