"""The cells of ``make test-matrix``, and its table; the target itself runs them."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.matrix.__main__ import README, remember, table, with_rows
from tests.matrix.cell import ROOT, SHORT, Outcome
from tests.matrix.cells import CELLS
from tests.matrix.environments import requirements

RAN = {
    "name": "pika-1.3.2", "title": "pika 1.3.2", "state": "passed", "ran": "90 tests, demo", "seconds": 61.0,
    "versions": {
        "system": "Debian 12.1", "Python": "3.11.2", "RabbitMQ": "3.10.8", "PostgreSQL": "15.14",
        "pika": "1.3.2",
    },
    "at": "2026-11-29", "why": "",
}  # fmt: skip


def test_the_table_says_what_ran_where_and_why_a_cell_did_not():
    missing = {**RAN, "state": "cannot run", "why": "there is no Python 3.14 here", "versions": {}}
    rows = table({"python-3.14": missing, "pika-1.3.2": RAN})
    assert rows[2:] == [
        "| python-3.14 |  |  |  |  |  | cannot run: there is no Python 3.14 here | 2026-11-29 |",
        "| pika-1.3.2 | Debian 12.1 | 3.11.2 | 3.10.8 | 15.14 | 1.3.2 | 90 tests, demo | 2026-11-29 |",
    ]


def test_runs_at_the_same_time_remember_what_each_has_found(tmp_path):
    path, names = tmp_path / "build" / "matrix.json", list(CELLS)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(remember, Outcome(name, name, "passed"), path) for name in names]
    assert [each.exception() for each in done] == [None] * len(names)
    assert set(json.loads(path.read_text())) == set(names)


def test_readme_keeps_the_rows_of_cells_that_were_run_elsewhere():
    old = with_rows(README.read_text(), {"lowest": {**RAN, "name": "lowest"}})
    new = with_rows(old, {"pika-1.3.2": RAN})
    rows = [line.split(" ")[1] for line in new.splitlines() if line.startswith("| ") and RAN["at"] in line]
    assert {"lowest", "pika-1.3.2"} <= set(rows)
    assert [each for each in CELLS if each in rows] == rows
    assert with_rows(new, {}) == new


def test_every_test_that_a_cell_runs_exists_and_every_cell_has_a_name_of_its_own():
    assert [each for each in SHORT if not (ROOT / each.partition("::")[0]).exists()] == []
    assert len(CELLS) == len({title for title, _ in CELLS.values()})


def test_the_lowest_of_a_dependency_is_the_least_that_setup_cfg_allows():
    lowest = requirements("lowest")
    allowed = re.findall(r"^    ([a-z0-9-]+)>=([0-9.]+)", Path(ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert {f"{name}=={version}" for name, version in allowed} & set(lowest) == {
        each for each in lowest if "==" in each
    }
    assert "pika==1.3.2" in lowest
