"""The panels of the workers' Grafana dashboard over Prometheus, with their PromQL.

Every name is one of `streams/engine/monitoring/metric_names.py`; a test holds the expressions to
it. What a run did, took and cost stands in ClickHouse and on the other dashboards: this one is for
who keeps the pipeline going.
"""

from streams.docs.panels import Panel

RATE = "[$__rate_interval]"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{RATE}))"


def _within(share: float, metric: str, by: str) -> str:
    """The time that a share of the calls did not exceed."""
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'{by}, le')})"


WORKERS = (
    Panel(
        "Workers that are not ready",
        "stat",
        "count(weir_ready) - sum(weir_ready)",
        width=6,
        bad_from=1,
    ),
    Panel("Records lost or doubled", "stat", "max(weir_unbalanced_records)", width=6, bad_from=1),
    Panel(
        "Last counted", "stat", "time() - max(weir_counted_timestamp_seconds)", "s", 6, bad_from=300
    ),
    Panel(
        "Oldest record that nobody finished",
        "stat",
        "max(weir_behind_seconds)",
        "s",
        6,
        bad_from=60,
    ),
    Panel(
        "Records taken a second",
        "timeseries",
        _rate("weir_records_taken_total", "consumer"),
        "cps",
        legend="{{consumer}}",
    ),
    Panel(
        "Records not yet finished",
        "timeseries",
        "max by (consumer) (weir_behind_records)",
        legend="{{consumer}}",
    ),
    Panel(
        "Transactions, 99 % within",
        "timeseries",
        _within(0.99, "weir_transaction_seconds", "consumer"),
        "s",
        legend="{{consumer}}",
    ),
    Panel(
        "Inserts, 99 % within",
        "timeseries",
        _within(0.99, "weir_insert_seconds", "table"),
        "s",
        legend="{{table}}",
    ),
    Panel(
        "Calls of models, tools and searches, 95 % within",
        "timeseries",
        _within(0.95, "weir_call_seconds", "port"),
        "s",
        legend="{{port}}",
    ),
    Panel(
        "Calls under way",
        "timeseries",
        "sum by (consumer) (weir_calls_in_flight)",
        legend="{{consumer}}",
    ),
    Panel(
        "Requests to models by outcome",
        "timeseries",
        _rate("weir_model_attempts_total", "model, outcome"),
        "reqps",
        legend="{{model}} {{outcome}}",
    ),
    Panel(
        "Models and tools that are not asked",
        "timeseries",
        "max by (provider, model) (weir_breaker_open)",
        legend="{{provider}} {{model}}",
    ),
    Panel(
        "HTTP requests by status",
        "timeseries",
        _rate("weir_gateway_requests_total", "status"),
        "reqps",
        legend="{{status}}",
    ),
    Panel(
        "HTTP requests, 95 % within",
        "timeseries",
        _within(0.95, "weir_gateway_seconds", "path"),
        "s",
        legend="{{path}}",
    ),
    Panel(
        "Dead letters a second",
        "timeseries",
        _rate("weir_dead_letters_total", "consumer, reason"),
        "cps",
        legend="{{consumer}} {{reason}}",
    ),
    Panel(
        "Restores of state, 99 % within",
        "timeseries",
        _within(0.99, "weir_restore_seconds", "consumer"),
        "s",
        legend="{{consumer}}",
    ),
)
