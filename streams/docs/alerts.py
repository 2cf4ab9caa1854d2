"""Service level objectives and alerts as Prometheus rules.

An objective is a share of good of all, over thirty days. How fast its budget of bad is spent is
looked at over a long and a short window at once, so that an alarm neither comes late nor stays when
it is over. `./weir describe --dashboards` writes `infra/grafana/alerts.yaml`; a test holds the file
to this, and every name in it to the list of metrics.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[2] / "infra" / "grafana" / "alerts.yaml"
HEAD = (
    "# Made by `./weir describe --dashboards`, loaded by prometheus.yaml beside it. Where alarms "
    "go is Alertmanager's;\n"
    "# `severity` is `page` (now) or `ticket` (today).\n"
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BURNS = (
    ("1h", "5m", 14.4, "page"),
    ("6h", "30m", 6.0, "page"),
    ("1d", "2h", 3.0, "ticket"),
    ("3d", "6h", 1.0, "ticket"),
)
"""Long window, short window, how many times faster than it may the budget is spent, and whom that
concerns. At 14.4 a month's budget lasts two days, at 1 the month.
"""


@dataclass(frozen=True)
class Objective:
    """A share of good, in percent, of counted events: what is bad and what is all, over a window
    `{w}`.
    """

    name: str
    percent: float
    bad: str
    all: str
    what: str
    look: str


@dataclass(frozen=True)
class Alarm:
    """What is not to be at all, and for how long it may be before it is told."""

    name: str
    expr: str
    lasting: str
    severity: str
    summary: str
    look: str


def _rate(metric: str, labels: str = "") -> str:
    return f"sum(rate({metric}{labels}[{{w}}]))"


SOON = '{le="0.25"}'
NEW = "(sum by (consumer, reason) ({0}) unless sum by (consumer, reason) ({0} offset 10m))"
"""A counter that was not there ten minutes ago: its first count is no increase to Prometheus."""
OBJECTIVES = (
    Objective(
        "gateway_answers",
        99.9,
        _rate("weir_gateway_requests_total", '{status=~"5.."}'),
        _rate("weir_gateway_requests_total"),
        "HTTP requests that the gateway answers without an error of its own",
        "`./weir status`, and the log of gateway-0: 503 says that Kafka or the place for more is "
        "missing",
    ),
    Objective(
        "gateway_accepts_soon",
        99,
        f"({_rate('weir_gateway_accept_seconds_count')} - "
        f"{_rate('weir_gateway_accept_seconds_bucket', SOON)})",
        _rate("weir_gateway_accept_seconds_count"),
        "requests over HTTP that all replicas of Kafka have within 250 ms",
        "`./weir balance` for who is behind; the broker's disk",
    ),
    Objective(
        "runs_end_well",
        99,
        _rate("weir_runs_ended_total", '{outcome=~"failed|stopped"}'),
        _rate("weir_runs_ended_total", '{outcome!="refused"}'),
        "admitted runs that neither fail nor are stopped",
        "`./weir query --named failed_clusters`, `models_health`, `tool_errors`",
    ),
    Objective(
        "models_answer",
        99,
        _rate("weir_model_attempts_total", '{outcome!~"answered|late|cancelled|check_failed"}'),
        _rate("weir_model_attempts_total"),
        "requests to models that are answered",
        "`./weir query --named models_health` and `retries_and_fallbacks`; weir_breaker_open "
        "says who is skipped",
    ),
)
ALARMS = (
    Alarm(
        "WeirNotBalanced",
        "sum by (what) (weir_unbalanced_records) > 0",
        "0m",
        "page",
        "{{ $value }} records are {{ $labels.what }}: produced is not landed + dead-lettered",
        "`./weir balance` for topic, partition and minute, and land it again with `--repair`",
    ),
    Alarm(
        "WeirTopicMadeAnew",
        "sum by (topic) (increase(weir_topics_made_anew_total[1h])) > 0",
        "0m",
        "ticket",
        "{{ $labels.topic }} was deleted and made anew: what had not landed of the one before is "
        "gone",
        "the log of the sink worker for both ids; `./weir balance` counts the new topic alone",
    ),
    Alarm(
        "WeirNotCounted",
        "time() - max(weir_counted_timestamp_seconds) > 300",
        "1m",
        "ticket",
        "nothing was counted for {{ $value | humanizeDuration }}: whether it balances is not known",
        "the log of balancing-0; ClickHouse may be away",
    ),
    Alarm(
        "WeirBehind",
        "max by (consumer) (weir_behind_seconds) > 60",
        "5m",
        "page",
        "{{ $labels.consumer }} has not finished a record of {{ $value | humanizeDuration }} ago",
        "`./weir query --named delays`; the log of {{ $labels.consumer }}",
    ),
    Alarm(
        "WeirWorkerGone",
        'up{job="weir"} == 0',
        "1m",
        "page",
        "the worker at {{ $labels.instance }} does not answer",
        "`./weir status`",
    ),
    Alarm(
        "WeirWorkerNotReady",
        "min by (worker) (weir_ready) == 0",
        "2m",
        "page",
        "{{ $labels.worker }} runs and does not do its work",
        "its log in .weir/log",
    ),
    Alarm(
        "WeirDeadLetters",
        f"{NEW.format('weir_dead_letters_total')} or "
        "(sum by (consumer, reason) (increase(weir_dead_letters_total[10m])) > 0)",
        "0m",
        "ticket",
        "{{ $value | humanize }} records could not be taken by {{ $labels.consumer }}: {{ "
        "$labels.reason }}",
        "`./weir dlq list`, then `./weir dlq replay`",
    ),
    Alarm(
        "WeirModelSkipped",
        "max by (provider, model) (weir_breaker_open) == 1",
        "5m",
        "ticket",
        "{{ $labels.model }} of {{ $labels.provider }} fails and is not asked",
        "`./weir query --named models_health`",
    ),
    Alarm(
        "WeirTransactionsAborted",
        'sum by (consumer) (rate(weir_transactions_total{outcome="aborted"}[10m])) > 0.1',
        "10m",
        "ticket",
        "{{ $labels.consumer }} begins its transactions anew, again and again",
        "its log in .weir/log; the broker's",
    ),
)


def rules() -> dict[str, Any]:
    """All of it, as Prometheus' rule file has it."""
    return {
        "groups": [
            {
                "name": "weir-objectives",
                "rules": [rule for one in OBJECTIVES for rule in _recorded(one)],
            },
            {
                "name": "weir-budgets",
                "rules": [rule for one in OBJECTIVES for rule in _burning(one)],
            },
            {
                "name": "weir-alarms",
                "rules": [
                    {
                        "alert": one.name,
                        "expr": one.expr,
                        "for": one.lasting,
                        "labels": {"severity": one.severity},
                        "annotations": {"summary": one.summary, "runbook": f"Look at {one.look}."},
                    }
                    for one in ALARMS
                ],
            },
        ]
    }


def _recorded(one: Objective) -> list[dict[str, Any]]:
    """The share of bad in each window; none where nothing was counted at all."""
    return [
        {
            "record": share_of(one, window),
            "expr": f"({one.bad} or vector(0)) / ({one.all} > 0)".replace("{w}", window),
        }
        for window in WINDOWS
    ]


def _burning(one: Objective) -> list[dict[str, Any]]:
    said = []
    for long, short, factor, severity in BURNS:
        most = f"{factor * (100 - one.percent) / 100:g}"
        said.append(
            {
                "alert": "Weir" + one.name.title().replace("_", "") + "Budget",
                "expr": f"{share_of(one, long)} > {most} and {share_of(one, short)} > {most}",
                "labels": {"severity": severity, "objective": one.name, "window": long},
                "annotations": {
                    "summary": f"{{{{ $value | humanizePercentage }}}} bad over {long}, where "
                    f"{100 - one.percent:g} % may be: "
                    f"the objective is {one.percent:g} % of {one.what}, and its budget is spent "
                    f"{factor:g} times too fast",
                    "runbook": f"Look at {one.look}.",
                },
            }
        )
    return said


def share_of(one: Objective, window: str) -> str:
    """The name under which the share of bad is recorded."""
    return f"weir:{one.name}:bad_share_{window}"


def text() -> str:
    """The file."""
    return HEAD + yaml.safe_dump(rules(), sort_keys=False, width=120, allow_unicode=True)


def write() -> list[Path]:
    """Writes the file where it differs, and says so."""
    if FILE.exists() and FILE.read_text() == text():
        return []
    FILE.write_text(text())
    return [FILE]
