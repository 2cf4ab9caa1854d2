"""The alert rules equal their file, use existing metrics, and burn as objectives say."""

import re

import pytest
import yaml

from streams.docs import alerts
from streams.engine.monitoring.metric_names import METRICS

SHOWN = {shown: metric for name, metric in METRICS.items() for shown in metric.shown_as(name)}
RULES = [rule for group in alerts.rules()["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
NAME = re.compile(r"\bweir[_:][a-z0-9_:]+")
LABEL = re.compile(r"(weir_\w+)\{([^}]*)\}")


def test_the_file_is_what_the_objectives_say():
    assert alerts.FILE.read_text() == alerts.text(), "run `./weir describe --dashboards`"
    assert yaml.safe_load(alerts.FILE.read_text()) == alerts.rules()


@pytest.mark.parametrize(
    "rule",
    RULES,
    ids=lambda rule: rule.get("record") or f"{rule['alert']}-{rule['labels'].get('window', '')}",
)
def test_a_rule_speaks_of_numbers_that_there_are(rule):
    names = set(NAME.findall(rule["expr"]))
    assert names or rule["alert"] == "WeirWorkerGone"
    assert names <= SHOWN.keys() | RECORDED
    for name, selectors in LABEL.findall(rule["expr"]):
        assert {*re.findall(r'(\w+)(?:=~|!~|!=|=)"', selectors)} <= {*SHOWN[name].labels, "le"}, (
            name
        )
    for by in re.findall(r"by \(([^)]*)\) \((weir_\w+)\)", rule["expr"]):
        assert {label.strip() for label in by[0].split(",")} <= {*SHOWN[by[1]].labels}
    for opening, closing in ("()", "[]", "{}"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)
    assert "{w}" not in rule["expr"]


def test_every_alarm_says_what_is_wrong_and_where_to_look():
    for rule in RULES:
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"] and rule["annotations"]["runbook"].startswith(
                "Look at "
            )


def test_budgets_burn_in_two_windows_each_by_the_usual_factors():
    of_gateway = [
        rule for rule in RULES if rule.get("labels", {}).get("objective") == "gateway_answers"
    ]
    assert [rule["expr"].replace("weir:gateway_answers:bad_share_", "") for rule in of_gateway] == [
        "1h > 0.0144 and 5m > 0.0144",
        "6h > 0.006 and 30m > 0.006",
        "1d > 0.003 and 2h > 0.003",
        "3d > 0.001 and 6h > 0.001",
    ]
    assert len({rule["alert"] for rule in RULES if "alert" in rule}) == len(
        alerts.OBJECTIVES
    ) + len(alerts.ALARMS)


def test_prometheus_is_told_to_load_them():
    folder = alerts.FILE.parent
    assert yaml.safe_load((folder / "prometheus.yaml").read_text())["rule_files"] == [
        alerts.FILE.name
    ]
    mounted = yaml.safe_load((folder.parent / "compose.yaml").read_text())["services"][
        "prometheus"
    ]["volumes"]
    assert f"./grafana/{alerts.FILE.name}:/etc/prometheus/{alerts.FILE.name}:ro" in mounted
