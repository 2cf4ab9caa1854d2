"""A record may name any schema of its registry: it becomes an event or an DecodeError, and nothing
else happens.
"""

import io
import json
import struct
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import event_classes
from schemas.events.agent.runs import AgentRequested, ToolReturned
from schemas.events.base import Event
from schemas.wire import topics  # noqa: F401  knows every event class
from schemas.wire.avro_schema import MONEY, schema_of
from schemas.wire.codec import HEAD, Codec, DecodeError, LocalIds
from schemas.wire.writer_schemas import Registered, UnreadableSchemaError, writer_schema_of

CLASSES = event_classes()
OWN = schema_of(AgentRequested)


class OneSchema(LocalIds):
    """A registry with one schema under every id."""

    def __init__(self, found: Registered):
        super().__init__(CLASSES)
        self.found = found

    def schema_with(self, schema_id: int) -> Registered | None:
        return self.found


def decode(
    found: Registered, body: bytes, kind: type[Event] = AgentRequested, schema_id: int = 7
) -> Event:
    return Codec(OneSchema(found)).decode(kind, HEAD.pack(0, schema_id) + body)


def with_field(avro: Any, name: str = "extra") -> Registered:
    """The class's own schema, and one more field of that type before the others."""
    return Registered(json.dumps(OWN | {"fields": [{"name": name, "type": avro}, *OWN["fields"]]}))


def nested(depth: int) -> Any:
    schema: Any = "string"
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


EMPTY = {"type": "record", "name": "Empty", "fields": []}
ITSELF = Registered(
    json.dumps(OWN | {"fields": [{"name": "again", "type": ["null", "weir.agent.AgentRequested"]}]})
)
DOUBLING = [
    {
        "name": "t0",
        "type": {"type": "record", "name": "T0", "fields": [{"name": "x", "type": "boolean"}]},
    }
] + [
    {
        "name": f"t{n}",
        "type": {"type": "record", "name": f"T{n}", "fields": [{"name": "a", "type": f"T{n - 1}"}]},
    }
    for n in range(1, 60)
]
DEEP = Registered(json.dumps(OWN | {"namespace": "", "fields": DOUBLING}))


@pytest.mark.parametrize(
    "found, said",
    [
        (Registered("", "PROTOBUF"), "schema 7 is Protobuf, not Avro"),
        (Registered("", "JSON"), "schema 7 is JSON Schema, not Avro"),
        (Registered("", "THRIFT"), "schema 7 is THRIFT, not Avro"),
        (Registered('"string"'), "schema 7 is not an Avro record but 'string'"),
        (Registered('["null", "string"]'), "schema 7 is not an Avro record but a union"),
        (
            Registered('{"type": "fixed", "name": "AgentRequested", "size": 4}'),
            "schema 7 is not an Avro record but 'fixed'",
        ),
        (
            Registered('{"type": "object", "name": "AgentRequested"}'),
            "schema 7 is not an Avro record but 'object'",
        ),
        (Registered("true"), "schema 7 is not an Avro record but True"),
        (
            Registered('{"type": "record", "name": "Other", "fields": []}'),
            "schema 7 is of Other, not AgentRequested",
        ),
        (
            Registered('{"type": "record", "name": ["x"], "fields": []}'),
            "schema 7 is of \\['x'\\], not AgentRequested",
        ),
        (Registered("string"), "schema 7 is no JSON"),
        (Registered("[" * 200_000), "schema 7 is no JSON|schema 7 is nested"),
        (
            Registered('{"type": "record", "name": "AgentRequested", "fields": 3}'),
            "schema 7 is not valid Avro",
        ),
        (with_field("acme.Nowhere"), "schema 7 is not valid Avro: UnknownType: acme.Nowhere"),
        (
            Registered(json.dumps(OWN), missing="acme.Money (acme-money, version 3)"),
            r"schema 7 refers to acme.Money \(acme-money, version 3\), which the registry does not have",
        ),
        (Registered(" " * 1_000_001), "schema 7 has 1000001 characters"),
        (with_field(nested(200)), "schema 7 is nested more than 100 levels deep"),
        (with_field(nested(40)), "schema 7 has values that nest more than 32 levels deep"),
        (DEEP, "schema 7 has values that nest more than 32 levels deep"),
        (ITSELF, "schema 7 has a type that contains itself, weir.agent.AgentRequested"),
        (
            with_field({"type": "array", "items": "null"}),
            "schema 7 has a value that takes no bytes: null",
        ),
        (
            with_field({"type": "array", "items": EMPTY}),
            "schema 7 has a value that takes no bytes: weir.agent.Empty",
        ),
        (
            with_field({"type": "fixed", "name": "F", "size": 0}),
            "schema 7 has a value that takes no bytes",
        ),
        (
            with_field({"type": "long", "logicalType": "timestamp-micros"}),
            "schema 7 has the logical type timestamp-micros",
        ),
        (with_field(MONEY | {"scale": 2}), "schema 7 has the logical type decimal of scale 2"),
    ],
)
def test_what_a_dead_letter_says(found, said):
    codec = Codec(OneSchema(found))
    for _ in range(2):
        with pytest.raises(DecodeError, match=f"unknown_schema: {said}") as caught:
            codec.decode(AgentRequested, HEAD.pack(0, 7) + b"\x02a")
        with pytest.raises(DecodeError, match="unknown_schema"):
            codec.is_own(AgentRequested, 7)
    assert len(caught.value.detail) < 500


def test_another_schema_of_the_same_name_is_told_in_short():
    other = Registered(json.dumps(OWN | {"fields": [{"name": "tenant", "type": "long"}]}))
    with pytest.raises(
        DecodeError, match="unknown_schema: schema 7 is another AgentRequested"
    ) as caught:
        decode(other, b"\x02")
    assert len(caught.value.detail) < 200


def written(found: Registered, fields: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    named: dict[str, Any] = {}
    for text in (*found.references, found.text):
        schema = fastavro.parse_schema(json.loads(text), named_schemas=named)
    fastavro.schemaless_writer(out, schema, fields)
    return out.getvalue()


@pytest.fixture
def asked() -> AgentRequested:
    return AgentRequested.model_validate_json(
        '{"id": "1b4e28ba-2fa1-41d2-883f-0016d3cca427", "at": "2026-03-02T09:14:00.125Z", "tenant": "acme",'
        ' "session": "s1", "agent": "support", "text": "hello"}'
    )


def test_references_are_resolved(asked):
    extra = {
        "type": "record",
        "name": "Extra",
        "namespace": "acme",
        "fields": [{"name": "n", "type": "acme.Count"}],
    }
    count = {
        "type": "record",
        "name": "Count",
        "namespace": "acme",
        "fields": [{"name": "n", "type": "long"}],
    }
    found = Registered(
        with_field("acme.Extra").text, references=(json.dumps(count), json.dumps(extra))
    )
    body = written(found, asked.model_dump() | {"extra": {"n": {"n": 3}}})
    assert decode(found, body) == asked


def test_a_field_more_and_fields_with_defaults_less(asked):
    fields = [field for field in OWN["fields"] if "default" not in field]
    found = Registered(
        json.dumps(OWN | {"fields": [*fields[::-1], {"name": "more", "type": MONEY}]})
    )
    body = written(found, asked.model_dump() | {"more": Decimal(1)})
    assert decode(found, body) == asked.model_copy(
        update={
            name: info.get_default(call_default_factory=True)
            for name, info in AgentRequested.model_fields.items()
            if not info.is_required()
        }
    )


def test_a_decimal_of_a_megabyte_ends_at_once():
    """Made a Decimal before its length is looked at, it takes two minutes."""
    kind = next(
        kind
        for kind in CLASSES.values()
        if any(field["type"] == ["null", MONEY] for field in schema_of(kind)["fields"])
    )
    schema = schema_of(kind)
    money = next(field for field in schema["fields"] if field["type"] == ["null", MONEY])
    rest = [field for field in schema["fields"] if field is not money]
    found = Registered(json.dumps(schema | {"fields": [money, *rest]}))
    length = io.BytesIO()
    fastavro.schemaless_writer(length, fastavro.parse_schema("long"), 1_000_000)
    with pytest.raises(DecodeError):
        decode(found, b"\x02" + length.getvalue() + b"\x71" * 1_000_000, kind)


NAMES = st.sampled_from(
    ["AgentRequested", "A", "B", "weir.agent.AgentRequested", "acme.X", "null", ""]
)
SIMPLE = (
    st.sampled_from(
        ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "A", "acme.X"]
    )
    | NAMES
)
LOGICAL = st.sampled_from(
    ["uuid", "timestamp-millis", "timestamp-micros", "decimal", "date", "duration"]
)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["tenant", "id", "at", "x", "y"]), "type": inner},
            optional={"default": st.none() | st.text(max_size=3)},
        ),
        max_size=4,
    )
    return (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"type": st.just("map"), "values": inner})
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["fixed", "enum"]), "name": NAMES},
            optional={
                "size": st.integers(-1, 4),
                "symbols": st.lists(st.sampled_from("ab"), max_size=2),
            },
        )
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["record", "error", "int", "bytes"])},
            optional={
                "name": NAMES,
                "fields": fields,
                "logicalType": LOGICAL,
                "scale": st.integers(-2, 12),
                "precision": st.integers(-1, 10**9),
            },
        )
    )


AVRO = st.recursive(SIMPLE, _larger, max_leaves=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "logicalType", "x"]),
            inner,
            max_size=4,
        )
    ),
)
EXTRA = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["tenant", "x", "y", "z"]), "type": AVRO}),
    max_size=3,
)
OURS = EXTRA.map(lambda extra: OWN | {"fields": [*extra, *OWN["fields"]]}) | EXTRA.map(
    lambda extra: OWN | {"fields": extra}
)
TEXTS = (AVRO | JSON | OURS).map(json.dumps) | st.text(max_size=20)
SCHEMAS = st.builds(
    Registered, TEXTS, st.just("AVRO"), st.lists(TEXTS, max_size=2).map(tuple)
) | st.builds(Registered, TEXTS, st.text(max_size=8))


@settings(max_examples=400)
@given(SCHEMAS, st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_no_schema_and_no_bytes_raise_anything_else(found, body, schema_id):
    codec = Codec(OneSchema(found))
    try:
        assert isinstance(
            codec.decode(AgentRequested, struct.pack(">BI", 0, schema_id) + body), AgentRequested
        )
    except DecodeError as error:
        assert error.detail and len(error.detail) < 700


@settings(max_examples=200)
@given(OURS.map(json.dumps), st.data())
def test_what_fastavro_writes_with_an_accepted_schema_is_read_or_refused(text, data):
    """Values that fit the schema go further into the reader than bytes at random."""
    try:
        schema = writer_schema_of(AgentRequested, Registered(text))
    except UnreadableSchemaError:
        return
    from fastavro.utils import generate_one

    out = io.BytesIO()
    schema = schema if schema is not None else fastavro.parse_schema(OWN)
    try:
        fastavro.schemaless_writer(out, schema, generate_one(schema))
    except Exception:  # an enum without symbols has no value
        return
    cut = data.draw(st.integers(0, len(out.getvalue())))
    for body in (out.getvalue(), out.getvalue()[:cut]):
        try:
            decode(Registered(text), body)
        except DecodeError as error:
            assert error.detail


@pytest.mark.parametrize("kind", [AgentRequested, ToolReturned])
def test_the_own_schema_is_known_whatever_its_spacing(kind):
    found = Registered(json.dumps(schema_of(kind), indent=3))
    assert writer_schema_of(kind, found) is None
    assert Codec(OneSchema(found)).is_own(kind, 7)
