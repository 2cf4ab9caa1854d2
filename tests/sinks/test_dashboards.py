"""Does every query of every Grafana dashboard run on the tables as they are, and are the files what the code says?"""

import json

import pytest
import yaml

from streams.describing.dashboards import FOLDER, dashboard, files, plain
from streams.describing.panels import DASHBOARDS
from tests.contracts.containers import IMAGES

PANELS = [(name, panel) for name, panels in DASHBOARDS.items() for panel in panels]


def test_the_files_are_what_the_code_says():
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == {
        path.name: text for path, text in files().items()}, "run ./weir describe --dashboards"


@pytest.mark.engine
@pytest.mark.parametrize(("name", "panel"), PANELS, ids=[f"{name}-{panel.title}" for name, panel in PANELS])
def test_every_query_runs(database, name, panel):
    database.query(plain(panel.sql))
    columns = database.query(f"DESCRIBE ({plain(panel.sql)})").result_rows
    assert panel.kind != "timeseries" or columns[0][0] == "time", "Grafana draws what comes by time"
    assert "FINAL" not in panel.sql and "JOIN" not in panel.sql


@pytest.mark.engine
@pytest.mark.parametrize("name", [name for name, _ in DASHBOARDS.items()])
def test_the_variable_runs(database, name):
    for variable in dashboard(name, DASHBOARDS[name])["templating"]["list"]:
        database.query(variable["query"])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_no_two_panels_overlap(path):
    cells = [(x, y) for panel in json.loads(path.read_text())["panels"] for box in [panel["gridPos"]]
             for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_compose_starts_what_the_tests_of_containers_start():
    compose = yaml.safe_load((FOLDER.parents[1] / "compose.yaml").read_text())
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert {name: images[name] for name in IMAGES} == IMAGES
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (FOLDER.parents[1] / source).exists(), source
