"""Does the codec give back what it was given, and does it meet any bytes with a reason instead of a
crash?
"""

import io
import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid5

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import event_classes
from schemas.events.agent.models import ModelResponded
from schemas.events.agent.runs import RequestAdmitted, RunSettled, ToolReturned
from schemas.events.base import Event, derived_id, milliseconds
from schemas.wire.avro_schema import parsed_schema_of, schema_of
from schemas.wire.codec import (
    Codec,
    DecodeError,
    LocalIds,
    from_json,
    headers_of,
    to_json,
    trace_of,
    traceparent_of,
)
from schemas.wire.decoder import reader_of
from schemas.wire.logical_types import from_plain, plain_schema_of
from schemas.wire.writer_schemas import Registered

CLASSES = event_classes()
EXAMPLES = [
    from_json(CLASSES[path.parent.name], path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[3] / "schemas" / "examples").glob("*/*.json"))
]
CODEC = Codec(LocalIds(CLASSES))
SETTLED = next(event for event in EXAMPLES if isinstance(event, RunSettled))
RETURNED = next(event for event in EXAMPLES if isinstance(event, ToolReturned))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
MONEY = st.decimals(0, 10**25, places=12, allow_nan=False)
COUNTS = st.integers(0, 2**53)


def fields_of(event: Event) -> st.SearchStrategy[dict]:
    """An example's fields with any of them changed to another value that the class takes."""
    by_type = {UUID: st.uuids(), datetime: MOMENTS, Decimal: MONEY, int: COUNTS}
    fixed = {name: st.just(value) for name, value in event}
    drawn = {name: by_type[type(value)] for name, value in event if type(value) in by_type}
    drawn |= {
        name: TEXT
        for name in ("text", "content", "detail", "comment", "user", "title")
        if name in fixed
    }
    return st.fixed_dictionaries(fixed | drawn)


@given(
    st.sampled_from(EXAMPLES).flatmap(
        lambda event: st.tuples(st.just(type(event)), fields_of(event))
    )
)
def test_what_is_encoded_comes_back_equal(made):
    kind, fields = made
    event = kind(**fields)
    value = CODEC.encode(event)
    assert CODEC.decode(kind, value, event.partition_key().encode()) == event
    assert from_json(kind, to_json(event)) == event


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_the_bytes_are_those_that_any_avro_library_writes(event):
    """Our plain values against fastavro's own logical types."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed_schema_of(type(event)), event.model_dump())
    assert CODEC.encode(event)[5:] == out.getvalue()
    out.seek(0)
    assert (
        type(event)(**fastavro.schemaless_reader(out, parsed_schema_of(type(event)), None)) == event
    )


def test_half_a_character_is_replaced():
    """JSON can say "\\ud83d" alone, and models do; UTF-8 cannot."""
    event = next(
        event for event in EXAMPLES if isinstance(event, ModelResponded) and event.tool_calls
    )
    call = event.tool_calls[0].model_copy(update={"arguments": "cut \ud83d"})
    read = CODEC.decode(
        ModelResponded,
        CODEC.encode(event.model_copy(update={"content": "\udeb2!", "tool_calls": (call,)})),
    )
    assert (read.content, read.tool_calls[0].arguments) == ("\ufffd!", "cut \ufffd")
    assert read.tokens == event.tokens and read.id == event.id


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_whole_number_is_written_as_fastavro_writes_it(number):
    """The classes bound theirs; the writer must be right for those that do not."""
    value = CODEC.encode(RETURNED.model_copy(update={"wait_ms": number}))
    assert (
        fastavro.schemaless_reader(io.BytesIO(value[5:]), plain_schema_of(ToolReturned), None)[
            "wait_ms"
        ]
        == number
    )


def test_a_number_beyond_avro_is_refused():
    with pytest.raises(OverflowError, match="64 bits"):
        CODEC.encode(RETURNED.model_copy(update={"wait_ms": 2**63}))


def only_undecodable(kind: type[Event], value: bytes | None, key: bytes | None = None) -> None:
    try:
        event = CODEC.decode(kind, value, key)
    except DecodeError as error:
        assert (
            error.reason in ("not_avro", "unknown_schema", "invalid", "wrong_key") and error.detail
        )
    else:
        assert isinstance(event, kind)


@settings(max_examples=400)
@given(st.sampled_from(list(CLASSES.values())), st.binary(max_size=200), st.booleans())
def test_any_bytes_end_in_a_reason(kind, value, framed):
    only_undecodable(
        kind,
        CODEC.encode(next(e for e in EXAMPLES if type(e) is kind))[:5] + value if framed else value,
    )


@settings(max_examples=400)
@given(st.sampled_from(EXAMPLES), st.data())
def test_what_is_read_fast_is_what_fastavro_reads(event, data):
    """Damaged bytes too: where our own code is sure of them, fastavro reads the same."""
    kind, value = type(event), bytearray(CODEC.encode(event)[:4_000])
    for place in data.draw(st.lists(st.integers(5, len(value) - 1), max_size=3)):
        value[place] = data.draw(st.integers(0, 255))
    try:
        fields, end = reader_of(kind)(bytes(value), 5)
    except (IndexError, ValueError, struct.error):
        return
    body = io.BytesIO(bytes(value[5:]))
    slow = from_plain(kind, fastavro.schemaless_reader(body, plain_schema_of(kind), None))
    assert repr(fields) == repr(slow)  # NaN is not equal to itself
    assert end == 5 + body.tell()


@settings(max_examples=400)
@given(st.sampled_from(EXAMPLES), st.data())
def test_damaged_records_end_in_a_reason(event, data):
    value = bytearray(CODEC.encode(event)[:4_000])
    for place in data.draw(st.lists(st.integers(0, len(value) - 1), max_size=4)):
        value[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(value)))
    only_undecodable(type(event), bytes(value))
    only_undecodable(type(event), bytes(value[:cut]))
    only_undecodable(type(event), bytes(value) + b"\x00")


def framed(kind: type[Event], **plain) -> bytes:
    """A record with plain values that no event of ours would have."""
    event = next(e for e in EXAMPLES if type(e) is kind)
    out = io.BytesIO()
    schema = schema_of(kind) | {
        "fields": [f | {"type": _bare(f["type"])} for f in schema_of(kind)["fields"]]
    }
    own = fastavro.schemaless_reader(
        io.BytesIO(CODEC.encode(event)[5:]), plain_schema_of(kind), None
    )
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), own | plain)
    return CODEC.encode(event)[:5] + out.getvalue()


def _bare(kind):
    if isinstance(kind, list):
        return [_bare(branch) for branch in kind]
    return kind["type"] if isinstance(kind, dict) and "logicalType" in kind else kind


@pytest.mark.parametrize(
    "kind, value, reason, says",
    [
        (RunSettled, None, "not_avro", "zero byte"),
        (RunSettled, b"", "not_avro", "zero byte"),
        (RunSettled, b'{"text": "hello"}', "not_avro", "zero byte"),
        (RunSettled, b"\x00\x00\x00\x0f\xff", "unknown_schema", "no schema 4095"),
        (RunSettled, CODEC.encode(SETTLED)[:-1], "not_avro", ""),
        (RunSettled, CODEC.encode(SETTLED) + b"!", "not_avro", "1 bytes are left over"),
        (
            ToolReturned,
            CODEC.encode(SETTLED),
            "unknown_schema",
            "is of RunSettled, not ToolReturned",
        ),
        (RunSettled, framed(RunSettled, at=10**17), "invalid", "no calendar"),
        (RunSettled, framed(RunSettled, cost_usd=b"\x01" * 17), "invalid", "17 bytes"),
        (RunSettled, framed(RunSettled, cost_usd=b"\xff"), "invalid", "cost_usd"),
        (RunSettled, framed(RunSettled, outcome="perhaps"), "invalid", "outcome"),
        (RunSettled, framed(RunSettled, id="not-an-id"), "invalid", "id"),
        (RunSettled, framed(RunSettled, tenant="a/b"), "invalid", "tenant"),
        (ToolReturned, framed(ToolReturned, wait_ms=-1), "invalid", "wait_ms"),
        (ToolReturned, framed(ToolReturned, session=""), "invalid", "session"),
    ],
)
def test_bad_records(kind, value, reason, says):
    with pytest.raises(DecodeError) as caught:
        CODEC.decode(kind, value)
    assert caught.value.reason == reason and says in caught.value.detail


def test_a_wrong_key():
    with pytest.raises(DecodeError, match="wrong_key: the key should be 'acme', it is b'else'"):
        CODEC.decode(RunSettled, CODEC.encode(SETTLED), b"else")


class OldIds(LocalIds):
    """As if RunSettled had been written before `cost_usd` came to it, with `session` in another
    place.
    """

    def schema_with(self, schema_id):
        schema = json.loads(super().schema_with(schema_id).text)
        fields = [field for field in schema["fields"] if field["name"] != "cost_usd"]
        return Registered(json.dumps(schema | {"fields": fields[::-1]}))


def test_a_record_of_an_older_schema_is_read_with_the_defaults():
    ids = OldIds(CLASSES)
    schema_id = ids.id_of(RunSettled)
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(
        out,
        fastavro.parse_schema(json.loads(ids.schema_with(schema_id).text)),
        SETTLED.model_dump(),
    )
    assert Codec(ids).decode(RunSettled, out.getvalue()) == SETTLED.model_copy(
        update={"cost_usd": None}
    )


class TestEvents:
    def test_ids_are_uuid5(self):
        assert derived_id(SETTLED.id, "RunSettled/0") == uuid5(SETTLED.id, "RunSettled/0")

    @given(st.uuids(), TEXT)
    def test_ids_are_uuid5_of_anything(self, space, name):
        assert derived_id(space, name) == uuid5(space, name)

    def test_then_keeps_what_both_have(self):
        asked = next(event for event in EXAMPLES if isinstance(event, RequestAdmitted))
        made = asked.then(RunSettled, "x", outcome="failed")
        assert (made.cause, made.at, made.session, made.run) == (
            asked.id,
            asked.at,
            asked.session,
            asked.run,
        )
        assert made.id == uuid5(asked.id, "RunSettled/x") and made.cost_usd is None

    def test_then_validates(self):
        with pytest.raises(ValueError, match="outcome"):
            SETTLED.then(RunSettled, outcome="perhaps")

    @pytest.mark.parametrize(
        "given_at, kept",
        [
            (
                datetime(2026, 1, 1, 12, 0, 0, 123999, tzinfo=UTC),
                datetime(2026, 1, 1, 12, 0, 0, 123000, tzinfo=UTC),
            ),
            (
                datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
                datetime(2026, 1, 1, 12, tzinfo=UTC),
            ),
        ],
    )
    def test_a_moment_is_utc_to_the_millisecond(self, given_at, kept):
        made = SETTLED.then(RunSettled, at=given_at)
        assert made.at == kept and made.at.tzinfo is UTC

    def test_a_moment_without_a_zone_is_refused(self):
        with pytest.raises(ValueError, match="needs a time zone"):
            SETTLED.then(RunSettled, at=datetime(2026, 1, 1))

    @given(MOMENTS)
    def test_milliseconds(self, moment):
        assert milliseconds(moment) == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
            milliseconds=1
        )


class TestHeaders:
    EVENT = next(event for event in EXAMPLES if isinstance(event, ModelResponded))

    def test_they_carry_trace_context_and_cloudevents(self):
        headers = dict(headers_of(self.EVENT))
        assert headers == {
            "traceparent": f"00-{self.EVENT.run.hex}-{self.EVENT.id.hex[:16]}-01".encode(),
            "ce_specversion": b"1.0",
            "ce_id": str(self.EVENT.id).encode(),
            "ce_type": b"weir.agent.ModelResponded",
            "ce_source": b"/weir/acme",
            "ce_time": b"2026-03-02T09:14:01.250+00:00",
        }

    def test_a_given_trace_is_kept(self):
        parent = traceparent_of(self.EVENT, "a" * 32)
        assert trace_of(headers_of(self.EVENT, parent)) == "a" * 32

    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            b"00",
            b"\xff\xfe",
            b"00-xyz-abc-01",
            b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
            b"00-" + b"A" * 32 + b"-00f067aa0ba902b7-01",
        ],
    )
    def test_a_malformed_one_is_none(self, value):
        assert trace_of([("traceparent", value)]) is None

    @given(
        st.lists(
            st.tuples(st.sampled_from(["traceparent", "x"]), st.none() | st.binary(max_size=60))
        )
    )
    def test_no_headers_raise(self, headers):
        assert trace_of(headers) is None or len(trace_of(headers)) == 32
