"""Metrics and spans of the runtime itself, at next to no cost an event.

Workers add up in plain dicts, once a batch: a metric costs an event nothing. `/metrics` draws them
as Prometheus text. Where WEIR_OTLP_ENDPOINT is set the same numbers, and a span a transaction, also
go out through OpenTelemetry; its SDK is imported only then (half a second, which a restarted worker
cannot spare).
"""

import bisect
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streams.config import Settings
from streams.engine.monitoring.metric_names import METRICS, Kind, bounds_of

GENAI = {
    "gen_ai.client.operation.duration": (
        "s",
        "How long an operation took",
        tuple(0.01 * 2**n for n in range(14)),
    ),
    "gen_ai.client.token.usage": (
        "{token}",
        "Tokens of a model's call, by type",
        tuple(4**n for n in range(14)),
    ),
    "gen_ai.client.operation.time_to_first_chunk": (
        "s",
        "How long the first part of a streamed answer took",
        tuple(0.01 * 2**n for n in range(14)),
    ),
}
"""The conventions' own measurements, with the unit and the bounds that they name. Made out of the
spans of runs.
"""
Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


class Metrics:
    """Counters, gauges and histograms of one process. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Series, float] = {}
        self._gauges: dict[Series, float] = {}
        self._buckets: dict[Series, list[float]] = {}
        self._outward: Any = None

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        series = name, tuple(labels.items())
        with self._lock:
            self._counts[series] = self._counts.get(series, 0) + by
        if self._outward:
            self._outward.count(name, by, labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self._gauges[name, tuple(labels.items())] = value
        if self._outward:
            self._outward.gauge(name, value, labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        bounds = bounds_of(name)
        series = name, tuple(labels.items())
        with self._lock:
            buckets = self._buckets.setdefault(series, [0.0] * (len(bounds) + 2))
            buckets[bisect.bisect_left(bounds, value)] += 1
            buckets[-1] += value
        if self._outward:
            self._outward.observe(name, value, labels)

    @contextmanager
    def timed(self, name: str, **labels: str) -> Iterator[None]:
        """Observes how long a block took, in seconds, also where it raises."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, time.perf_counter() - began, **labels)

    def value(self, name: str, **labels: str) -> float:
        """A counter's or gauge's sum over all series that have these labels."""
        wanted = set(labels.items())
        with self._lock:
            series = [*self._counts.items(), *self._gauges.items()]
        return sum(value for (its, has), value in series if its == name and wanted <= set(has))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Any]:
        """What prometheus_client asks of a collector."""
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        with self._lock:
            counts, gauges = dict(self._counts), dict(self._gauges)
            buckets = {series: list(values) for series, values in self._buckets.items()}
        for family, table in ((CounterMetricFamily, counts), (GaugeMetricFamily, gauges)):
            for name in sorted({name for name, _ in table}):
                made = family(name, METRICS[name].about)
                for (its, labels), value in table.items():
                    if its == name:
                        made.add_sample(
                            name + ("_total" if family is CounterMetricFamily else ""),
                            dict(labels),
                            value,
                        )
                yield made
        for name in sorted({name for name, _ in buckets}):
            made = HistogramMetricFamily(name, METRICS[name].about)
            for (its, labels), values in buckets.items():
                if its == name:
                    _add_histogram(made, name, dict(labels), values)
            yield made

    def measure(self, name: str, value: float, labels: dict[str, str]) -> None:
        """What only a collector asks for: the measurements that the GenAI conventions name."""
        if self._outward:
            self._outward.measure(name, value, labels)

    def send_to(self, outward: Any) -> None:
        self._outward = outward


def named(kind: Kind) -> list[str]:
    return [name for name, metric in METRICS.items() if metric.kind == kind]


def _add_histogram(family: Any, name: str, labels: dict[str, str], values: list[float]) -> None:
    total = 0.0
    for bound, count in zip((*bounds_of(name), "+Inf"), values[:-1], strict=True):
        total += count
        family.add_sample(f"{name}_bucket", labels | {"le": str(bound)}, total)
    family.add_sample(f"{name}_count", labels, total)
    family.add_sample(f"{name}_sum", labels, values[-1])


class Outward:
    """The way out through OpenTelemetry."""

    def __init__(self, settings: Settings, service: str):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        base, headers = settings.otlp_endpoint.rstrip("/"), settings.otlp_headers or None
        resource = Resource.create({"service.name": "weir", "service.instance.id": service})
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{base}/v1/metrics", headers=headers), 15_000
        )
        self._meters = MeterProvider([reader], resource)
        self._tracers = TracerProvider(resource=resource)
        self._tracers.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", headers=headers))
        )
        meter = self._meters.get_meter("weir")
        self._counters = {name: meter.create_counter(name) for name in named("counter")}
        self._gauges = {name: meter.create_gauge(name) for name in named("gauge")}
        self._histograms = {
            name: meter.create_histogram(name, explicit_bucket_boundaries_advisory=bounds_of(name))
            for name in named("histogram")
        }
        self._genai = {
            name: meter.create_histogram(
                name, unit, words, explicit_bucket_boundaries_advisory=bounds
            )
            for name, (unit, words, bounds) in GENAI.items()
        }
        self.tracer = self._tracers.get_tracer("weir")

    def count(self, name: str, by: float, labels: dict[str, str]) -> None:
        self._counters[name].add(by, labels)

    def gauge(self, name: str, value: float, labels: dict[str, str]) -> None:
        self._gauges[name].set(value, labels)

    def observe(self, name: str, value: float, labels: dict[str, str]) -> None:
        self._histograms[name].record(value, labels)
        if name.endswith("_seconds"):
            end_ns = time.time_ns()
            span = self.tracer.start_span(
                name.removesuffix("_seconds"),
                attributes=labels,
                start_time=end_ns - int(value * 1e9),
            )
            span.end(end_ns)

    def measure(self, name: str, value: float, labels: dict[str, str]) -> None:
        self._genai[name].record(value, labels)

    def close(self) -> None:
        self._meters.shutdown()
        self._tracers.shutdown()
