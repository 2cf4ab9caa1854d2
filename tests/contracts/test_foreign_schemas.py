"""Records that name another program's schemas are dead letters by their kind, and no worker ends
over them.
"""

import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from infra.embedded import stack as embedded
from schemas.events.agent.runs import AgentRequested, RunFinished
from schemas.events.base import Event
from schemas.events.feedback import FeedbackGiven
from schemas.wire.avro_schema import schema_of
from schemas.wire.codec import HEAD
from streams.config import Settings
from streams.engine import dead_letters, kafka
from streams.engine.client import request
from tests.support.waiting import until

pytestmark = pytest.mark.engine
KINDS: tuple[type[Event], ...] = (AgentRequested, FeedbackGiven)


def foreign(kind: type[Event]) -> dict[str, Schema]:
    """Schemas by what a dead letter says of them."""
    itself = {
        "type": "record",
        "name": kind.__name__,
        "fields": [{"name": "again", "type": ["null", kind.__name__]}],
    }
    extra = {"name": "extra", "type": {"type": "array", "items": "null"}}
    endless = schema_of(kind) | {"fields": [extra, *schema_of(kind)["fields"]]}
    return {
        "is Protobuf, not Avro": Schema(
            'syntax = "proto3"; message Ping { string who = 1; }', "PROTOBUF"
        ),
        "is JSON Schema, not Avro": Schema(
            json.dumps(
                {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "properties": {},
                }
            ),
            "JSON",
        ),
        "is not an Avro record but 'string'": Schema('"string"', "AVRO"),
        "is not an Avro record but a union": Schema('["null", "string"]', "AVRO"),
        "has a type that contains itself": Schema(json.dumps(itself), "AVRO"),
        "has a value that takes no bytes": Schema(json.dumps(endless), "AVRO"),
    }


def restarts(home: Path) -> dict[str, int]:
    return {name: one["restarts"] for name, one in embedded.status(home)["services"].items()}


def test_foreign_schemas_end_no_worker(stack: Settings, codec, client):
    registry, producer, sent = (
        SchemaRegistryClient({"url": stack.registry()}),
        kafka.producer(stack),
        {},
    )
    before = restarts(stack.home.resolve())
    for kind in KINDS:
        for nth, (words, schema) in enumerate(foreign(kind).items()):
            schema_id = registry.register_schema(f"foreign-{kind.__name__}-{nth}", schema)
            sent[kind.topic(), f"schema {schema_id} {words}"] = words
            body = b"\x02" * 200_000 if "itself" in words else b"\x02a"
            producer.produce(stack.prefix + kind.topic(), HEAD.pack(0, schema_id) + body, b"acme")
    assert producer.flush(30) == 0
    outcome = client.ask(request("acme", "asks-good", "hi"), 60)
    assert isinstance(outcome, RunFinished) and outcome.outcome == "completed"

    def told() -> set[tuple[str, str, str]]:
        return {
            (letter.topic_name.removeprefix(stack.prefix), words, letter.consumer)
            for letter in dead_letters.read_all(stack, codec)
            if letter.reason == "unknown_schema"
            for topic, words in sent
            if letter.detail.startswith(words)
        }

    wanted = {
        (topic, words, "stage-tenant" if topic == AgentRequested.topic() else "stage-session")
        for topic, words in sent
    }
    wanted |= {
        (topic, words, "sink-clickhouse") for topic, words in sent if topic == FeedbackGiven.topic()
    }
    until(lambda: wanted <= told(), 60, lambda: f"not told: {wanted - told()}")
    assert restarts(stack.home.resolve()) == before
