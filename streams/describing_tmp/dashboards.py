"""How do the dashboards become files that Grafana provisions? `./weir describe --dashboards` writes them.

A test holds `infra/grafana/dashboards` to this, and runs every query on a real ClickHouse.
"""

import json
import re
from pathlib import Path
from typing import Any

from streams.panels import DASHBOARDS, MINE, Panel

FOLDER = Path(__file__).parents[1] / "infra" / "grafana" / "dashboards"
SOURCE = {"type": "grafana-clickhouse-datasource", "uid": "weir-clickhouse"}
HEIGHT, COLUMNS, SCHEMA_VERSION = 8, 24, 41
SERIES, TABLE = 0, 1
"""How the data source is to read a result: as series by time, or as a table."""
MACROS = ((re.compile(r"\$__timeFilter\((\w+)\)"), r"\1 >= now() - INTERVAL 30 DAY"),
          (re.compile(r"\$__timeInterval\((\w+)\)"), r"toStartOfInterval(toDateTime(\1), INTERVAL 3600 SECOND)"),
          (re.compile(r"\$\{tenant:singlequote\}"), "'All'"))


def plain(sql: str) -> str:
    """The SQL as Grafana would send it for the last thirty days and all tenants, by the hour."""
    for macro, stands_for in MACROS:
        sql = macro.sub(stands_for, sql)
    return sql


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """A dashboard as Grafana's JSON."""
    return {
        "uid": f"weir-{name}", "title": f"Weir: {name}", "tags": ["weir"], "schemaVersion": SCHEMA_VERSION, "editable": True,
        "time": {"from": "now-24h", "to": "now"}, "refresh": "30s", "timezone": "utc",
        "links": [{"type": "dashboards", "tags": ["weir"], "title": "Weir", "asDropdown": False, "includeVars": True,
                   "keepTime": True}],
        "templating": {"list": [_tenants()] if any(MINE in panel.sql for panel in panels) else []},
        "panels": [_panel(nth, panel, *place) for nth, (panel, place) in enumerate(zip(panels, _places(panels), strict=True), 1)],
    }


def _tenants() -> dict[str, Any]:
    sql = "SELECT DISTINCT tenant FROM runs_by_hour ORDER BY tenant"
    return {"name": "tenant", "label": "Tenant", "type": "query", "datasource": SOURCE, "query": sql, "includeAll": True,
            "allValue": "All", "multi": False, "refresh": 2, "current": {"text": "All", "value": "All"}}


def _places(panels: tuple[Panel, ...]) -> list[tuple[int, int]]:
    """Column and row of each panel, from left to right and down."""
    places, x, y = [], 0, 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        places.append((x, y))
        x += panel.width
    return places


def _panel(nth: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    shape = SERIES if panel.kind == "timeseries" else TABLE
    options = {"stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value"},
               "timeseries": {"legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
                              "tooltip": {"mode": "multi", "sort": "desc"}}}
    return {
        "id": nth, "title": panel.title, "type": panel.kind, "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []}, "options": options.get(panel.kind, {}),
        "targets": [{"refId": "A", "datasource": SOURCE, "editorType": "sql", "format": shape, "queryType":
                     "timeseries" if shape == SERIES else "table", "rawSql": panel.sql}]}


def files() -> dict[Path, str]:
    """Every dashboard's file and what is in it."""
    return {FOLDER / f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n"
            for name, panels in DASHBOARDS.items()}


def write() -> list[Path]:
    """Writes what differs, and says which."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    changed = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.write_text(files()[path])
    return changed
