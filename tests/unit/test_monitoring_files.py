"""The files for Prometheus and Grafana say what the code and the documents say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
DASHBOARDS = runpy.run_path(str(ROOT / "docs" / "generate_dashboards.py"))


def test_the_dashboards_are_up_to_date():
    written = {file.stem: file.read_text() for file in (ROOT / "config" / "grafana").glob("*.json")}
    assert written == {name: DASHBOARDS["text"](name) for name in DASHBOARDS["DASHBOARDS"]}, "run make docs"
