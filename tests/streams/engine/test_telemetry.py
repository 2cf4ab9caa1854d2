"""Does what leaves for a collector leave as it is set, and nothing where nothing is set?"""

import pytest

from sinks.otlp.sink import OtlpSink
from streams.app import workers
from streams.config import Settings
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.sinks.worker import sink_of


@pytest.mark.parametrize(
    ("environment", "latest"),
    [
        ({}, False),
        ({"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}, True),
        (
            {
                "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
                "WEIR_SEMCONV_OPT_IN": "http",
            },
            False,
        ),
    ],
)
def test_the_opt_in_of_opentelemetry_is_honoured_and_reaches_the_workers(
    environment, latest, monkeypatch, tmp_path
):
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    given = Settings(
        home=tmp_path, otlp_endpoint="http://collector:4318", otlp_headers={"x-key": "k"}
    )
    sink = sink_of(given, "otlp")
    assert isinstance(sink, OtlpSink) and sink._latest == latest
    assert (sink._url, sink._headers["x-key"], sink._content) == (
        "http://collector:4318/v1/traces",
        "k",
        False,
    )
    assert given.environment()["WEIR_SEMCONV_OPT_IN"] == given.semconv_opt_in


@pytest.mark.parametrize(("endpoint", "runs"), [("", False), ("http://collector:4318", True)])
def test_the_worker_that_sends_spans_runs_where_they_have_somewhere_to_go(endpoint, runs, tmp_path):
    names = {service.name for service in workers(Settings(home=tmp_path, otlp_endpoint=endpoint))}
    assert ("sink-otlp-0" in names) == runs and "stage-trace-0" in names


def test_without_a_collector_a_measurement_goes_nowhere():
    Metrics().measure("gen_ai.client.operation.duration", 1.0, {})
