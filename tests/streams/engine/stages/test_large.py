"""Does a stage read and write what is too large for Kafka, by way of the object store, and tell
what is gone?
"""

import pytest

from schemas.catalogue import event_classes
from schemas.events.agent.runs import AgentRequested, RequestAdmitted
from schemas.events.operations import DeadLettered
from schemas.wire.codec import Codec, LocalIds
from schemas.wire.large_bodies import EVENT_BYTES_MAX
from sinks.objects import ObjectStore
from tests.support.stages import asked, toy, until
from tests.support.toy import HUGE

pytestmark = pytest.mark.engine


def test_what_follows_is_small_on_kafka_and_whole_and_what_is_gone_is_a_dead_letter(
    bootstrap, tmp_path
):
    place = str(tmp_path / "objects")
    store = ObjectStore(place)
    codec = Codec(LocalIds(event_classes()), store)
    with toy(bootstrap, "tenant", tmp_path, objects=place) as bench:
        gone, large = asked("acme", "y" * 1_000_000), asked("acme", "huge")
        bench.put(AgentRequested, codec.encode(gone), b"acme")
        store.remove([*store.list_objects()])
        bench.publish(large, asked("acme"), asked("acme"))
        bench.flush()
        bench.start(0)
        until(
            lambda: bench.count(RequestAdmitted) == 3 and bench.count(DeadLettered) == 1,
            "all is taken",
        )
        records = [message.value() for message in bench.messages(RequestAdmitted)]
        assert max(map(len, records)) < EVENT_BYTES_MAX
        assert {codec.decode(RequestAdmitted, value).text for value in records} == {
            "x" * HUGE,
            "2",
            "3",
        }
        [letter] = bench.events(DeadLettered)
        assert (letter.reason, letter.record_value) == ("body_missing", codec.encode(gone))
