"""An AsyncAPI 3.0 document of every topic: what others may publish and consume.

Weir's side is described, as the standard asks: `receive` is what Weir takes from others, `send`
what it tells.
"""

from typing import Any

import yaml

from schemas.events.base import Event
from schemas.wire.avro_schema import schema_of
from schemas.wire.topics import Topic, topics
from streams import __version__
from streams.config import Settings
from streams.docs.readme import readers, writers
from streams.engine.shapes import kinds
from streams.topology import FROM_SERVICES

AVRO = "application/vnd.apache.avro;version=1.9.0"
BINDING = "0.5.0"
HEADERS = {
    "type": "object",
    "properties": {
        "traceparent": {"type": "string", "description": "W3C trace context"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "the event's id"},
        "ce_type": {"type": "string", "description": "weir.<family>.<Event>"},
        "ce_source": {"type": "string", "description": "/weir/<tenant>"},
        "ce_time": {"type": "string", "format": "date-time", "description": "event time"},
        "weir_seq": {"type": "string", "description": "the order in which a stage wrote it"},
    },
}


DESCRIPTION = "LLM agents in production, run as an exactly-once streaming pipeline on Kafka."


SHARED = "What Weir tells itself: several classes in one log, told apart by the header ce_type."


def document(settings: Settings) -> dict[str, Any]:
    """The AsyncAPI document as JSON values."""
    known = topics(settings.partitions).values()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Weir",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/vnd.apache.avro",
        "servers": {"kafka": _server(settings)},
        "channels": {channel_of(topic): _channel(settings, topic) for topic in known},
        "operations": {
            name: made for topic in known for name, made in _operations_of(topic).items()
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for topic in known for kind in topic.events}
        },
    }


def as_yaml(settings: Settings) -> str:
    return yaml.safe_dump(document(settings), sort_keys=False, allow_unicode=True, width=110)


def _server(settings: Settings) -> dict[str, Any]:
    protocol = (
        "kafka-secure" if "ssl" in settings.kafka.get("security.protocol", "").lower() else "kafka"
    )
    return {
        "host": settings.bootstrap(),
        "protocol": protocol,
        "bindings": {
            "kafka": {
                "schemaRegistryUrl": settings.registry(),
                "schemaRegistryVendor": "confluent",
                "bindingVersion": BINDING,
            }
        },
    }


def _channel(settings: Settings, topic: Topic) -> dict[str, Any]:
    config = topic.config()
    kept = {
        "cleanup.policy": [config["cleanup.policy"]],
        "max.message.bytes": int(config["max.message.bytes"]),
    }
    if "retention.ms" in config:
        kept["retention.ms"] = int(config["retention.ms"])
    address = settings.prefix + topic.name
    return {
        "address": address,
        "description": _doc(topic.events[0]) if len(topic.events) == 1 else SHARED,
        "messages": {
            kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}
            for kind in topic.events
        },
        "bindings": {
            "kafka": {
                "topic": address,
                "partitions": topic.partitions,
                "replicas": settings.replication,
                "topicConfiguration": kept,
                "bindingVersion": BINDING,
            }
        },
        "x-owner": topic.owner,
        "x-personal-data": topic.personal,
    }


def channel_of(topic: Topic) -> str:
    """The channel of a topic: named after its class, or after the log that several share."""
    return topic.events[0].__name__ if len(topic.events) == 1 else topic.events[0].log


def _operations_of(topic: Topic) -> dict[str, Any]:
    return {
        name: made
        for kind in topic.events
        for name, made in _operations(kind, channel_of(topic)).items()
    }


def _operations(kind: type[Event], channel: str) -> dict[str, Any]:
    """What Weir does on the event's channel. An event of the pipeline may be read by anybody, so it
    is sent.
    """
    name = kind.__name__
    wrote = writers().get(kind, [])
    read = readers().get(kind, [])
    outside = kind in kinds(FROM_SERVICES) or not wrote
    action, verb = ("receive", "take") if outside else ("send", "tell")
    by = read if outside else wrote
    return {
        f"{verb}{name}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"}],
            "summary": f"{'Read' if outside else 'Written'} by: {', '.join(by) or 'every worker'}.",
        }
    }


def _message(kind: type[Event]) -> dict[str, Any]:
    key = "the tenant" if kind.key == "tenant" else f"tenant/{kind.key}"
    return {
        "name": kind.__name__,
        "title": kind.__name__,
        "summary": _doc(kind),
        "contentType": "application/vnd.apache.avro",
        "headers": HEADERS,
        "payload": {"schemaFormat": AVRO, "schema": schema_of(kind)},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": key},
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "bindingVersion": BINDING,
            }
        },
    }


def _doc(kind: type[Event]) -> str:
    return " ".join((kind.__doc__ or f"{kind.__name__} of family {kind.family}.").split())
