"""The number of partitions of the topics is raised while nothing depends on it, and never after.

A key's records, its state in the changelog and the offsets that its stage has committed all belong
to one partition number, which follows from the number of partitions. So it can be raised only
where the topics hold no record and no state, and no worker runs that has counted the partitions.
Where that is not so, another WEIR_PREFIX begins with any number of partitions, and the old
deployment goes on beside it until its last run has finished.
"""

from collections.abc import Sequence

from confluent_kafka import ConsumerGroupState, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from schemas.wire.topics import Topic
from streams.config import Settings
from streams.engine import kafka
from streams.engine.stages.changelog import Changelog

ANSWER_S = 30
IDLE = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}


def grow(settings: Settings, wanted: Sequence[Topic | Changelog]) -> list[str]:
    """Raises the partition counts of existing topics to those wanted; returns the topics' names.

    Raises SystemExit, with the reason and what to do, where a key's partition would move.
    """
    admin = kafka.admin(settings)
    existing = admin.list_topics(timeout=ANSWER_S).topics
    small = {
        settings.prefix + topic.name: topic.partitions
        for topic in wanted
        if (found := existing.get(settings.prefix + topic.name))
        and len(found.partitions) < topic.partitions
    }
    if not small:
        return []
    obstacle = _obstacle(settings, admin, {name: len(existing[name].partitions) for name in small})
    if obstacle:
        raise SystemExit(
            f"{min(small)} has {len(existing[min(small)].partitions)} partitions and cannot be "
            "given "
            f"{small[min(small)]}: {obstacle}. A key's records and state would no longer meet. Set "
            f"WEIR_PARTITIONS to what is there, or begin anew under another WEIR_PREFIX."
        )
    for future in admin.create_partitions(
        [NewPartitions(name, count) for name, count in small.items()]
    ).values():
        future.result(ANSWER_S)
    return sorted(small)


def _obstacle(settings: Settings, admin: AdminClient, counts: dict[str, int]) -> str:
    """Why the topics, given with their counts of partitions, must stay as they are; empty where
    nothing stands against a change.
    """
    working = [
        group.group_id
        for group in admin.list_consumer_groups().result(ANSWER_S).valid
        if group.group_id.startswith(settings.prefix) and group.state not in IDLE
    ]
    if working:
        return f"workers are running (group {min(working)}), stop them first"
    reader = kafka.consumer(settings, "partitions")
    try:
        for name, count in sorted(counts.items()):
            for number in range(count):
                first, end = reader.get_watermark_offsets(
                    TopicPartition(name, number), timeout=ANSWER_S
                )
                if first < end:
                    return f"{name} holds {end - first} records"
    finally:
        reader.close()
    return ""
