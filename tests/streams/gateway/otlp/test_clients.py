"""Do OpenTelemetry's own exporter, the gateway and our own exports understand each other?"""

import json

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from processors.tracing.foreign_spans import translated
from schemas.events.tracing import SpanEnded
from schemas.wire.plain_values import plain_of
from sinks.base import Batch
from sinks.otlp.sink import OtlpSink
from streams.config import Settings
from streams.engine.client import request
from streams.engine.in_memory import Local
from streams.engine.monitoring.telemetry import GENAI, Metrics, Outward
from streams.gateway.kafka_link import KafkaUnavailableError
from streams.topology import PIPELINE
from tests.support.otlp_exports import CHAT, served


def test_the_sdks_own_exporter_is_understood(app, link):
    with served(app) as url:
        exporter = OTLPSpanExporter(
            f"{url}/v1/traces", headers={"weir-tenant": "fernweh"}, compression=Compression.Gzip
        )
        provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("acme.llm")
        with tracer.start_as_current_span("checkout") as outer, pytest.raises(KeyError):
            with tracer.start_as_current_span("chat gpt-4o-mini", attributes=CHAT):
                raise KeyError("no such order")
        provider.shutdown()
    chat, checkout = link.taken
    assert (chat.name, chat.parent, chat.trace, chat.status, chat.scope) == (
        "chat gpt-4o-mini",
        checkout.span,
        f"{outer.get_span_context().trace_id:032x}",
        "error",
        "acme.llm",
    )
    assert json.loads(chat.attributes)["gen_ai.usage.input_tokens"] == 1_000
    assert json.loads(chat.events)[0]["attributes"]["exception.type"] == "KeyError"
    assert json.loads(chat.resource)["service.name"] == "shop"
    assert (chat.tenant, chat.repaired, checkout.parent) == ("fernweh", "", None)


def test_an_exporter_told_to_come_again_does(app, link, monkeypatch):
    publish = link.publish
    tries = []

    async def away_at_first(*events):
        tries.append(events)
        if len(tries) == 1:
            raise KafkaUnavailableError("Kafka did not take it: ask again")
        await publish(*events)

    monkeypatch.setattr(link, "publish", away_at_first)
    span = TracerProvider().get_tracer("acme.llm").start_span("twice")
    span.end()
    with served(app) as url:
        exporter = OTLPSpanExporter(
            f"{url}/v1/traces", headers={"weir-tenant": "fernweh"}, timeout=10
        )
        assert exporter.export([span]) == SpanExportResult.SUCCESS
    assert ([event.name for event in link.taken], len(tries)) == (["twice"], 2)


def test_our_own_spans_mean_the_same_when_they_come_back(app, link):
    """A run's spans leave by the sink; the gateway, as their collector, reads them as another
    Weir's.
    """
    http = httpx.Client()
    run = Local(PIPELINE, link.current_definitions, link._local._ports).send(
        request("fernweh", "support", "Where is order A-1001?")
    )
    ours = [event for event in run if isinstance(event, SpanEnded)]
    with served(app) as url, http:
        for latest in (False, True):
            sink = OtlpSink(url, {"weir-tenant": "fernweh"}, latest, content=True, http=http)
            sink.write(
                sink.prepare(Batch(SpanEnded, [], [], [], [plain_of(each) for each in ours])), ""
            )
            theirs = [translated(each, link.current_definitions())[0] for each in link.taken]
            link.taken.clear()
            assert sorted(map(told, theirs)) == sorted(map(told, ours))
            assert len(theirs) > 4 and {each.source for each in theirs} == {"otel"}


def told(span: SpanEnded) -> tuple:
    return (
        span.trace,
        span.span,
        span.parent or "",
        span.name,
        span.operation,
        span.started_at,
        span.at,
        span.agent,
        span.session,
        span.request_model,
        span.response_model,
        span.provider,
        span.tokens.input_tokens,
        span.tokens.output_tokens,
        span.tool,
        span.status,
    )


def test_measurements_arrive_with_the_conventions_names_and_bounds(tmp_path):
    taken = []

    async def collector(scope, receive, send):
        if scope["type"] == "http":
            body = b""
            more = True
            while more:
                message = await receive()
                body = body + message.get("body", b"")
                more = message.get("more_body", False)
            taken.append((scope["path"], dict(scope["headers"]).get(b"x-key"), body))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    with served(collector) as url:
        outward = Outward(
            Settings(home=tmp_path, otlp_endpoint=url, otlp_headers={"x-key": "k"}), "test"
        )
        metrics = Metrics()
        metrics.send_to(outward)
        metrics.measure("gen_ai.client.operation.duration", 1.25, {"gen_ai.operation.name": "chat"})
        metrics.measure("gen_ai.client.token.usage", 812, {"gen_ai.token.type": "input"})
        outward.close()
    [(_, key, body)] = [each for each in taken if each[0] == "/v1/metrics"]
    [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    found = {metric.name: metric for scoped in resource.scope_metrics for metric in scoped.metrics}
    duration, tokens = (found[name] for name in list(GENAI)[:2])
    assert (key, duration.unit, tokens.unit) == (b"k", "s", "{token}")
    assert list(tokens.histogram.data_points[0].explicit_bounds) == [4**n for n in range(14)]
    assert duration.histogram.data_points[0].sum == 1.25
