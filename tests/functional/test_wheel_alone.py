"""The wheel in a virtual environment of its own starts a stack and a consumer without the checkout."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from ordermq.config.environment import inherited
from ordermq.testing import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Installation:
    """An installed wheel, and an empty folder to work in."""

    def __init__(self, wheel, folder):
        self._bin = folder / "venv" / "bin"
        self.folder = folder / "work"
        self.folder.mkdir()
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        argv = [sys.executable, "-m", "pip", "--python", str(self._bin / "python"), "install", "--quiet"]
        subprocess.run([*argv, "--no-deps", "--no-index", str(wheel)], check=True)
        # What the wheel depends on comes from the tests' environment, whose .pth files count only there.
        self.env = {**inherited(), "ORDERMQ_CONFIG": "", "PYTHONPATH": sysconfig.get_path("purelib")}

    def run(self, *argv, check=True):
        argv = [self._bin / argv[0], *argv[1:]]
        done = subprocess.run(
            argv, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=110, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self, *argv):
        with (self.folder / "consumer.log").open("w") as log:
            return subprocess.Popen(
                [self._bin / argv[0], *argv[1:]], env=self.env, cwd=self.folder, stderr=log
            )


@pytest.fixture
def installed(wheel, tmp_path):
    installed = Installation(wheel, tmp_path)
    yield installed
    installed.run("ordermq", "devstack", "down", "--wipe")


def test_a_wheel_alone_starts_a_stack_prepares_it_and_consumes(installed):
    where = installed.run("python", "-c", "import ordermq; print(ordermq.__file__)").stdout
    assert str(ROOT) not in where
    assert "devstack" in installed.run("ordermq", "--help").stdout
    installed.run("ordermq", "devstack", "up")
    for line in installed.run("ordermq", "devstack", "env").stdout.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        installed.env[name] = value.strip("'")
    installed.run("ordermq", "db", "migrate")
    installed.run("ordermq", "topology", "apply")
    assert "sandbox" in installed.run("ordermq", "devstack", "status").stdout
    with installed.start("ordermq-consumer", "--queue", "inventory") as consumer:
        wait_until(lambda: "subscribed" in (installed.folder / "consumer.log").read_text(), 30.0)
        consumer.terminate()
        assert consumer.wait(30) == 0
    found = [path.name for path in installed.folder.iterdir()]
    assert sorted(found) == [".devstack", "consumer.log"]


def test_a_project_without_the_shop_has_a_stack_without_its_servers(installed):
    installed.env["ORDERMQ_MODULES"] = "gifts"
    (installed.folder / "gifts.py").write_text("from ordermq import Module\nmodule = Module('gifts')\n")
    installed.env["PYTHONPATH"] += f":{installed.folder}"
    installed.run("ordermq", "devstack", "--state", "elsewhere", "up")
    rows = installed.run("ordermq", "devstack", "--state", "elsewhere", "status").stdout
    names = [line.split()[0] for line in rows.splitlines() if " pid " in line]
    env = installed.run("ordermq", "devstack", "--state", "elsewhere", "env").stdout
    unknown = installed.run("ordermq", "devstack", "--state", "elsewhere", "kill", "sandbox", check=False)
    ended = installed.run("ordermq", "devstack", "--state", "elsewhere", "down", "--wipe").stdout
    assert "data deleted" in ended
    assert names == ["broker", "epmd", "postgres"]
    assert "ORDERMQ_SHOP" not in env
    assert unknown.returncode == 64
    assert "'sandbox' is not one of broker, postgres" in unknown.stderr
