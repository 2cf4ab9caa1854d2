"""The embedded broker: transactions, durability over SIGKILL, and the schema registry."""

import itertools
import json
import time
import uuid

import httpx
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.embedded import kafka, registry, stack
from infra.embedded.testing import JAR_HOME, free_ports
from tests.support.stacks import until, up

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A broker and a registry of this module's own, as they get killed: home, bootstrap, URL."""
    home = an_awkward_home(tmp_path_factory.mktemp("kafka"))
    port, controller_port, registry_port = free_ports(3)
    bootstrap = f"127.0.0.1:{port}"
    services = [
        kafka.service(home, port, controller_port, "short", JAR_HOME),
        registry.service(home, registry_port, bootstrap, "short", JAR_HOME),
    ]
    with up(home, *services, wait=False):
        stack.wait_ready(home, timeout_s=120)
        yield home, bootstrap, registry.url(registry_port)


def an_awkward_home(folder):
    """A folder whose cluster id begins with "-" (one in 64 does): Kafka's tool once took it for an
    option.
    """
    names = (folder / f"home-{number}" for number in itertools.count())
    home = next(home for home in names if kafka.cluster_id(home / "kafka").startswith("-"))
    home.mkdir()
    return home


def topic_of(bootstrap: str) -> str:
    name = f"t-{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    return name


def read(bootstrap: str, topic: str, count: int, limit_s: float = 40) -> list[bytes]:
    """The first `count` committed values of the topic, and whatever arrives within a moment behind
    them.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": str(uuid.uuid4()),
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    values = []
    limit = time.monotonic() + limit_s
    while len(values) < count and time.monotonic() < limit:
        values += [message.value() for message in consumer.consume(100, 0.2) if not message.error()]
    values += [message.value() for message in consumer.consume(100, 0.3) if not message.error()]
    consumer.close()
    return values


def test_only_committed_transactions_are_read(running):
    _, bootstrap, _ = running
    topic = topic_of(bootstrap)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for value, end in (
        (b"kept", producer.commit_transaction),
        (b"dropped", producer.abort_transaction),
        (b"kept too", producer.commit_transaction),
    ):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(10)
        end(30)
    assert read(bootstrap, topic, 2) == [b"kept", b"kept too"]


def test_a_message_of_8_mb_passes_and_unknown_topics_are_not_made(running):
    _, bootstrap, _ = running
    topic = topic_of(bootstrap)
    large = b"x" * (kafka.LARGEST_MESSAGE_BYTES - 1024)
    failed = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "message.max.bytes": kafka.LARGEST_MESSAGE_BYTES,
            "topic.metadata.propagation.max.ms": 500,
        }
    )
    producer.produce(topic, large, on_delivery=lambda error, _: failed.append(error))
    producer.produce("never-created", b"x", on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(30) == 0
    assert [bool(error) for error in failed].count(True) == 1
    assert [len(value) for value in read(bootstrap, topic, 1)] == [len(large)]


def test_killed_with_9_the_broker_comes_back_with_its_data(running):
    home, bootstrap, url = running
    schema = {"schema": '{"type": "record", "name": "R", "fields": []}'}
    registered = httpx.post(f"{url}/subjects/kept-value/versions", json=schema, timeout=30).json()[
        "id"
    ]
    topic = topic_of(bootstrap)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for number in range(500):
        producer.produce(topic, b"%d" % number)
    assert producer.flush(30) == 0
    killed = {name: stack.kill(home, name) for name in ("kafka", "registry")}

    def again() -> bool:
        known = stack.status(home)["services"]
        return all(
            known[name]["state"] == "ready" and known[name]["pid"] != killed[name]
            for name in killed
        )

    until(again, limit_s=120)
    assert read(bootstrap, topic, 500) == [b"%d" % number for number in range(500)]
    kept = httpx.get(f"{url}/schemas/ids/{registered}", timeout=30).json()["schema"]
    assert json.loads(kept) == json.loads(schema["schema"])
    producer.produce(topic, b"more")
    assert producer.flush(30) == 0


def test_the_configuration_stays_on_this_machine(tmp_path):
    written = kafka.properties(tmp_path, 1, 2)
    assert written["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert written["auto.create.topics.enable"] == "false"
