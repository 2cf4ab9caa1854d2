"""Do our spans leave as the GenAI conventions have them, in either generation, and what does a
collector's answer do?
"""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from schemas.events.tracing import OURS, SpanEnded
from schemas.wire.codec import from_json
from schemas.wire.plain_values import plain_of
from sinks.base import Batch
from sinks.otlp.semconv import is_latest
from sinks.otlp.sink import OtlpSink
from streams.engine.monitoring.telemetry import GENAI

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"
FULL = from_json(SpanEnded, (EXAMPLES / "SpanEnded" / "full.json").read_text()).model_copy(
    update={"source": OURS}
)
FINE = FULL.model_copy(update={"status": "ok", "error_type": "", "attempts": 1})


class Collector:
    """Answers with the statuses given, one after the other, and keeps what it took."""

    def __init__(self, *statuses: int, answer: bytes = b""):
        self.statuses = list(statuses)
        self.answer = answer
        self.sizes = []
        self.spans = []
        self.headers = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        sent = ExportTraceServiceRequest.FromString(gzip.decompress(request.content))
        scopes = [scoped for each in sent.resource_spans for scoped in each.scope_spans]
        spans = [span for scoped in scopes for span in scoped.spans]
        status = self.statuses.pop(0) if self.statuses else 200
        self.headers = request.headers
        self.sizes.append(len(spans))
        self.spans += spans if status == 200 else []
        return httpx.Response(
            status, content=self.answer, headers={"content-type": "application/x-protobuf"}
        )


def batch_of(*events: SpanEnded) -> Batch:
    return Batch(
        SpanEnded,
        [0] * len(events),
        list(range(len(events))),
        [0] * len(events),
        [plain_of(event) for event in events],
    )


def sent(collector: Collector, *events: SpanEnded, **how: Any) -> list[tuple[str, float, dict]]:
    """Writes the events; what was measured on the way."""
    measured: list[tuple[str, float, dict]] = []
    sink = OtlpSink(
        "http://collector:4318/",
        {"x-key": "k"},
        measure=lambda *each: measured.append(each),
        http=httpx.Client(transport=httpx.MockTransport(collector)),
        **how,
    )
    sink.write(sink.prepare(batch_of(*events)), "token")
    return measured


def attributes_of(item: Any) -> dict[str, Any]:
    return {
        pair.key: [each.string_value for each in pair.value.array_value.values]
        if pair.value.HasField("array_value")
        else getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in item.attributes
    }


@pytest.mark.parametrize(
    ("latest", "names"),
    [
        (
            True,
            {
                "gen_ai.provider.name": "openai",
                "gen_ai.usage.cache_read.input_tokens": 640,
                "gen_ai.usage.reasoning.output_tokens": 12,
                "gen_ai.agent.version": "3",
                "gen_ai.response.time_to_first_chunk": "0.31",
            },
        ),
        (
            False,
            {"gen_ai.system": "openai", "weir.agent.version": "3", "weir.first_token_s": "0.31"},
        ),
    ],
)
def test_a_call_of_a_model_in_either_generation(latest, names):
    collector = Collector()
    sent(collector, FINE.model_copy(update={"tool": ""}), latest=latest)
    [span] = collector.spans
    assert attributes_of(span) == names | {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.usage.output_tokens": 46,
        "gen_ai.response.finish_reasons": ["tool_calls"],
        "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": "chat-8841",
        "user.id": "u-204",
        "weir.run": str(FULL.run),
        "weir.tenant": "acme",
        "weir.step": 2,
        "weir.cost_usd": "0.0001456",
    }
    assert (
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
    ) == ("chat small", Span.SPAN_KIND_CLIENT, FULL.trace, FULL.span, FULL.parent)
    assert (span.end_time_unix_nano - span.start_time_unix_nano, span.status.code) == (
        1_250_000_000,
        0,
    )
    assert collector.headers["x-key"] == "k" and not span.events  # no texts unless asked for


@pytest.mark.parametrize(
    ("opt_in", "latest"),
    [
        ("", False),
        ("http", False),
        ("gen_ai_latest_experimental", True),
        ("http/dup, gen_ai_latest_experimental", True),
    ],
)
def test_the_opt_in_is_a_list(opt_in, latest):
    assert is_latest(opt_in) == latest


def test_an_error_has_a_type_and_a_tool_a_name():
    collector = Collector()
    measured = sent(
        collector,
        FULL.model_copy(update={"operation": "execute_tool", "name": "execute_tool lookup_order"}),
    )
    [span] = collector.spans
    assert (span.status.code, attributes_of(span)["error.type"]) == (2, "timeout")
    assert (attributes_of(span)["gen_ai.tool.name"], span.kind) == (
        "lookup_order",
        Span.SPAN_KIND_INTERNAL,
    )
    assert [name for name, _, _ in measured] == ["gen_ai.client.operation.duration"]


def test_what_genai_has_no_name_for_is_called_ours():
    collector = Collector()
    assert sent(collector, FINE.model_copy(update={"operation": "guardrail"})) == []
    assert "gen_ai.operation.name" not in (found := attributes_of(collector.spans[0]))
    assert found["weir.operation"] == "guardrail"


def test_what_was_said_leaves_only_where_it_is_asked_for():
    new = Collector()
    old = Collector()
    sent(new, FINE, latest=True, content=True)
    sent(old, FINE, content=True)
    said = json.loads(attributes_of(new.spans[0])["gen_ai.output.messages"])
    assert said == [{"role": "assistant", "parts": [{"type": "text", "content": FULL.output}]}]
    user, choice = old.spans[0].events
    assert (user.name, attributes_of(user)) == ("gen_ai.user.message", {"content": FULL.input})
    assert json.loads(attributes_of(choice)["message"])["content"] == FULL.output


def test_a_call_is_measured_as_the_conventions_name_it():
    of = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
    }
    assert sent(Collector(), FINE) == [
        ("gen_ai.client.operation.duration", 1.25, of),
        ("gen_ai.client.token.usage", 812, of | {"gen_ai.token.type": "input"}),
        ("gen_ai.client.token.usage", 46, of | {"gen_ai.token.type": "output"}),
    ]


def test_the_first_part_of_a_streamed_answer_is_measured_where_the_newest_names_are_asked_for():
    streamed = FINE.model_copy(update={"first_token_ms": 312})
    name = "gen_ai.client.operation.time_to_first_chunk"
    assert [
        value for named, value, _ in sent(Collector(), streamed, latest=True) if named == name
    ] == [0.312]
    assert name not in {named for named, _, _ in sent(Collector(), streamed)}
    whole = FINE.model_copy(update={"first_token_ms": None})
    assert name not in {named for named, _, _ in sent(Collector(), whole, latest=True)}


@pytest.mark.parametrize("latest", [True, False])
def test_every_name_is_one_of_the_conventions(latest):
    values = [*vars(gen_ai_attributes).values(), *vars(gen_ai_metrics).values()]
    known = {name for name in values if isinstance(name, str)}
    collector = Collector()
    full = FULL.model_copy(update={"operation": "chat", "first_token_ms": 5})
    measured = sent(
        collector,
        full,
        full.model_copy(update={"operation": "execute_tool"}),
        latest=latest,
        content=True,
    )
    used = {name for span in collector.spans for name in attributes_of(span)} | {
        name for name, _, _ in measured
    }
    assert {name for name in used if name.startswith("gen_ai.")} <= known
    assert {name for _, _, of in measured for name in of} <= known | {"error.type"}
    assert {name for name, _, _ in measured} <= set(GENAI)


def test_spans_of_others_do_not_leave_again():
    collector = Collector()
    assert (
        sent(collector, FINE.model_copy(update={"source": "otel"})) == [] and collector.sizes == []
    )


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_what_may_pass_later_comes_again_and_is_not_measured_before(status):
    measured: list = []
    sink = OtlpSink(
        "http://c",
        measure=lambda *each: measured.append(each),
        http=httpx.Client(transport=httpx.MockTransport(collector := Collector(status))),
    )
    prepared = sink.prepare(batch_of(FINE))
    with pytest.raises(ConnectionError, match=f"answered {status}"):
        sink.write(prepared, "token")
    assert measured == []
    sink.write(prepared, "token")
    assert (len(collector.spans), len(measured)) == (1, 3)


def test_what_is_refused_for_good_is_said_and_left(caplog):
    sent(Collector(400), FINE)
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="no such service")
    sent(
        Collector(answer=ExportTraceServiceResponse(partial_success=partial).SerializeToString()),
        FINE,
    )
    assert (
        "refused 1 spans for good (400)" in caplog.text
        and "refused 1 of 1 spans: no such service" in caplog.text
    )


def test_what_is_too_large_is_sent_in_halves():
    collector = Collector(413, 413)
    sent(collector, *[FINE] * 5)
    assert collector.sizes == [5, 2, 1, 1, 3] and len(collector.spans) == 5
