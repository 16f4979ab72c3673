"""One process and its children: killed, frozen, and dead but not yet reaped."""

import json
import os
import sys
from pathlib import Path

import pytest

from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.process import Identity, ServerProcess

#: Starts a child and a grandchild, and writes the pids of both.
FAMILY = ["sh", "-c", "sh -c 'sleep 100 & echo $! $$; wait' & wait"]
#: Has a child that has ended, and never asks how: the child stays a zombie. Writes its pid.
CARELESS = """
import os, sys, time
pid = os.fork() or os._exit(0)
print(pid, flush=True)
time.sleep(100)
"""


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, tmp_path, server_account())


@pytest.fixture
def process(place):
    process = ServerProcess(place, "process")
    yield process
    process.kill()


def stat(pid):
    """Return what the kernel says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def started(pid):
    return int(stat(pid)[19])


def test_a_zombie_of_another_parent_counts_as_dead(place, process):
    # PRC2
    process.start([sys.executable, "-c", CARELESS], env=os.environ, cwd=place.state, as_self=True)
    pid = int(wait_until(lambda: process.log.read_text().strip(), 10.0))
    wait_until(lambda: stat(pid)[0] == "Z", 10.0)
    (place.state / "zombie.pid").write_text(json.dumps({"pid": pid, "started": started(pid)}))
    assert ServerProcess(place, "zombie").pid is None


def test_killing_and_freezing_take_the_children_too(place, process):
    # PRC3
    process.start(FAMILY, env=os.environ, cwd=place.state, as_self=True)
    pids = [int(word) for word in wait_until(lambda: process.log.read_text().split(), 10.0)]
    family = [Identity(pid, started(pid)) for pid in (*pids, process.pid)]
    process.freeze()
    wait_until(
        lambda: [stat(each.pid)[0] for each in family] == ["T", "T", "T"], 10.0, what="all are stopped"
    )
    process.thaw()
    assert {each.pid for each in process.tree()} == {each.pid for each in family}
    process.kill()
    assert [each.is_alive for each in family] == [False, False, False]
