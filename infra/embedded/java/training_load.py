"""The load under which the caches of the broker and the registry are recorded.

A small pipeline of Weir's own kind: requests pass three stages over Kafka, each reading committed
records in a consumer group and writing several topics, a compacted changelog among them, and its
offsets in one transaction; now and then a transaction is aborted and made again. Beside it what
clients and operators ask: groups, offsets, configurations, topics by id, schemas.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

WAIT_S = 60.0
POLL_S = 0.1
PAUSE_S = 0.01
ABORT_EVERY = 20
TOPICS = {"requests": 2, "asked": 2, "answered": 2, "finished": 2, "changes": 2}
STAGES = (
    ("requests", ("asked", "changes")),
    ("asked", ("answered",)),
    ("answered", ("finished", "changes")),
)


@dataclass
class Pipeline:
    """The stages' threads, what went wrong in them, and how much came out at the end."""

    bootstrap: str
    over: threading.Event = field(default_factory=threading.Event)
    errors: list[Exception] = field(default_factory=list)
    finished: int = 0

    def begin(self) -> None:
        """Start a thread a stage, and one that reads the end."""
        for source, targets in STAGES:
            self._thread(lambda source=source, targets=targets: self._stage(source, targets))
        self._thread(self._count)

    def _thread(self, run: Callable[[], None]) -> None:
        def kept() -> None:
            try:
                run()
            except Exception as error:  # told by whoever waits for the end
                self.errors.append(error)

        threading.Thread(target=kept, daemon=True).start()

    def _stage(self, source: str, targets: tuple[str, ...]) -> None:
        consumer = _consumer(self.bootstrap, source)
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": f"stage-{source}"}
        )
        producer.init_transactions(WAIT_S)
        consumer.subscribe([source])
        done = 0
        while not self.over.is_set():
            if taken := _take(consumer):
                done += 1
                if done % ABORT_EVERY == 0:
                    _write(producer, taken, targets)
                    producer.abort_transaction(WAIT_S)
                _write(producer, taken, targets)
                places = [
                    TopicPartition(source, place, offset) for place, offset in _next(taken).items()
                ]
                producer.send_offsets_to_transaction(
                    places, consumer.consumer_group_metadata(), WAIT_S
                )
                producer.commit_transaction(WAIT_S)
        consumer.close()

    def _count(self) -> None:
        consumer = _consumer(self.bootstrap, "finished")
        consumer.subscribe(["finished"])
        while not self.over.is_set():
            self.finished += len(_take(consumer))
            consumer.commit(asynchronous=True)
        consumer.close()

    def wait_for(self, count: int) -> None:
        """Returns when so many requests have come out. Raises what a stage raised, TimeoutError."""
        limit = time.monotonic() + WAIT_S
        while self.finished < count:
            if self.errors:
                raise self.errors[0]
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.finished} of {count} requests came through")
            time.sleep(POLL_S)


def exercise(bootstrap: str, registry_url: str, requests: int) -> None:
    """Send so many requests through the pipeline, and ask the rest meanwhile."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    make_topics(admin)
    pipeline = Pipeline(bootstrap)
    pipeline.begin()
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    try:
        for number in range(requests):
            producer.produce("requests", b"x" * 500, key=f"key-{number % 40}")
            producer.poll(PAUSE_S)
            if number % 100 == 99:  # not at once: new topics have no leader for a moment
                ask_the_broker(admin)
                ask_the_registry(registry_url, f"subject-{number}")
        producer.flush(WAIT_S)
        pipeline.wait_for(requests)
    finally:
        pipeline.over.set()


def make_topics(admin: AdminClient) -> None:
    """The pipeline's topics; the changelog is compacted."""
    wanted = [
        NewTopic(
            name,
            partitions,
            1,
            config={"cleanup.policy": "compact"} if name == "changes" else {},
        )
        for name, partitions in TOPICS.items()
    ]
    for made in admin.create_topics(wanted).values():
        made.result(WAIT_S)


def ask_the_broker(admin: AdminClient) -> None:
    """What operators and workers ask: topics, groups, offsets, configurations."""
    place = TopicPartition("requests", 0)
    resource = ConfigResource(
        ResourceType.TOPIC,
        "requests",
        incremental_configs=[
            ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin.list_topics(timeout=WAIT_S)
    admin.list_consumer_groups().result(WAIT_S)
    asked = [
        *admin.list_offsets({place: cast(OffsetSpec, OffsetSpec.latest())}).values(),
        *admin.describe_consumer_groups(["requests"]).values(),
        *admin.describe_configs([ConfigResource(ResourceType.TOPIC, "requests")]).values(),
        *admin.incremental_alter_configs([resource]).values(),
    ]
    for answer in asked:
        answer.result(WAIT_S)


def ask_the_registry(url: str, subject: str) -> None:
    """Register a schema, check a second version of it, read both ways."""
    fields = [{"name": name, "type": ["null", "string"], "default": None} for name in "abc"]
    schema = json.dumps({"type": "record", "name": "Trained", "fields": fields})
    body = json.dumps({"schema": schema}).encode()
    number = _asked(f"{url}/subjects/{subject}/versions", body)["id"]
    _asked(f"{url}/compatibility/subjects/{subject}/versions/latest", body)
    _asked(f"{url}/subjects/{subject}", body)
    _asked(f"{url}/subjects/{subject}/versions/latest")
    _asked(f"{url}/schemas/ids/{number}")


def _asked(url: str, body: bytes | None = None) -> dict[str, Any]:
    kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = urllib.request.Request(url, body, kind)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.load(answer)


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.instance.id": f"{group}-0",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )


def _take(consumer: Consumer) -> list[Message]:
    return [message for message in consumer.consume(20, POLL_S) if not message.error()]


def _write(producer: Producer, taken: list[Message], targets: tuple[str, ...]) -> None:
    producer.begin_transaction()
    for message in taken:
        for target in targets:
            producer.produce(target, message.value(), key=message.key())
    producer.flush(WAIT_S)


def _next(taken: list[Message]) -> dict[int, int]:
    """The offset to go on from, a partition."""
    places = [(message.partition(), message.offset()) for message in taken]
    return {
        place: offset + 1 for place, offset in places if place is not None and offset is not None
    }
