"""Roots of other Debians, made by debootstrap: their Python, RabbitMQ and PostgreSQL, all together.

A root is made once, in build/matrix. Its processes see this machine's network and processes, the sources
read-write, and nothing else of it. Taking root is needed.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.matrix.cell import ROOT, WORK, Place, Unavailable
from tests.matrix.environments import requirements, run

PACKAGES = (
    "python3-venv", "rabbitmq-server", "postgresql", "util-linux", "procps", "ca-certificates", "git",
)  # fmt: skip
# What reaches the packages' registry from here reaches it from there.
_OURS = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/xdg/pip/pip.conf",
    "/etc/xdg/pip/constraints.txt", "/etc/ssl/certs/ca-certificates.crt",
)  # fmt: skip
_ENTER = """
for each in proc sys dev; do mount --rbind /$each "$0/$each"; done
mount -t tmpfs tmpfs "$0/tmp"
mount --bind "$1" "$0/src"
shift
exec chroot "$0" /usr/bin/env --chdir=/src "$@"
"""


def root(suite: str) -> Place:
    """Return the root of that Debian, with a virtual environment. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("a Debian root is entered by chroot, which only root may do")
    folder = WORK / f"root-{suite}"
    if not (folder / ".ready").exists():
        _make(folder, suite)
    return Place((*_entering(folder), "/venv/bin/python"))


def _make(folder: Path, suite: str) -> None:
    if shutil.which("debootstrap") is None:
        raise Unavailable("debootstrap is missing: apt-get install debootstrap")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    include = f"--include={','.join(PACKAGES)}"
    # By this runlevel no service of the root starts while its packages are set up.
    env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    argv = ["debootstrap", "--variant=minbase", include, suite, str(folder), _mirror()]
    run([*argv, "/usr/share/debootstrap/scripts/sid"], env=env)  # it knows no name of a later Debian
    for name in _OURS:
        if Path(name).exists():
            (folder / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name[1:])
    (folder / "src").mkdir()
    run([*_entering(folder), "python3", "-m", "venv", "/venv"])
    pip = [*_entering(folder), "/venv/bin/python", "-m", "pip", "install", "--quiet", "--no-compile"]
    run([*pip, "--editable", "/src[audit,otel]", *requirements()])
    (folder / ".ready").touch()


def _entering(folder: Path) -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _ENTER, str(folder), str(ROOT)]


def _mirror() -> str:
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", "Label: Debian"],
        capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    found = [each for each in said if "security" not in each]
    if not found:
        raise Unavailable("apt on this machine has no source of Debian's packages")
    return found[0]
