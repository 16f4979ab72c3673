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


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return the expression of a counter's rate, by a label."""
    summed = f"sum by ({by})" if by else "sum"
    return f"{summed} (rate({metric}{where}[$__rate_interval]))"


def quantile(part: float, histogram: str, by: str = "", where: str = "") -> str:
    """Return the expression of a quantile of a histogram, by a label."""
    labels = f"{by}, le" if by else "le"
    buckets = f"sum by ({labels}) (rate({histogram}_bucket{where}[$__rate_interval]))"
    return f"histogram_quantile({part}, {buckets})"


def latest(metric: str, by: str = "", where: str = "") -> str:
    """Return the expression of a gauge that only the active relay shows."""
    return f"max by ({by}) ({metric}{where})" if by else f"max ({metric}{where})"


_QUEUE_ONLY = '{queue="$queue"}'
_ORDERS = "ordermq_order_critical_time_seconds"
_CRITICAL = "ordermq_critical_time_seconds"

OVERVIEW = [
    Panel("Orders that ended", "ops", {"{{status}}": rate(f"{_ORDERS}_count", "status")}),
    Panel("Placed to ended", "s", {"p50": quantile(0.5, _ORDERS), "p99": quantile(0.99, _ORDERS)}, mark=60),
    Panel("Messages handled", "ops", {"{{outcome}}": rate("ordermq_settled_total", "outcome")}),
    Panel("Waiting in queues", "short", {"{{queue}}": latest("ordermq_queue_ready", "queue")}),
    Panel("Due to handled, p99", "s", {"{{queue}}": quantile(0.99, _CRITICAL, "queue")}),
    Panel("Oldest in the outbox", "s", {"age": latest("ordermq_outbox_oldest_seconds")}, mark=30),
    Panel(
        "For a person",
        "short",
        {
            "need attention": latest("ordermq_orders_attention"),
            "stuck": latest("ordermq_orders_stuck"),
            "dead letters": latest("ordermq_dead_letters_open"),
        },
        mark=1,
    ),
    Panel(
        "Payments without an outcome",
        "short",
        {"for {{older_than}}": latest("ordermq_payments_unknown", "older_than")},
    ),
    Panel("Active relays", "short", {"active": "sum (ordermq_relay_active)"}),
]

ONE_QUEUE = [
    Panel("Settled", "ops", {"{{outcome}}": rate("ordermq_settled_total", "outcome", _QUEUE_ONLY)}),
    Panel(
        "Waiting and held",
        "short",
        {
            "waiting": latest("ordermq_queue_ready", "queue", _QUEUE_ONLY),
            "held by consumers": f"sum (ordermq_inflight{_QUEUE_ONLY})",
        },
    ),
    Panel(
        "Due to handled",
        "s",
        {
            "p50": quantile(0.5, _CRITICAL, where=_QUEUE_ONLY),
            "p99": quantile(0.99, _CRITICAL, where=_QUEUE_ONLY),
        },
    ),
    Panel(
        "A call of the handler",
        "s",
        {"p99 {{type}}": quantile(0.99, "ordermq_handler_seconds", "type", _QUEUE_ONLY)},
        mark=1,
    ),
    Panel(
        "Threads",
        "short",
        {
            "there are": f"sum (ordermq_workers{_QUEUE_ONLY})",
            "busy": f"sum (ordermq_workers_busy{_QUEUE_ONLY})",
        },
    ),
    Panel(
        "Age of what was taken last",
        "s",
        {
            "when it was taken": latest("ordermq_delivery_age_seconds", "queue", _QUEUE_ONLY),
            "since then, nothing taken": latest("ordermq_queue_waiting_seconds", "queue", _QUEUE_ONLY),
        },
        mark=120,
    ),
    Panel("Consumers", "short", {"consumers": latest("ordermq_queue_consumers", "queue", _QUEUE_ONLY)}),
    Panel(
        "Breakers that are closed",
        "short",
        {"{{dependency}}": 'min by (dependency) (ordermq_breaker_state{queue="$queue",state="closed"})'},
    ),
    Panel("Delivered", "ops", {"delivered": rate("ordermq_delivered_total", where=_QUEUE_ONLY)}),
]

SERVERS = [
    Panel(
        "Publishing",
        "ops",
        {"published": rate("ordermq_published_total"), "confirmed": rate("ordermq_confirmed_total")},
    ),
    Panel("Publishing to confirm, p99", "s", {"p99": quantile(0.99, "ordermq_confirm_seconds")}, mark=1),
    Panel("COMMIT, p99", "s", {"p99": quantile(0.99, "ordermq_commit_seconds")}, mark=0.1),
    Panel("Alarms of the broker", "short", {"alarms": latest("ordermq_broker_alarms")}, mark=1),
    Panel(
        "Connections that are open",
        "short",
        {"{{role}}": 'sum by (role) (ordermq_connection_state{state="open"})'},
    ),
    Panel(
        "Replicas that are away", "short", {"{{queue}}": latest("ordermq_queue_replicas_missing", "queue")}
    ),
    Panel(
        "Oldest transaction",
        "s",
        {"age": latest("ordermq_database_transaction_oldest_seconds")},
        mark=900,
    ),
    Panel("Rows that wait for a vacuum", "short", {"{{table}}": latest("ordermq_table_dead_rows", "table")}),
    Panel(
        "Queue of notifications", "percentunit", {"used": latest("ordermq_database_notification_queue_ratio")}
    ),
]

DASHBOARDS: Mapping[str, tuple[str, Sequence[Panel]]] = {
    "overview": ("ordermq: overview", OVERVIEW),
    "queue": ("ordermq: one queue", ONE_QUEUE),
    "servers": ("ordermq: broker and database", SERVERS),
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
