"""Does every query of every Grafana dashboard run on the tables as they are, and are the files what
the code says?
"""

import json
import re
from itertools import product

import pytest
import yaml

from streams.docs.dashboards import (
    CLICKHOUSE,
    FOLDER,
    PROMETHEUS,
    dashboard,
    dashboards,
    files,
    plain,
)
from streams.docs.panels import DASHBOARDS, MINE
from streams.docs.panels_workers import WORKERS
from streams.engine.monitoring.metric_names import METRICS
from tests.support.containers import IMAGES

SOURCES = [CLICKHOUSE, PROMETHEUS]
SHOWN = {shown: metric for name, metric in METRICS.items() for shown in metric.shown_as(name)}
PANELS = [(name, panel) for name, panels in DASHBOARDS.items() for panel in panels]


def test_the_files_are_what_the_code_says():
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == {
        path.name: text for path, text in files().items()
    }, "run ./weir describe --dashboards"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "panel"), PANELS, ids=[f"{name}-{panel.title}" for name, panel in PANELS]
)
def test_every_query_runs_and_gives_what_grafana_draws(database, name, panel):
    """The data source makes one series of each string beside the time; it has no picture of arrays,
    maps and states.
    """
    asked = plain(panel.sql)
    database.query(asked)
    columns = {row[0]: bare(row[1]) for row in database.query(f"DESCRIBE ({asked})").result_rows}
    assert "$" not in asked and "FINAL" not in asked and "JOIN" not in asked
    assert all(
        type_.startswith(
            (
                "UInt",
                "Int",
                "Float",
                "Decimal",
                "String",
                "DateTime",
                "Date",
                "Bool",
                "UUID",
                "Enum",
            )
        )
        for type_ in columns.values()
    ), columns
    if panel.kind in ("timeseries", "bars"):
        (first, kind), *others = columns.items()
        labels = {column for column, type_ in others if type_ == "String"}
        assert first == "time" and kind.startswith("DateTime") and len(labels) < len(others)
        assert not panel.legend or labels == {panel.legend}, (
            "the legend says all that a series differs by"
        )
    if panel.kind == "stat":
        assert len(columns) == 1 and not {"String", "UUID"} & {*columns.values()}


def bare(type_):
    return re.sub(
        r"(?:LowCardinality|Nullable)\((.*)\)",
        r"\1",
        re.sub(r"(?:LowCardinality|Nullable)\((.*)\)", r"\1", type_),
    )


def test_all_tenants_is_put_into_a_query_as_grafana_does_it():
    """What stands for all goes into the query as it is, without the quotes that a tenant's name
    gets.
    """
    [variable] = dashboard("cost", DASHBOARDS["cost"])["templating"]["list"]
    panel = next(panel for panel in DASHBOARDS["cost"] if MINE in panel.sql)
    assert variable["current"]["value"] == "$__all"
    assert "('All' = 'All' OR tenant = 'All')" in panel.sql.replace(
        "${tenant:singlequote}", variable["allValue"]
    )
    assert "('All' = 'All' OR" in plain(panel.sql)


@pytest.mark.parametrize("panel", WORKERS, ids=lambda panel: panel.title)
def test_every_expression_speaks_of_numbers_that_there_are(panel):
    names = re.findall(r"weir_\w+", panel.sql)
    assert names and {*names} <= SHOWN.keys()
    labels = {*SHOWN[names[0]].labels, "le"}
    assert {
        label.strip() for by in re.findall(r"by \(([^)]*)\)", panel.sql) for label in by.split(",")
    } <= labels
    assert {*re.findall(r"{{(\w+)}}", panel.legend)} <= labels
    assert all(
        panel.sql.count(opening) == panel.sql.count(closing)
        for opening, closing in ("()", "[]", "{}")
    )
    assert (
        panel.kind == "stat"
        or (panel.legend and "__rate_interval" in panel.sql)
        or SHOWN[names[0]].kind == "gauge"
    )


@pytest.mark.engine
@pytest.mark.parametrize("name", [name for name, _ in DASHBOARDS.items()])
def test_the_variable_runs(database, name):
    for variable in dashboard(name, DASHBOARDS[name])["templating"]["list"]:
        database.query(variable["query"])


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_is_as_grafana_wants_it(name):
    made = dashboard(name, dashboards()[name])
    panels = made["panels"]
    assert made["uid"] == f"weir-{name}" and made["schemaVersion"] >= 39
    assert (
        len({panel["id"] for panel in panels})
        == len(panels)
        == len({panel["title"] for panel in panels})
    )
    for panel in panels:
        assert panel["type"] in ("stat", "table", "timeseries") and panel["datasource"] in SOURCES
        assert [target["datasource"] for target in panel["targets"]] == [panel["datasource"]]
        assert (
            panel["fieldConfig"]["defaults"]["unit"]
            and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        )


def test_the_sources_of_the_dashboards_are_provisioned():
    folder = FOLDER.parent / "provisioning"
    given = yaml.safe_load((folder / "datasources" / "clickhouse.yaml").read_text())["datasources"]
    assert [{"type": one["type"], "uid": one["uid"]} for one in given] == SOURCES


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_no_two_panels_overlap(path):
    cells = []
    for panel in json.loads(path.read_text())["panels"]:
        box = panel["gridPos"]
        columns = range(box["x"], box["x"] + box["w"])
        cells += product(columns, range(box["y"], box["y"] + box["h"]))
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_compose_starts_what_the_tests_of_containers_start():
    compose = yaml.safe_load((FOLDER.parents[1] / "compose.yaml").read_text())
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert {name: images[name] for name in IMAGES} == IMAGES
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (FOLDER.parents[1] / source).exists(), source
