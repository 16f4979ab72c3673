"""The wheel: what is in it is what the commands need."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

from ordermq.cli.program import migrations_for
from ordermq.shop import module as shop
from tests.support.wheel import build_wheel

ROOT = Path(__file__).parents[2]
DATA = (
    "ordermq/py.typed",
    *(str(each.relative_to(ROOT)) for each in sorted(ROOT.glob("ordermq/*/migrations/*.sql"))),
    *(
        f"ordermq/cli/templates/{name}"
        for name in ("Makefile", "README.md", "gitignore", "deploy/giftshop.conf")
    ),
)


def test_the_wheel_holds_every_module_the_migrations_and_the_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ordermq").rglob("*.py")}
    assert modules | set(DATA) <= names
    assert not any(name.startswith("tests/") for name in names)
    shared = {name.partition("/share/")[2] for name in names if "/share/" in name}
    units = {f"ordermq/systemd/{unit.name}" for unit in (ROOT / "deploy" / "systemd").iterdir()}
    of_logs = {
        "filebeat.yml", "vector.toml", "logstash.conf",
        "elasticsearch/ordermq-logs.json", "kibana/ordermq.ndjson",
    }  # fmt: skip
    assert shared == {
        "ordermq/ordermq.toml",
        "ordermq/ordermq-alert",
        *units,
        *(f"ordermq/{name}" for name in of_logs),
    }


def test_the_wheel_that_is_built_again_elsewhere_has_the_same_bytes(wheel, tmp_path):
    again = build_wheel(tmp_path / "source", tmp_path / "wheel")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_the_commands_of_an_installed_wheel_start_and_find_their_migrations(wheel, tmp_path):
    target = tmp_path / "site"
    argv = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    scripts = configparser.ConfigParser()
    scripts.read(next(target.glob("*.dist-info")) / "entry_points.txt")
    env = {"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"}
    for name, entry in scripts["console_scripts"].items():
        module, function = entry.split(":")
        program = f"import sys, {module} as m; sys.argv = ['{name}', '--help']; m.{function}()"
        shown = subprocess.run(
            [sys.executable, "-c", program],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (shown.returncode, "Usage:" in shown.stdout) == (0, True), f"{name}: {shown.stderr}"
    found = subprocess.run(
        [sys.executable, "-c", FIND_MIGRATIONS],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    migrations = [each.name for each in migrations_for([shop])]
    assert found.stdout.split() == [str(target / "ordermq"), *migrations]


FIND_MIGRATIONS = """
import pathlib, ordermq
from ordermq.cli.program import migrations_for
from ordermq.shop import module
print(pathlib.Path(ordermq.__file__).parent)
print(*(each.name for each in migrations_for([module])))
"""
