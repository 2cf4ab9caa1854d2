"""Grafana dashboards as files; `./weir describe --dashboards` writes them.

A test holds `infra/grafana/dashboards` to this, and runs every query on a real ClickHouse.
"""

import json
import re
from pathlib import Path
from typing import Any

from streams.docs.panels import DASHBOARDS, MINE, Panel
from streams.docs.panels_workers import WORKERS

FOLDER = Path(__file__).parents[2] / "infra" / "grafana" / "dashboards"
CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "weir-clickhouse"}
PROMETHEUS = {"type": "prometheus", "uid": "weir-prometheus"}
HEIGHT = 8
LOW = 4
COLUMNS = 24
SCHEMA_VERSION = 41
SERIES = 0
TABLE = 1
"""How the data source is to read a result: as series by time, or as a table."""
ALL = "'All'"
"""With its quotes: Grafana puts what stands for all into a query as it is, whatever format the
query asks for.
"""
UNITS = (
    ("/_ms$/", "ms"),
    ("/(^|_)cost|charged|_usd$/", "currencyUSD"),
    ("/share$|^completed$/", "percentunit"),
)
"""The units of a table's columns, by their names."""
MACROS = (
    (re.compile(r"\$__timeFilter\((\w+)\)"), r"\1 >= now() - INTERVAL 30 DAY"),
    (
        re.compile(r"\$__timeInterval\((\w+)\)"),
        r"toStartOfInterval(toDateTime(\1), INTERVAL 3600 SECOND)",
    ),
    (re.compile(r"\$__fromTime"), "toDateTime(now() - INTERVAL 30 DAY)"),
    (re.compile(r"\$__toTime"), "toDateTime(now())"),
    (re.compile(r"\$\{tenant:singlequote\}"), ALL),
)


def plain(sql: str) -> str:
    """The SQL as Grafana would send it for the last thirty days and all tenants, by the hour."""
    for macro, stands_for in MACROS:
        sql = macro.sub(stands_for, sql)
    return sql


def dashboards() -> dict[str, tuple[Panel, ...]]:
    return DASHBOARDS | {"workers": WORKERS}


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """A dashboard as Grafana's JSON."""
    return {
        "uid": f"weir-{name}",
        "title": f"Weir: {name}",
        "tags": ["weir"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "30s",
        "timezone": "utc",
        "links": [
            {
                "type": "dashboards",
                "tags": ["weir"],
                "title": "Weir",
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_tenants()] if any(MINE in panel.sql for panel in panels) else []},
        "panels": [
            _panel(nth, panel, *place)
            for nth, (panel, place) in enumerate(zip(panels, _places(panels), strict=True), 1)
        ],
    }


def _tenants() -> dict[str, Any]:
    sql = "SELECT DISTINCT tenant FROM runs_by_hour ORDER BY tenant"
    return {
        "name": "tenant",
        "label": "Tenant",
        "type": "query",
        "datasource": CLICKHOUSE,
        "query": sql,
        "includeAll": True,
        "allValue": ALL,
        "multi": False,
        "refresh": 2,
        "current": {"text": "All", "value": "$__all"},
    }


def _height(panel: Panel) -> int:
    return LOW if panel.kind == "stat" else HEIGHT


def _places(panels: tuple[Panel, ...]) -> list[tuple[int, int]]:
    """Column and row of each panel, left to right and down; a row is as high as its highest."""
    places = []
    x = 0
    y = 0
    high = 0
    for panel in panels:
        if x + panel.width > COLUMNS or (high and _height(panel) != high):
            x = 0
            y = y + high
            high = 0
        places.append((x, y))
        x = x + panel.width
        high = _height(panel)
    return places


def _panel(nth: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    source = PROMETHEUS if panel in WORKERS else CLICKHOUSE
    return {
        "id": nth,
        "title": panel.title,
        "type": "timeseries" if panel.kind == "bars" else panel.kind,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": _height(panel)},
        "options": _options(panel),
        "fieldConfig": {
            "defaults": _defaults(panel, source),
            "overrides": _overrides() if panel.kind == "table" else [],
        },
        **(
            {"interval": panel.least}
            if panel.kind in ("timeseries", "bars") and source is CLICKHOUSE
            else {}
        ),
        "targets": [
            {"refId": "A", "datasource": source}
            | (_promql(panel) if source is PROMETHEUS else _sql(panel))
        ],
    }


def _sql(panel: Panel) -> dict[str, Any]:
    series = panel.kind in ("timeseries", "bars")
    return {
        "editorType": "sql",
        "format": SERIES if series else TABLE,
        "queryType": "timeseries" if series else "table",
        "rawSql": panel.sql,
    }


def _promql(panel: Panel) -> dict[str, Any]:
    now = panel.kind == "stat"
    return {
        "editorMode": "code",
        "expr": panel.sql,
        "instant": now,
        "range": not now,
        "legendFormat": panel.legend or "__auto",
    }


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "value",
                "textMode": "value",
                "graphMode": "none",
            }
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
    return {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _defaults(panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    """How the fields of a panel look: unit, name of a series, bars that add up or lines, red from
    where on.
    """
    made: dict[str, Any] = {"unit": panel.unit, "noValue": "–"}
    if panel.kind in ("timeseries", "bars"):
        bars = panel.kind == "bars"
        made |= {
            "min": 0,
            "custom": {
                "drawStyle": "bars" if bars else "line",
                "fillOpacity": 70 if bars else 8,
                "lineWidth": 1,
                "showPoints": "never" if bars else "auto",
                "stacking": {"mode": "normal" if bars else "none", "group": "A"},
            },
        }
    if panel.legend and source is CLICKHOUSE:
        made["displayName"] = f"${{__field.labels.{panel.legend}}}"
    if panel.kind == "stat":
        red = [] if panel.bad_from is None else [{"color": "red", "value": panel.bad_from}]
        made["thresholds"] = {
            "mode": "absolute",
            "steps": [
                {"color": "text" if panel.bad_from is None else "green", "value": None},
                *red,
            ],
        }
    return made


def _overrides() -> list[dict[str, Any]]:
    return [
        {
            "matcher": {"id": "byRegexp", "options": names},
            "properties": [{"id": "unit", "value": unit}],
        }
        for names, unit in UNITS
    ]


def files() -> dict[Path, str]:
    """Every dashboard's file and what is in it."""
    return {
        FOLDER / f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n"
        for name, panels in dashboards().items()
    }


def write() -> list[Path]:
    """Writes what differs, and says which."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    changed = [
        path for path, text in files().items() if not path.exists() or path.read_text() != text
    ]
    for path in changed:
        path.write_text(files()[path])
    return changed
