"""Traces: spans of Weir's own runs, and spans of others in the same form."""

from processors.tracing import foreign_spans, spans
from schemas.events.tracing import TraceRested
from streams.engine.shapes import Fold, Step

STEPS = (
    Step("trace", Fold(spans.Open, spans.trace)),
    Step("map_span", Fold(foreign_spans.Seen, foreign_spans.map_span, wakes=TraceRested)),
)
