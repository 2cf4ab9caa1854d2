"""The OTLP sink: spans, where the settings name a collector."""

from schemas.events.tracing import SpanEnded
from sinks.base import Sink
from sinks.spec import SinkContext, SinkSettings, SinkSpec


def make(context: SinkContext) -> Sink:
    """The sink; its client is imported where it is needed."""
    from sinks.otlp.semconv import is_latest
    from sinks.otlp.sink import OtlpSink

    settings = context.settings
    return OtlpSink(
        settings.otlp_endpoint,
        settings.otlp_headers,
        is_latest(settings.semconv_opt_in),
        settings.otlp_content,
        context.measure,
    )


def enabled(settings: SinkSettings) -> bool:
    """Whether a collector is named."""
    return bool(settings.otlp_endpoint)


SPEC = SinkSpec("otlp", (SpanEnded,), make, enabled)
