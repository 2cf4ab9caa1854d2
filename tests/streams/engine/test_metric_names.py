"""Is every number that the code shows on the list, with its labels, and every one on the list
shown?
"""

import ast
from pathlib import Path

import pytest

from streams.docs.readme import metrics_table
from streams.engine.monitoring.metric_names import METRICS
from streams.engine.monitoring.telemetry import Metrics

ROOT = Path(__file__).parents[3]
VERBS = {"count": "counter", "gauge": "gauge", "observe": "histogram", "timed": "histogram"}


def told() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Every call that shows a number: its name, its kind, its labels, where it stands."""
    found = []
    for path in [*ROOT.glob("streams/**/*.py"), *ROOT.glob("sinks/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in VERBS
                and node.args
            ):
                name = node.args[0]
                if isinstance(name, ast.Constant) and str(name.value).startswith("weir_"):
                    labels = tuple(
                        sorted(word.arg for word in node.keywords if word.arg not in (None, "by"))
                    )
                    found.append(
                        (
                            name.value,
                            VERBS[node.func.attr],
                            labels,
                            f"{path.relative_to(ROOT)}:{node.lineno}",
                        )
                    )
    return found


def test_the_list_and_the_code_are_one():
    said = told()
    assert {name for name, *_ in said} == METRICS.keys()
    for name, kind, labels, where in said:
        assert (kind, labels) == (METRICS[name].kind, tuple(sorted(METRICS[name].labels))), where


def test_names_follow_the_rules_of_prometheus():
    for name, metric in METRICS.items():
        assert name.islower() and not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert metric.kind != "histogram" or name.endswith(("_seconds", "_records")), name


def test_the_page_says_what_a_number_means():
    metrics = Metrics()
    metrics.count("weir_runs_ended", 3, outcome="completed")
    metrics.observe("weir_gateway_accept_seconds", 0.2)
    text = metrics.text().decode()
    assert "# HELP weir_runs_ended_total Runs that ended: completed" in text
    assert 'weir_runs_ended_total{outcome="completed"} 3.0' in text
    assert 'weir_gateway_accept_seconds_bucket{le="0.25"} 1.0' in text


@pytest.mark.parametrize("name", METRICS)
def test_every_name_is_in_the_documented_list(name):
    assert all(f"`{shown}`" in metrics_table() for shown in METRICS[name].shown_as(name))
