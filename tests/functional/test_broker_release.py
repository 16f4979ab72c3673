"""Which RabbitMQ the private stack runs: the installed one, or with BROKER=4.3 a RabbitMQ of its own."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from ordermq.config import environment
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.broker import PrivateBroker
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.release import FETCHED, release_named

FETCH = Path(__file__).parents[2] / "bin" / "newer-debian"


def test_the_broker_under_test_is_the_one_that_was_asked_for(ordermq_stack, vhost):
    said = ordermq_stack.broker.api("GET", "overview")["rabbitmq_version"]
    assert said == ordermq_stack.broker.release.version
    if wanted := environment.stack_broker():
        assert said.startswith(f"{wanted}.")


def test_its_process_is_the_broker_itself_and_not_root(ordermq_stack, vhost):
    process = Path(f"/proc/{ordermq_stack.broker.process.pid}")
    assert (process / "comm").read_text().strip() == "beam.smp"
    assert process.stat().st_uid == server_account().uid != 0


@pytest.fixture
def place():
    place = Place.temporary(server_account())
    yield place
    place.wipe()


def test_a_broker_does_not_start_on_the_data_of_another_release(place):
    place.remember("broker", {"release": "installed"})
    with pytest.raises(StackError, match="down --wipe"):
        PrivateBroker(place, release=release_named(FETCHED[0]))


def test_a_release_nobody_knows_is_refused_by_name():
    with pytest.raises(StackError, match=r"known are installed, 4\.0, 4\.3"):
        release_named("5")


def fetch(folder, **identity):
    argv = ["/bin/bash", "-s", "rabbitmq", "4.0", str(folder)]
    with FETCH.open() as script:
        return subprocess.run(argv, stdin=script, capture_output=True, text=True, check=False, **identity)


def test_fetching_what_is_there_asks_apt_nothing(tmp_path):
    server = tmp_path / "usr" / "lib" / "rabbitmq" / "bin" / "rabbitmq-server"
    server.parent.mkdir(parents=True)
    server.touch(mode=0o755)
    (tmp_path / "usr" / "lib" / "rabbitmq" / "lib" / "rabbitmq_server-4.0.5").mkdir(parents=True)
    done = fetch(tmp_path)
    assert (done.returncode, done.stdout) == (0, "rabbitmq 4.0: 4.0.5 is there\n")


def test_fetching_without_root_says_why_not_and_exits_69():
    nobody = pwd.getpwnam("nobody")
    identity = {"user": nobody.pw_uid, "group": nobody.pw_gid} if os.geteuid() == 0 else {}
    done = fetch("/nonexistent/rabbitmq-4.0", cwd="/", **identity)
    assert done.returncode == 69
    assert "takes root" in done.stderr
