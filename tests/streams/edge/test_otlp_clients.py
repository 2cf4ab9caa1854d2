"""Is the edge understood by OpenTelemetry's own exporter, also when it is told to come again?"""

import json

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from streams.edge.link import Away
from tests.streams.edge.exports import CHAT, served


def test_the_sdks_own_exporter_is_understood(app, link):
    with served(app) as url:
        exporter = OTLPSpanExporter(f"{url}/v1/traces", headers={"weir-tenant": "fernweh"},
                                    compression=Compression.Gzip)
        provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("acme.llm")
        with tracer.start_as_current_span("checkout") as outer, pytest.raises(KeyError):
            with tracer.start_as_current_span("chat gpt-4o-mini", attributes=CHAT):
                raise KeyError("no such order")
        provider.shutdown()
    chat, checkout = link.taken
    assert (chat.name, chat.parent, chat.trace, chat.status, chat.scope) == (
        "chat gpt-4o-mini", checkout.span, f"{outer.get_span_context().trace_id:032x}", "error", "acme.llm")
    assert json.loads(chat.attributes)["gen_ai.usage.input_tokens"] == 1_000
    assert json.loads(chat.events)[0]["attributes"]["exception.type"] == "KeyError"
    assert json.loads(chat.resource)["service.name"] == "shop"
    assert (chat.tenant, chat.repaired, checkout.parent) == ("fernweh", "", None)


def test_an_exporter_told_to_come_again_does(app, link, monkeypatch):
    publish, tries = link.publish, []

    async def away_at_first(*events):
        tries.append(events)
        if len(tries) == 1:
            raise Away("Kafka did not take it: ask again")
        await publish(*events)

    monkeypatch.setattr(link, "publish", away_at_first)
    span = TracerProvider().get_tracer("acme.llm").start_span("twice")
    span.end()
    with served(app) as url:
        exporter = OTLPSpanExporter(f"{url}/v1/traces", headers={"weir-tenant": "fernweh"}, timeout=10)
        assert exporter.export([span]) == SpanExportResult.SUCCESS
    assert ([event.name for event in link.taken], len(tries)) == (["twice"], 2)
