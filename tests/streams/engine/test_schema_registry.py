"""Do ids come from the registry once, survive it, and does only its own word make a schema
unknown?
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from schemas.catalogue import event_classes
from schemas.events.agent.runs import AgentRequested
from schemas.wire.avro_schema import schema_of
from schemas.wire.codec import HEAD, Codec, DecodeError, LocalIds
from schemas.wire.writer_schemas import Registered
from streams.config import Settings
from streams.engine.schema_registry import (
    NotRegisteredError,
    Registry,
    RegistryUnavailableError,
    canonical,
    register_all,
    subject_of,
)
from tests.support.stages import asked


class Asked:
    """A registry that answers from a table of (method, path) and counts; what is not in it is a
    404.
    """

    def __init__(self, answers: dict[tuple[str, str], tuple[int, dict]], away_for: int = 0):
        self.answers, self.away_for, self.paths = answers, away_for, []

    def answer(self, method: str, path: str) -> tuple[int, dict]:
        self.paths.append(path)
        if len(self.paths) <= self.away_for:
            return 503, {"error_code": 50002, "message": "not yet"}
        return self.answers.get(
            (method, path.partition("?")[0]), (404, {"error_code": 40403, "message": "none"})
        )


@contextmanager
def serving(asked_of: Asked) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = asked_of.answer(self.command, self.path)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


SUBJECT = "weir.agent.agent-requested-value"
SCHEMA = canonical(schema_of(AgentRequested))
KNOWN = {
    ("POST", f"/subjects/{SUBJECT}"): (
        200,
        {"subject": SUBJECT, "id": 42, "version": 1, "schema": SCHEMA},
    ),
    ("GET", "/schemas/ids/42"): (200, {"schema": SCHEMA}),
}


def test_a_started_again_worker_asks_nothing(tmp_path):
    table = Asked(KNOWN)
    with serving(table) as url:
        settings = Settings(home=tmp_path, registry_url=url)
        first = Registry(settings)
        assert first.id_of(AgentRequested) == first.id_of(AgentRequested) == 42
        assert first.schema_with(42) == Registered(SCHEMA)
        asked_before = len(table.paths)
        again = Registry(settings)
        assert again.id_of(AgentRequested) == 42 and again.schema_with(42) == first.schema_with(42)
        assert len(table.paths) == asked_before
    gone = Codec(Registry(settings))
    event = asked("acme")
    assert gone.decode(AgentRequested, gone.encode(event), b"acme") == event, (
        "with no registry at all"
    )


def test_a_registry_that_is_away_is_waited_for(tmp_path):
    beats = []
    with serving(Asked(KNOWN, away_for=3)) as url:
        registry = Registry(
            Settings(home=tmp_path, registry_url=url), lambda: beats.append(1), patience_s=20
        )
        assert registry.schema_with(42) == Registered(SCHEMA)
    assert len(beats) >= 3


def test_one_that_never_answers_is_no_unknown_schema(tmp_path):
    registry = Registry(Settings(home=tmp_path, registry_url="http://127.0.0.1:9"), patience_s=0.3)
    with pytest.raises(RegistryUnavailableError, match="WEIR_REGISTRY_URL"):
        Codec(registry).decode(AgentRequested, b"\x00\x00\x00\x00\x07rest")


def test_an_unknown_id_is_asked_for_once_in_a_while(tmp_path):
    table = Asked(KNOWN)
    with serving(table) as url:
        codec = Codec(Registry(Settings(home=tmp_path, registry_url=url)))
        for _ in range(5):
            with pytest.raises(DecodeError, match="unknown_schema"):
                codec.decode(AgentRequested, b"\x00\x00\x00\x00\x07rest")
        assert len(table.paths) == 1


def test_a_class_that_was_never_registered_says_what_to_do(tmp_path):
    with serving(Asked({})) as url, pytest.raises(NotRegisteredError, match="weir deploy"):
        Registry(Settings(home=tmp_path, registry_url=url)).id_of(AgentRequested)


def test_a_refused_schema_names_the_event_and_the_field(tmp_path):
    old = schema_of(AgentRequested)
    old["fields"] = [f for f in old["fields"] if f["name"] != "agent"]
    refusing = {
        ("GET", f"/config/{SUBJECT}"): (200, {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("POST", f"/subjects/{SUBJECT}/versions"): (
            409,
            {"error_code": 409, "message": "incompatible"},
        ),
        ("GET", f"/subjects/{SUBJECT}/versions/latest"): (
            200,
            {"subject": SUBJECT, "id": 1, "version": 1, "schema": json.dumps(old)},
        ),
    }
    with serving(Asked(refusing)) as url, pytest.raises(SystemExit, match="AgentRequested.*agent"):
        Registry(Settings(home=tmp_path, registry_url=url)).register(AgentRequested)


def test_a_cut_off_file_of_facts_is_asked_anew(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "schemas.json").write_text('{"http')
    with serving(Asked(KNOWN)) as url:
        assert Registry(Settings(home=tmp_path, registry_url=url)).id_of(AgentRequested) == 42


@pytest.mark.engine
def test_all_events_are_registered_and_found_in_the_real_one(engines, tmp_path):
    settings = Settings(home=tmp_path, registry_url=engines.registry_url, prefix="r.")
    told = []
    ids = register_all(settings, lambda done, of: told.append((done, of)))
    assert told[-1] == (len(event_classes()),) * 2
    assert register_all(settings) == ids, "again changes nothing"
    registry = Registry(settings)
    assert {name: registry.id_of(kind) for name, kind in event_classes().items()} == ids
    assert json.loads(registry.schema_with(ids["AgentRequested"]).text) == schema_of(AgentRequested)
    assert registry.schema_with(987_654) is None
    broken = schema_of(AgentRequested) | {"fields": schema_of(AgentRequested)["fields"][1:]}
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    with pytest.raises(SchemaRegistryError):
        registry._client.register_schema(subject_of(settings, AgentRequested), _avro(broken))


def _avro(schema: dict):
    from streams.engine.schema_registry import avro

    return avro(canonical(schema))


POST = {
    "Money": {
        "type": "record",
        "name": "Money",
        "namespace": "acme",
        "fields": [{"name": "cents", "type": "long"}],
    }
}
POST["Price"] = {
    "type": "record",
    "name": "Price",
    "namespace": "acme",
    "fields": [{"name": "is", "type": "acme.Money"}],
}


@pytest.mark.engine
def test_foreign_schemas_of_the_real_one_are_told_by_their_kind(engines, tmp_path):
    from confluent_kafka.schema_registry import Schema, SchemaReference

    settings = Settings(home=tmp_path, registry_url=engines.registry_url)
    client = Registry(settings)._client
    extra = schema_of(AgentRequested)
    extra["fields"] = [*extra["fields"], {"name": "price", "type": "acme.Price"}]

    def refer(name: str) -> SchemaReference:
        return SchemaReference(f"acme.{name}", f"foreign-{name}", 1)

    client.register_schema("foreign-Money", Schema(json.dumps(POST["Money"]), "AVRO"))
    client.register_schema(
        "foreign-Price", Schema(json.dumps(POST["Price"]), "AVRO", [refer("Money")])
    )
    given = {
        "Protobuf, not Avro": Schema(
            'syntax = "proto3"; message Ping { string who = 1; }', "PROTOBUF"
        ),
        "JSON Schema, not Avro": Schema(
            '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {}}',
            "JSON",
        ),
        "not an Avro record but 'string'": Schema('"string"', "AVRO"),
        "not an Avro record but a union": Schema('["null", "string"]', "AVRO"),
        "another AgentRequested": Schema(
            '{"type": "record", "name": "AgentRequested", "fields": [{"name": "tenant", "type": "long"}]}',
            "AVRO",
        ),
        "": Schema(json.dumps(extra), "AVRO", [refer("Price")]),
    }
    ids = {
        said: client.register_schema(f"foreign-{nth}", schema)
        for nth, (said, schema) in enumerate(given.items())
    }
    event = asked("acme")
    body = Codec(LocalIds(event_classes())).encode(event)[HEAD.size :]
    for again in (Registry(settings), Registry(settings)):
        codec = Codec(again)
        for said, schema_id in ids.items():
            if said:
                with pytest.raises(
                    DecodeError, match=f"unknown_schema: schema {schema_id} is {said}"
                ):
                    codec.decode(AgentRequested, HEAD.pack(0, schema_id) + body)
        assert codec.decode(AgentRequested, HEAD.pack(0, ids[""]) + body + bytes([14])) == event


@pytest.mark.engine
@pytest.mark.parametrize("schema_id", [0, 2**31 - 1, 2**31, 2**32 - 1])
def test_the_real_one_has_no_schema_of_an_absurd_id(engines, tmp_path, schema_id):
    registry = Registry(Settings(home=tmp_path, registry_url=engines.registry_url), patience_s=5)
    assert registry.schema_with(schema_id) is None


def test_a_reference_that_is_not_there_is_named_and_asked_for_again(tmp_path):
    reference = {"name": "acme.Money", "subject": "money", "version": 3}
    table = Asked({("GET", "/schemas/ids/7"): (200, {"schema": SCHEMA, "references": [reference]})})
    with serving(table) as url:
        settings = Settings(home=tmp_path, registry_url=url)
        assert Registry(settings).schema_with(7).missing == "acme.Money (money, version 3)"
        money = json.dumps(POST["Money"])
        table.answers["GET", "/subjects/money/versions/3"] = (
            200,
            {"subject": "money", "version": 3, "id": 8, "schema": money},
        )
        assert Registry(settings).schema_with(7) == Registered(SCHEMA, references=(money,))


def test_references_in_a_circle_have_an_end(tmp_path):
    reference = [{"name": "A", "subject": "a", "version": 1}]
    schema = json.dumps(schema_of(AgentRequested) | {"fields": [{"name": "a", "type": "A"}]})
    table = Asked(
        {
            ("GET", "/schemas/ids/7"): (200, {"schema": schema, "references": reference}),
            ("GET", "/subjects/a/versions/1"): (
                200,
                {"subject": "a", "version": 1, "id": 8, "schema": '"A"', "references": reference},
            ),
        }
    )
    with serving(table) as url:
        codec = Codec(Registry(Settings(home=tmp_path, registry_url=url)))
        with pytest.raises(
            DecodeError, match="unknown_schema: schema 7 is not valid Avro: UnknownType"
        ):
            codec.decode(AgentRequested, HEAD.pack(0, 7))


def test_a_page_of_a_proxy_is_no_answer(tmp_path):
    class Page(Asked):
        def answer(self, method: str, path: str) -> tuple[int, dict | bytes]:
            status, body = super().answer(method, path)
            return (200, b"<html>") if len(self.paths) < 3 else (status, body)

    with serving(Page(KNOWN)) as url:
        registry = Registry(Settings(home=tmp_path, registry_url=url), patience_s=20)
        assert registry.schema_with(42) == Registered(SCHEMA)
