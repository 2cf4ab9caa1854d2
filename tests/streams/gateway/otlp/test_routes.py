"""Is what exporters send taken span by span, and is what is no export turned away with a sentence?"""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from schemas.definitions.api_keys import ApiKey
from schemas.definitions.kinds import Definitions
from schemas.events.tracing import SpanEnded, SpanReceived
from schemas.events.usage import TokensUsed, UsageTotalled
from streams.engine.in_memory import Local
from streams.gateway.auth import new_key
from streams.gateway.limits import EXPORT_BYTES_MAX
from streams.gateway.otlp import routes
from streams.topology import PIPELINE
from tests.support.otlp_exports import CHAT, HOUR_NS, NOW_NS, SPAN, TRACE, attach, export

HEADERS = {"content-type": "application/x-protobuf"}


def sent(http, body: bytes, path: str = "/v1/traces", **headers: str):
    return http(lambda client: client.post(path, content=body, headers=HEADERS | headers))


@pytest.fixture(autouse=True)
def only_taken(link):
    """What became of the events is another test's question."""
    local = link._local
    link._local = SimpleNamespace(send=lambda *events: [])
    yield
    link._local = local


@pytest.fixture
def take(http, link):
    """Sends spans and returns what was taken, and what was said of the others."""

    def send(*spans: dict, **headers: str) -> tuple[list[SpanReceived], str]:
        answer = sent(http, export(*spans).SerializeToString(), **headers)
        assert answer.status_code == 200
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        taken = [event for event in link.taken if isinstance(event, SpanReceived)]
        assert len(taken) + partial.rejected_spans == len(spans)
        return taken, partial.error_message

    return send


def test_json_says_the_same_as_protobuf(http, link):
    """OTLP's JSON: ids in hex, 64-bit numbers as texts, enums as numbers or names."""
    body = {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]
                },
                "scopeSpans": [
                    {
                        "scope": {"name": "acme.llm"},
                        "spans": [
                            {
                                "traceId": TRACE.hex(),
                                "spanId": (1).to_bytes(8, "big").hex(),
                                "name": "span 1",
                                "kind": 3,
                                "startTimeUnixNano": str(NOW_NS - 2_000_000_000),
                                "endTimeUnixNano": str(NOW_NS),
                                "newField": {"a": 1},
                                "attributes": [
                                    {
                                        "key": key,
                                        "value": {"intValue": str(value)}
                                        if isinstance(value, int)
                                        else {"stringValue": value},
                                    }
                                    for key, value in CHAT.items()
                                ],
                            },
                            {"traceId": "zz", "spanId": "0" * 16},
                            {"traceId": 5},
                            "no span",
                        ],
                    }
                ],
            }
        ]
    }
    answer = sent(
        http,
        gzip.compress(json.dumps(body).encode()),
        **{"content-type": "application/json; charset=utf-8", "content-encoding": "gzip"},
    )
    partial = answer.json()["partialSuccess"]
    assert (answer.status_code, partial["rejectedSpans"]) == (200, "3")
    assert "traceId should be hex digits, it is 'zz'" in partial["errorMessage"]
    sent(http, export({"attributes": dict(CHAT)}).SerializeToString())
    of_json, of_protobuf = link.taken
    assert of_json.model_copy(update={"at": of_protobuf.at}) == of_protobuf


@pytest.mark.parametrize(
    ("fields", "repaired", "wait_ms"),
    [
        ({}, "", 2_000),
        ({"end_time_unix_nano": 0}, "no_end", 0),
        ({"start_time_unix_nano": 0}, "no_start", 0),
        ({"end_time_unix_nano": NOW_NS - 3_000_000_000}, "ends_before_start", 0),
        (
            {
                "start_time_unix_nano": NOW_NS + 2 * HOUR_NS,
                "end_time_unix_nano": NOW_NS + 3 * HOUR_NS,
            },
            "clock_ahead_",
            3_600_000,
        ),
        (
            {
                "start_time_unix_nano": NOW_NS - 3 * HOUR_NS,
                "end_time_unix_nano": NOW_NS - 2 * HOUR_NS,
            },
            "",
            3_600_000,
        ),
        ({"end_time_unix_nano": 2**64 - 1, "start_time_unix_nano": NOW_NS}, "clock_ahead_", None),
    ],
    ids=[
        "fine",
        "no end",
        "no start",
        "ends before start",
        "two hours ahead",
        "two hours behind",
        "the year 2554",
    ],
)
def test_a_clock_that_goes_wrong_is_put_right(take, fields, repaired, wait_ms):
    [span], words = take(fields)
    assert (
        span.repaired.startswith(repaired) and bool(span.repaired) == bool(repaired) and words == ""
    )
    assert wait_ms in (None, span.wait_ms)
    assert span.started_at <= span.ended_at <= datetime.now(UTC) + timedelta(seconds=5)
    assert span.ended_at - span.started_at == timedelta(milliseconds=span.wait_ms)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"trace_id": b"short"}, "a trace id is 16 bytes"),
        ({"trace_id": bytes(16)}, "not all zero"),
        ({"span_id": b""}, "a span id is 8 bytes"),
        ({"start_time_unix_nano": 0, "end_time_unix_nano": 0}, "neither start nor end"),
        (
            {"start_time_unix_nano": 10**18, "end_time_unix_nano": 10**18},
            "older than rows are kept",
        ),
        ({"attributes": {f"a{n}": "x" * 60_000 for n in range(20)}}, "record less of its content"),
    ],
)
def test_one_bad_span_never_rejects_its_batch(take, fields, words):
    taken, said = take({}, fields, {})
    assert [span.name for span in taken] == ["span 1", "span 3"]
    assert said.startswith("1 of 3 were not taken") and words in said


def test_what_is_too_long_is_cut_and_says_so(take):
    [span], _ = take({"attributes": {"essay": "x" * 100_000} | {f"a{n}": n for n in range(2_000)}})
    kept = json.loads(span.attributes)
    assert (len(kept), span.repaired) == (1_000, "texts_cut,attributes_cut")
    assert kept["essay"].endswith("(36,000 more characters)")


def test_ten_thousand_spans_of_one_trace_are_all_taken(take):
    taken, words = take(*({} for _ in range(10_000)))
    assert (len({span.id for span in taken}), words) == (10_000, "")


def test_a_trace_id_of_two_tenants_is_two_traces(http, link):
    for tenant in ("fernweh", "other"):
        sent(http, export({}).SerializeToString(), **{"weir-tenant": tenant})
    mine, theirs = link.taken
    assert (mine.trace, mine.span) == (theirs.trace, theirs.span)
    assert mine.id != theirs.id and mine.partition_key() != theirs.partition_key()


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"no gzip", {"content-encoding": "gzip"}, 400, "says that it is gzip and is not"),
        (gzip.compress(b"x" * 1_000)[:-10], {"content-encoding": "gzip"}, 400, "breaks off"),
        (gzip.compress(b"") * 2, {"content-encoding": "gzip"}, 400, "goes on after its end"),
        (
            gzip.compress(bytes(EXPORT_BYTES_MAX + 1)),
            {"content-encoding": "gzip"},
            413,
            "more than 20 MB",
        ),
        (b"{}", {"content-encoding": "br"}, 415, "Content-Encoding 'br'"),
        (b"\xff\xff\xff", {}, 400, "not an ExportTraceServiceRequest of OTLP in protobuf"),
        (b"{", {"content-type": "application/json"}, 400, "not JSON"),
        (b"[" * 100_000, {"content-type": "application/json"}, 400, "not JSON"),
        (
            b'{"resourceSpans": 5}',
            {"content-type": "application/json"},
            400,
            "a list 'resourceSpans'",
        ),
        (
            b"",
            {"content-type": "text/plain"},
            415,
            "send application/x-protobuf or application/json",
        ),
    ],
    ids=[
        "bad gzip",
        "half gzip",
        "two gzips",
        "gzip bomb",
        "brotli",
        "wrong protobuf",
        "bad JSON",
        "deep JSON",
        "other JSON",
        "text",
    ],
)
def test_what_is_no_export_is_refused_with_a_sentence(http, link, body, headers, status, words):
    answer = sent(http, body, **headers)
    as_json = headers.get("content-type") == "application/json"
    said = answer.json()["message"] if as_json else Status.FromString(answer.content).message
    assert answer.status_code == status and words in said and link.taken == []


def test_thirty_megabytes_are_too_much(http, link):
    answer = sent(http, bytes(30 * 1024 * 1024))
    assert (answer.status_code, link.taken) == (413, [])


def test_an_export_of_nothing_is_fine(http):
    assert sent(http, b"").status_code == 200


@pytest.mark.parametrize("full", [False, True])
def test_when_kafka_is_away_or_memory_full_it_says_when_to_come_again(http, app, link, full):
    link.away = "" if full else "Kafka did not take it"
    room = app.state.gateway.bodies
    with room.reserve(room.most if full else 0):
        answer = sent(http, export({}).SerializeToString())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1" if full else "2")
    assert Status.FromString(answer.content).message
    assert room.taken == 0


def test_what_is_packed_counts_by_what_it_holds(http, app, link):
    room = app.state.gateway.bodies
    body = export({"attributes": {"a": "x" * 50_000}}).SerializeToString()
    with room.reserve(room.most - len(body)):
        assert sent(http, gzip.compress(body), **{"content-encoding": "gzip"}).status_code == 503
    assert sent(http, gzip.compress(body), **{"content-encoding": "gzip"}).status_code == 200
    assert (len(link.taken), room.taken) == (1, 0)


def test_a_key_of_an_exporter_can_send_spans_and_ask_nothing(http, link):
    text, key = new_key("shop", "fernweh", ("telemetry",))
    link.definitions = Definitions.of(*link.definitions.bodies.values(), key)
    assert isinstance(key, ApiKey)
    bearer = {"authorization": f"Bearer {text}"}
    assert sent(http, export({}).SerializeToString(), **bearer).status_code == 200
    asked = {"agent": "support", "text": "hi"}
    refused = http(lambda client: client.post("/v1/requests", json=asked, headers=bearer))
    assert refused.status_code == 403
    assert link.taken[0].tenant == "fernweh"


def logs(*records: dict) -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for fields in records:
        attributes = fields.pop("attributes", {})
        body = fields.pop("body", "")
        record = scope.log_records.add(**({"time_unix_nano": NOW_NS} | fields))
        record.body.string_value = body
        attach(record, attributes)
    return request.SerializeToString()


def test_genai_events_lie_inside_their_span_and_other_logs_are_named(http, link):
    answer = sent(
        http,
        logs(
            {
                "trace_id": TRACE,
                "span_id": SPAN,
                "event_name": "gen_ai.user.message",
                "body": "Where is A-1001?",
            },
            {"event_name": "gen_ai.client.inference.operation.details", "attributes": dict(CHAT)},
            {"event_name": "click"},
        ),
        "/v1/logs",
    )
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_log_records, "only events of GenAI" in partial.error_message) == (
        1,
        True,
    )
    said, call = (told(event) for event in link.taken)
    [question] = said
    assert (question.operation, question.parent, question.trace, question.input) == (
        "event",
        SPAN.hex(),
        TRACE.hex(),
        "Where is A-1001?",
    )
    span, used = call  # nothing else tells of this call: it counts
    assert (span.operation, used.tokens.input_tokens, used.cost_usd) == (
        "chat",
        1_000,
        Decimal("0.00021"),
    )


def told(*events: SpanReceived) -> list:
    local = Local(tuple(step for step in PIPELINE if step.name in ("map_span", "total_usage")))
    return [one for one in local.send(*events) if isinstance(one, SpanEnded | TokensUsed)]


def test_an_export_that_comes_again_is_counted_once_and_in_the_tenants_minute(http, link):
    body = export({"attributes": dict(CHAT)}, {"attributes": dict(CHAT)}).SerializeToString()
    sent(http, body)
    sent(http, body)
    local = Local(tuple(step for step in PIPELINE if step.name in ("map_span", "total_usage")))
    said = local.send(*link.taken)
    assert (len(link.taken), [type(one) for one in said].count(SpanEnded)) == (4, 2)
    [minute] = [
        one
        for one in local.advance(link.taken[-1].at + timedelta(minutes=2))
        if isinstance(one, UsageTotalled)
    ]
    assert (minute.calls, minute.tokens.input_tokens, minute.cost_usd) == (
        2,
        2_000,
        Decimal("0.00042"),
    )


@pytest.fixture
def turns(monkeypatch):
    """How often others had their turn while an export was read."""
    had = []

    async def sleep(seconds):
        had.append(seconds)
        await asyncio.sleep(seconds)

    monkeypatch.setattr(
        routes, "asyncio", SimpleNamespace(to_thread=asyncio.to_thread, sleep=sleep)
    )
    return had


def test_a_large_export_gives_others_their_turn(http, turns):
    assert (
        sent(http, export(*({} for _ in range(5 * routes.AT_ONCE))).SerializeToString()).status_code
        == 200
    )
    assert len(turns) >= 5


def test_an_export_of_nothing_but_rubbish_gives_others_their_turn_too(http, link, turns):
    rubbish = json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": list(range(5 * routes.AT_ONCE))}]}]}
    )
    said = sent(http, rubbish.encode(), **{"content-type": "application/json"}).json()[
        "partialSuccess"
    ]
    assert (said["rejectedSpans"], link.taken, len(turns) >= 5) == (
        str(5 * routes.AT_ONCE),
        [],
        True,
    )
    assert said["errorMessage"].endswith("; and 97 other reasons")
