"""Write config/grafana/*.json from the tables below: ``make docs``.

A panel is a title, a unit and its queries, each with its legend. Grafana adds the data source when a
dashboard is imported, and replaces ``$queue`` and ``$__rate_interval``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "config" / "grafana"
COLUMNS, WIDTH, HEIGHT = 3, 8, 8


class Panel(NamedTuple):
    """A graph: ``queries`` are {legend: expression}. ``mark`` is where it begins to be bad."""

    title: str
    unit: str
    queries: Mapping[str, str]
    mark: float | None = None


OVERVIEW = [
    Panel("Active relays", "short", {"active": "sum(ordermq_relay_active)"}),
]

DASHBOARDS: Mapping[str, tuple[str, Sequence[Panel]]] = {
    "overview": ("ordermq: overview", OVERVIEW),
}


def dashboard(name: str) -> dict[str, Any]:
    """Return the dashboard ``name`` as Grafana imports it."""
    title, panels = DASHBOARDS[name]
    is_of_queue = any("$queue" in query for panel in panels for query in panel.queries.values())
    variables = [_DATASOURCE, _QUEUE] if is_of_queue else [_DATASOURCE]
    return {
        "uid": f"ordermq-{name}",
        "title": title,
        "tags": ["ordermq"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(number, each) for number, each in enumerate(panels)],
    }


def write() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text(name))


def text(name: str) -> str:
    """Return the text of the file of the dashboard ``name``."""
    return json.dumps(dashboard(name), indent=1) + "\n"


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_DATASOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
_QUEUE = {
    "name": "queue",
    "label": "Queue",
    "type": "query",
    "datasource": _SOURCE,
    "query": {"query": "label_values(ordermq_queue_ready, queue)", "refId": "queue"},
    "refresh": 2,
    "sort": 1,
}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 8}}
    if panel.mark is not None:
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": "green", "value": None}, {"color": "red", "value": panel.mark}],
        }
        defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "range": True}
            for index, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    write()
