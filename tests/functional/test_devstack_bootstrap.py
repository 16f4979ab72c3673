"""bin/bootstrap where nothing needs to be installed, and where it cannot install."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[2] / "bin" / "bootstrap"


@pytest.fixture
def bare_path():
    """A PATH with a shell, an apt-get that tells, and no server program, readable to everybody."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for program in ("bash", "dirname"):
            (folder / program).symlink_to(shutil.which(program))
        apt = folder / "apt-get"
        apt.write_text(f"#!/bin/bash\necho called >{folder}/called\nexit 1\n")
        apt.chmod(0o755)
        yield folder


def run(path, **arguments):
    env = {"PATH": str(path), "LANG": "C.UTF-8"}
    with BOOTSTRAP.open() as script:
        return subprocess.run(
            ["/bin/bash", "-s"],
            stdin=script,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            **arguments,
        )


def test_with_everything_there_it_says_so_and_asks_apt_nothing(bare_path):
    done = run(f"{bare_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, "bootstrap: everything is there\n")
    assert not (bare_path / "called").exists()


def test_without_the_right_to_install_it_prints_the_command_and_exits_69(bare_path):
    nobody = pwd.getpwnam("nobody")
    identity = (
        {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    done = run(bare_path, cwd="/", **identity)
    assert done.returncode == 69
    assert "apt-get update && apt-get install --no-install-recommends" in done.stderr
    assert "rabbitmq-server" in done.stderr
    assert not (bare_path / "called").exists()
