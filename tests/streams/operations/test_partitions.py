"""The number of partitions grows while the topics are empty, and is refused afterwards."""

import pytest

from schemas.events.usage import TokensUsed
from schemas.wire.topics import topic_of
from streams.engine import kafka
from streams.engine.stages import changelog
from streams.operations.partitions import grow

pytestmark = pytest.mark.engine


def wanted(partitions: int) -> list:
    return [topic_of(TokensUsed, partitions), changelog.topic("tenant", partitions)]


def counts(settings) -> list[int]:
    there = kafka.admin(settings).list_topics(timeout=30).topics
    return [len(there[settings.prefix + one.name].partitions) for one in wanted(1)]


def test_empty_topics_are_given_more_partitions(own_settings):
    kafka.create_topics(own_settings, wanted(1))
    assert grow(own_settings, wanted(1)) == []
    assert len(grow(own_settings, wanted(3))) == 2
    assert counts(own_settings) == [3, 3]
    kafka.create_topics(own_settings, wanted(3))


@pytest.mark.parametrize("nth", [0, 1], ids=["a record", "state"])
def test_a_topic_that_holds_something_stays_as_it_is(own_settings, nth):
    kafka.create_topics(own_settings, wanted(1))
    producer = kafka.producer(own_settings)
    producer.produce(own_settings.prefix + wanted(1)[nth].name, b"value", b"key")
    producer.flush(30)
    with pytest.raises(SystemExit, match="holds 1 records"):
        grow(own_settings, wanted(2))
    assert counts(own_settings) == [1, 1]


def test_workers_that_run_have_to_be_stopped_first(own_settings):
    kafka.create_topics(own_settings, wanted(1))
    member = kafka.consumer(own_settings, "stage-tenant", 0)
    member.subscribe([own_settings.prefix + TokensUsed.topic()])
    while not member.assignment():
        member.poll(0.1)
    with pytest.raises(SystemExit, match="stop them first"):
        grow(own_settings, wanted(2))
    member.close()


def test_fewer_partitions_are_refused(own_settings):
    kafka.create_topics(own_settings, wanted(2))
    assert grow(own_settings, wanted(1)) == []
    with pytest.raises(SystemExit, match="a key would change its place"):
        kafka.create_topics(own_settings, wanted(1))
