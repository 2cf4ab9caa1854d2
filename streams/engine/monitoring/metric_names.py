"""The metrics on /metrics: names, labels and meanings.

The one list of them: the runtime takes no other name, `./weir describe --metrics` prints it, the
alert rules are held to it. A counter's name ends in `_total` on the page, a histogram's in
`_bucket`, `_count` and `_sum`, as Prometheus has it.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BATCH_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


@dataclass(frozen=True)
class Metric:
    """A number: what it is, what it counts, and the labels that every one of its series has."""

    kind: Kind
    about: str
    labels: tuple[str, ...] = ()

    def shown_as(self, name: str) -> tuple[str, ...]:
        """Its names on the page."""
        ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
        return tuple(name + end for end in ends[self.kind])


METRICS: dict[str, Metric] = {
    "weir_runs_ended": Metric(
        "counter",
        "Runs that ended: completed, failed, blocked, stopped, cancelled, or refused",
        ("outcome",),
    ),
    "weir_records_taken": Metric("counter", "Records read and processed", ("consumer", "topic")),
    "weir_events_made": Metric("counter", "Events written", ("consumer", "event")),
    "weir_dead_letters": Metric(
        "counter", "Records that could not be taken", ("consumer", "reason")
    ),
    "weir_transactions": Metric(
        "counter", "Transactions: committed or aborted", ("consumer", "outcome")
    ),
    "weir_timers_fired": Metric("counter", "Wake events made", ("consumer",)),
    "weir_records_skipped": Metric(
        "counter", "Records that a state had seen already", ("consumer",)
    ),
    "weir_state_records_written": Metric("counter", "Changelog records written", ("consumer",)),
    "weir_state_records_restored": Metric(
        "counter", "Changelog records read at an assignment", ("consumer",)
    ),
    "weir_calls": Metric(
        "counter",
        "Questions to the world outside, by what became of them",
        ("consumer", "port", "outcome"),
    ),
    "weir_rows_landed": Metric(
        "counter", "Rows written to a sink, by event", ("consumer", "table")
    ),
    "weir_otlp_items": Metric(
        "counter",
        "Spans and events of other applications: taken or rejected",
        ("signal", "outcome"),
    ),
    "weir_chunks": Metric(
        "counter", "Parts of models' answers told to readers: sent or lost", ("outcome",)
    ),
    "weir_model_attempts": Metric(
        "counter", "Requests to models: answered, timeout, http_500, ...", ("model", "outcome")
    ),
    "weir_cache_lookups": Metric(
        "counter", "Looks into the response cache: hit or miss", ("outcome",)
    ),
    "weir_gateway_requests": Metric("counter", "HTTP requests to the gateway", ("path", "status")),
    "weir_partitions_owned": Metric("gauge", "Partitions in this worker's hands", ("consumer",)),
    "weir_lag_records": Metric("gauge", "Records not yet taken", ("consumer", "topic")),
    "weir_late_events": Metric(
        "gauge",
        "Events that came after their window was over, in the states held here",
        ("consumer", "step"),
    ),
    "weir_calls_in_flight": Metric(
        "gauge", "Questions to the world outside under way", ("consumer",)
    ),
    "weir_definitions": Metric("gauge", "Versions of definitions that the worker has read"),
    "weir_unbalanced_records": Metric(
        "gauge", "Records lost or doubled in the last two hours; always 0", ("what",)
    ),
    "weir_topics_made_anew": Metric(
        "counter",
        "Topics that were deleted and made anew, as who reads them found out",
        ("consumer", "topic"),
    ),
    "weir_counted_timestamp_seconds": Metric(
        "gauge", "When what was produced was last counted against what landed, in Unix time"
    ),
    "weir_behind_seconds": Metric(
        "gauge", "Age of the oldest record that a consumer has not finished", ("consumer",)
    ),
    "weir_behind_records": Metric(
        "gauge", "Records that a consumer has not finished, at most", ("consumer",)
    ),
    "weir_ready": Metric("gauge", "1 where the worker does its work, else 0", ("worker",)),
    "weir_breaker_open": Metric(
        "gauge",
        "1 where a model or tool is not asked, 0.5 while it is probed",
        ("provider", "model"),
    ),
    "weir_gateway_in_flight": Metric("gauge", "HTTP requests under way"),
    "weir_transaction_seconds": Metric(
        "histogram", "From the begin of a transaction until it is committed", ("consumer",)
    ),
    "weir_batch_records": Metric("histogram", "Records in one transaction", ("consumer",)),
    "weir_restore_seconds": Metric(
        "histogram", "Until the state of all partitions assigned at once is there", ("consumer",)
    ),
    "weir_call_seconds": Metric(
        "histogram", "How long questions to the world outside take", ("consumer", "port")
    ),
    "weir_insert_seconds": Metric(
        "histogram", "How long writing to a sink takes", ("consumer", "table")
    ),
    "weir_gateway_accept_seconds": Metric(
        "histogram", "Until all replicas of Kafka have what an HTTP request brought"
    ),
    "weir_gateway_seconds": Metric(
        "histogram", "From an HTTP request to the head of its answer", ("path",)
    ),
}


def bounds_of(name: str) -> tuple[float, ...]:
    return BATCH_BOUNDS if name == "weir_batch_records" else BOUNDS


def table() -> list[dict[str, str]]:
    """The list, as rows for people."""
    return [
        {
            "name on /metrics": " ".join(f"`{shown}`" for shown in metric.shown_as(name)),
            "kind": metric.kind,
            "labels": ", ".join(metric.labels),
            "what it says": metric.about,
        }
        for name, metric in METRICS.items()
    ]
