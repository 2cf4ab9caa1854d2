"""Points a Faust app at the same Kafka as the other workers, with the same view of committed
records.

Faust's driver is aiokafka, which knows none of librdkafka's property names: those that say how to
connect are translated here, and one that cannot be is an error, because a live view that quietly
connects without TLS is worse than none. Tuning properties have no meaning there and are left out.
The driver `confluent://` consumed nothing when it was tried, and Faust's `exactly_once` writes no
transactions: neither is ever used.
"""

import logging
import ssl
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

import aiokafka
import faust
from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from faust.transport.drivers import aiokafka as driver
from mode.services import WaitResults

from schemas.events.base import Event
from schemas.wire.codec import Codec, DecodeError
from streams.config import Settings
from streams.engine import kafka
from streams.engine.kafka import patiently

log = logging.getLogger(__name__)

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
CONNECTS = ("security.", "sasl.", "ssl.", "enable.ssl.")
TRANSLATED = {
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
}


def broker_url(properties: dict[str, str]) -> str:
    """Faust's address of the brokers in `bootstrap.servers`."""
    servers = (server.strip() for server in properties["bootstrap.servers"].split(","))
    return ";".join(f"kafka://{server.split('://')[-1]}" for server in servers)


def credentials(properties: dict[str, str]) -> Any:
    """Faust's credentials for librdkafka's properties; None for a plain connection.

    Raises SystemExit with a sentence where a property that says how to connect has no counterpart
    in aiokafka.
    """
    unknown = sorted(
        name for name in properties if name.startswith(CONNECTS) and name not in TRANSLATED
    )
    if unknown:
        raise SystemExit(
            f"the live views cannot connect with the Kafka properties {', '.join(unknown)}: their "
            "client "
            f"knows {', '.join(sorted(TRANSLATED))}. Use those, or run without the live views."
        )
    protocol = properties.get("security.protocol", "plaintext").lower()
    if protocol not in PROTOCOLS:
        raise SystemExit(
            f"security.protocol is {protocol!r} and must be one of {', '.join(PROTOCOLS)}"
        )
    context = tls(properties) if protocol.endswith("ssl") else None
    if not protocol.startswith("sasl"):
        return faust.SSLCredentials(context) if context else None
    mechanism = properties.get("sasl.mechanisms") or properties.get("sasl.mechanism") or "GSSAPI"
    if mechanism not in MECHANISMS:
        raise SystemExit(
            f"the live views cannot log in to Kafka with sasl.mechanisms={mechanism}: their client "
            "knows "
            f"{', '.join(MECHANISMS)}. Use one of those, or run without the live views."
        )
    return faust.SASLCredentials(
        username=properties.get("sasl.username"),
        password=properties.get("sasl.password"),
        mechanism=mechanism,
        ssl_context=context,
    )


def tls(properties: dict[str, str]) -> ssl.SSLContext:
    """Checks the broker's certificate and name unless the properties say otherwise, as librdkafka
    does.
    """
    ca_file = properties.get("ssl.ca.location")
    context = ssl.create_default_context(
        cafile=None if ca_file == "probe" else ca_file, cadata=properties.get("ssl.ca.pem")
    )
    if "ssl.certificate.location" in properties:
        context.load_cert_chain(
            properties["ssl.certificate.location"],
            properties.get("ssl.key.location"),
            properties.get("ssl.key.password"),
        )
    if properties.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if properties.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only; Faust does so only together with its own, broken,
    exactly_once.
    """

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def wait_first(self, *waited: Any, timeout: Any = None) -> WaitResults:
        """Faust asks this for each record: handing it on, or being suspended. That made four tasks
        of asyncio a record, half of all that a record cost here; and what is handed on when it is
        suspended is forgotten with the process.
        """
        if len(waited) != 2 or timeout is not None:
            return await super().wait_first(*waited, timeout=timeout)
        handing, suspended = waited
        suspended.close()
        return WaitResults([handing], [await handing], False)


class CommittedTransport(driver.Transport):
    Consumer = CommittedConsumer


class EventSchema(faust.Schema):
    """Our codec in Faust. A record that is no event comes through as its DecodeError: Faust's own
    way to report it is to stop the app, and the stage that reads the topic has its dead letter
    already.
    """

    def __init__(self, kind: type[Event], codec: Codec):
        super().__init__(key_serializer="raw", value_serializer="raw")
        self._kind, self._codec = kind, codec

    def loads_key(self, app: Any, message: Any, **_: Any) -> bytes | None:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Event | DecodeError:
        try:
            return self._codec.decode(self._kind, message.value)
        except DecodeError as error:
            return error


def start_group_at(
    settings: Settings, prefix: str, group: str, topics: Iterable[str], since: datetime
) -> None:
    """Gives a new group the offsets of a moment, so that its first member begins there. Raises
    KafkaException.

    Groups of earlier runs are removed as far as they have no member left: the rest go next time. A
    broker that is still electing leaders, as after a start, is asked again.
    """

    def nothing() -> None:
        """The event loop beats for this thread."""

    admin = kafka.admin(settings)
    listed = admin.list_consumer_groups().result(10).valid
    old = [
        one.group_id
        for one in listed
        if one.group_id.startswith(prefix)
        and one.state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
    ]
    for name, removed in (admin.delete_consumer_groups(old) if old else {}).items():
        try:
            removed.result(10)
        except KafkaException as error:
            log.info("the group %s of an earlier run stays for now: %s", name, error)
    known = admin.list_topics(timeout=10).topics
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise SystemExit(f"the topics {', '.join(missing)} do not exist: `weir up` creates them")
    reader = Consumer(
        settings.kafka_properties() | {"group.id": group, "enable.auto.commit": False}, logger=log
    )
    try:
        since_ms = int(since.timestamp() * 1000)
        asked = [
            TopicPartition(topic, number, since_ms)
            for topic in topics
            for number in known[topic].partitions
        ]
        found = patiently(lambda: reader.offsets_for_times(asked, timeout=10), nothing)
        for place in found:
            if place.offset < 0:
                end = TopicPartition(place.topic, place.partition)
                place.offset = patiently(
                    partial(reader.get_watermark_offsets, end, timeout=10), nothing
                )[1]
        patiently(lambda: reader.commit(offsets=found, asynchronous=False), nothing)
    finally:
        reader.close()
