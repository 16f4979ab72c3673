"""Draw docs/img/dashboard-*.svg from a running Prometheus: ``python docs/draw_dashboards.py http://127.0.0.1:9090``.

The panels and queries are those of config/grafana; the pictures are not Grafana's own rendering.
"""

import json
import re
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib import dates

ROOT = Path(__file__).parents[1]
SPAN_S, STEP_S = 150, 2
QUEUE = "payment"
UNITS = {"s": "seconds", "ops": "a second", "short": "", "percentunit": "part"}


def series(url: str, expression: str, now: float) -> list[dict[str, Any]]:
    """Return what an expression was in the minutes before the Unix time ``now``."""
    query = expression.replace("$queue", QUEUE).replace("$__rate_interval", "20s")
    asked = {"query": query, "start": now - SPAN_S, "end": now, "step": STEP_S}
    with closing(HTTPConnection(urlsplit(url).netloc)) as connection:
        connection.request("GET", f"/api/v1/query_range?{urlencode(asked)}")
        found: list[dict[str, Any]] = json.load(connection.getresponse())["data"]["result"]
    return found


def named(legend: str, labels: dict[str, str]) -> str:
    """Return a legend with its labels filled in."""
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), legend)


def draw(url: str, name: str, now: float) -> None:
    """Draw one dashboard, every panel over the same time."""
    began, ended = (datetime.fromtimestamp(at, UTC) for at in (now - SPAN_S, now))
    dashboard = json.loads((ROOT / "config" / "grafana" / f"{name}.json").read_text())
    figure, axes = plt.subplots(3, 3, figsize=(15, 9), layout="constrained")
    figure.suptitle(f"{dashboard['title']} (drawn by matplotlib from the panels' queries)", fontsize=11)
    for axis, panel in zip(axes.flat, dashboard["panels"], strict=True):
        axis.set_title(panel["title"], fontsize=9, loc="left")
        axis.set_ylabel(UNITS[panel["fieldConfig"]["defaults"]["unit"]], fontsize=7)
        for target in panel["targets"]:
            for each in series(url, target["expr"], now):
                times = [datetime.fromtimestamp(at, UTC) for at, _ in each["values"]]
                values = [float(value) for _, value in each["values"]]
                axis.plot(times, values, linewidth=1.2, label=named(target["legendFormat"], each["metric"]))
        axis.set_ylim(bottom=0)
        axis.set_xlim(began, ended)
        axis.xaxis.set_major_locator(dates.SecondLocator(bysecond=(0, 30)))
        axis.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=6, loc="upper left")
    path = ROOT / "docs" / "img" / f"dashboard-{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    path.write_text(re.sub(r"(-?\d+\.\d\d)\d+", r"\1", path.read_text()))  # hundredths of a point are enough


if __name__ == "__main__":
    drawn_at = time.time()
    mpl.rcParams["svg.hashsalt"] = "ordermq"
    mpl.rcParams["svg.fonttype"] = "none"  # letters as text, not as outlines
    for each in ("overview", "queue", "servers"):
        draw(sys.argv[1], each, drawn_at)
