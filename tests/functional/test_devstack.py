"""bin/devstack as a person uses it, in a checkout whose path has a space, beside the test run's own stack."""

import json
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ordermq.config.address import is_loopback
from ordermq.testing import wait_until
from ordermq.testing.stack.ports import is_open
from ordermq.testing.stack.private import existing_stack
from tests.functional.conftest import bring_servers_back

ROOT = Path(__file__).resolve().parents[2]


class Checkout:
    """A checkout with nothing in it but bin/devstack."""

    def __init__(self, path):
        self.path = path
        self.state = path / ".devstack"
        (path / "bin").mkdir(parents=True)
        shutil.copy(ROOT / "bin" / "devstack", path / "bin" / "devstack")

    def run(self, *args):
        env = {**os.environ, "ORDERMQ_VENV": sys.prefix}
        argv = [self.path / "bin" / "devstack", *args]
        return subprocess.run(
            argv, env=env, cwd="/", capture_output=True, text=True, timeout=110, check=False
        )

    def ok(self, *args):
        done = self.run(*args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self):
        return {row["name"]: row for row in json.loads(self.run("status", "--json").stdout)}

    @property
    def stack(self):
        return existing_stack(self.state)


def processes_that_name(path):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if os.fsencode(path) in command:
            found.append(entry.name)
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("devstack") / "with space")
    checkout.ok("up")
    yield checkout
    checkout.run("down", "--wipe")


def test_up_when_up_says_so_and_changes_nothing(checkout):
    before = checkout.rows()
    assert "up already" in checkout.ok("up")
    assert checkout.rows() == before


def test_status_names_every_process_with_its_pid_and_port(checkout):
    rows = checkout.rows()
    assert set(rows) == {"broker", "epmd", "postgres", "sandbox"}
    assert all(row["state"] == "up" and is_open(row["port"]) for row in rows.values())
    assert all(str(row["pid"]) in checkout.ok("status") for row in rows.values())


def test_no_server_runs_as_root(checkout):
    assert all(os.stat(f"/proc/{row['pid']}").st_uid != 0 for row in checkout.rows().values())


def test_everything_listens_on_loopback_only(checkout):
    pids = {row["pid"] for row in checkout.rows().values()}
    ours = [host for pid in pids for host in listening_on(pid)]
    # AMQP, management, prometheus, distribution, epmd (IPv4 and IPv6), PostgreSQL, sandbox
    assert len(ours) >= 7
    assert all(is_loopback(host) for host in ours), ours


def listening_on(pid):
    """Return the addresses on which a process listens; /proc is everywhere, ss is not."""
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in links:
                words = bytes.fromhex(columns[1].partition(":")[0])
                # The kernel prints 32 bits at a time, as numbers of this machine.
                numbers = struct.unpack(f">{len(words) // 4}I", words)
                yield socket.inet_ntop(family, struct.pack(f"={len(words) // 4}I", *numbers))


def test_two_stacks_run_side_by_side(checkout, ordermq_stack):
    ours = {row["port"] for row in checkout.rows().values()}
    theirs = {row.port for row in ordermq_stack.status()}
    assert not ours & theirs
    assert all(row.state == "up" for row in ordermq_stack.status())


def test_env_can_be_evaluated_by_bash_and_leads_to_the_servers(checkout):
    script = f"""
        set -eu
        eval "$({shlex.quote(str(checkout.path / "bin" / "devstack"))} env)"
        export PGPASSWORD=$ORDERMQ_DATABASE_PASSWORD PGSSLMODE=$ORDERMQ_DATABASE_SSLMODE
        psql -X -A -t -w -h "$ORDERMQ_DATABASE_HOST" -p "$ORDERMQ_DATABASE_PORT" \
            -U "$ORDERMQ_DATABASE_USERNAME" -d "$ORDERMQ_DATABASE_NAME" -c 'select current_user'
        printf '%s\\n' "$ORDERMQ_BROKER_HOSTS" "$ORDERMQ_TOPOLOGY_MANAGEMENT_URL" "$ORDERMQ_SHOP_PAYMENT_URL"
    """
    env = {**os.environ, "ORDERMQ_VENV": sys.prefix}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stack = checkout.stack
    assert done.stdout.split() == [
        "ordermq",
        f"127.0.0.1:{stack.broker.port}",
        stack.broker.management_url,
        stack.sandboxes["sandbox"].payment_url,
    ]


def test_postgres_killed_from_the_command_line_starts_again_with_its_data_and_port(checkout):
    # Given rows in a database
    postgres = checkout.stack.postgres
    postgres.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    # When the server is killed, by a command that is not its parent
    checkout.ok("kill", "postgres")
    assert checkout.rows()["postgres"]["state"] == "down"
    assert checkout.run("status").returncode == 1
    checkout.ok("start", "postgres")
    # Then it serves the same rows at the same place
    assert postgres.sql("SELECT n FROM kept") == "7"


def test_a_killed_broker_starts_again_with_its_data_and_ports(checkout):
    broker = checkout.stack.broker
    broker.api("PUT", "queues/ordermq/kept", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    checkout.ok("kill", "broker")
    assert not broker.is_serving()
    checkout.ok("start", "broker")
    assert broker.api("GET", "queues/ordermq/kept")["durable"] is True


def test_the_sandbox_remembers_over_a_restart(checkout):
    sandbox = checkout.stack.sandboxes["sandbox"]
    sandbox.call("POST", "/sms/v1/messages", {"to": "+49 30 1234", "text": "hi", "reference": "kept"})
    checkout.ok("restart", "sandbox")
    assert sandbox.call("GET", "/sms/v1/messages/count")["count"] == 1


def test_a_frozen_server_is_silent_and_goes_on_when_thawed(checkout):
    sandbox = checkout.stack.sandboxes["sandbox"]
    sandbox.freeze()
    try:
        assert checkout.rows()["sandbox"]["state"] == "silent"
    finally:
        sandbox.thaw()
    assert checkout.rows()["sandbox"]["state"] == "up"


def test_logs_shows_the_named_servers_log(checkout):
    assert "database system is ready" in checkout.ok("logs", "postgres")


def test_down_leaves_nothing_behind_and_up_brings_the_data_back(checkout):
    # Given a queue
    broker = checkout.stack.broker
    broker.api("PUT", "queues/ordermq/stays", {"durable": True})
    data = checkout.stack.place.data
    ports = [row["port"] for row in checkout.rows().values()]
    # When the stack goes down
    assert "stopped" in checkout.ok("down")
    # Then no process and no listener remains
    wait_until(lambda: not processes_that_name(data), 20.0, what="no process left")
    assert not processes_that_name(checkout.path)
    assert not any(is_open(port) for port in ports)
    assert "was down" in checkout.ok("down")
    # And the next one has the data
    checkout.ok("up")
    assert checkout.stack.broker.api("GET", "queues/ordermq/stays")["durable"] is True
    # Until it is wiped
    assert "data deleted" in checkout.ok("down", "--wipe")
    assert not data.exists()
    assert not checkout.state.exists()


def test_commands_without_a_stack_say_what_to_do(tmp_path):
    checkout = Checkout(tmp_path)
    assert checkout.run("status").returncode == 1
    assert "there is none" in checkout.ok("down")
    done = checkout.run("env")
    assert (done.returncode, done.stdout) == (69, "")
    assert "'devstack up' starts one" in done.stderr


def test_a_missing_virtual_environment_is_named_with_the_command_that_makes_it(tmp_path):
    checkout = Checkout(tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "ORDERMQ_VENV"}
    argv = [checkout.path / "bin" / "devstack", "up"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert "python3 -m venv" in done.stderr


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_server_that_a_test_left_dead_serves_again_when_its_fixtures_end(
    request, ordermq_stack, database, how
):
    getattr(ordermq_stack.postgres, how)()
    bring_servers_back(request.node)
    assert ordermq_stack.postgres.is_serving()
