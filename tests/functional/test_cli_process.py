"""The processes as a supervisor meets them: ready, watched, stopped, refused."""

import os
import re
import signal
import socket
import subprocess
from contextlib import suppress

import pytest

from ordermq.config.environment import inherited
from ordermq.message import Properties, Publishing
from ordermq.testing import wait_until
from ordermq.testing.stack.commands import program
from tests.support.commands import Shop, page
from tests.support.rabbit import Rabbit

CONSUMER = ("ordermq-consumer", "--queue", "points")
RELAY = ("ordermq-relay",)


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def supervisor(tmp_path):
    with Supervisor(str(tmp_path / "notify")) as supervisor:
        yield supervisor


class Supervisor:
    """The socket systemd listens on, and what was sent there."""

    def __init__(self, path):
        self.env = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        self._assignments = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def assignments(self):
        """Return every assignment received so far, in order."""
        try:
            while True:
                self._assignments += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return self._assignments

    def wait_for(self, assignment, times=1):
        wait_until(lambda: self.assignments().count(assignment) >= times, 20.0, what=assignment)


@pytest.mark.parametrize("argv", [CONSUMER, RELAY])
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_process_is_ready_watched_and_stops_with_0(shop, supervisor, argv, stop):
    process = shop.start(*argv, **supervisor.env)
    supervisor.wait_for("READY=1")
    assert "WATCHDOG=1" in supervisor.assignments()
    counts = "handled 0, in flight 0, " if argv == CONSUMER else "sent 0, refused 0, waiting 0"
    assert any(each.startswith("STATUS=") and counts in each for each in supervisor.assignments())
    supervisor.wait_for("WATCHDOG=1", supervisor.assignments().count("WATCHDOG=1") + 2)
    process.send(stop)
    assert process.wait(30) == 0
    assert supervisor.assignments().count("READY=1") == 1
    assert "STOPPING=1" in supervisor.assignments()


def test_a_consumer_is_not_ready_before_the_broker_knows_it(shop, supervisor, vhost):
    vhost.broker.delete_vhost(vhost.name)
    process = shop.start(*CONSUMER, **supervisor.env)
    assert process.wait(30) == 78  # refused at the first connection: a person must mend it
    assert "READY=1" not in supervisor.assignments()
    vhost.broker.add_vhost(vhost.name)


def test_a_queue_that_does_not_exist_ends_a_consumer_with_what_to_do(shop):
    process = shop.start("ordermq-consumer", "--queue", "points", ORDERMQ_TOPOLOGY_PREFIX="elsewhere")
    assert process.wait(30) == 78
    assert "ordermq topology apply" in shop.logged(*CONSUMER)[-1]["message"]


def test_a_queue_nobody_handles_is_refused_with_those_there_are(shop):
    found = shop.run("ordermq-consumer", "--queue", "gifts")
    assert found.returncode == 78
    assert "email, inventory, notify, payment, points, shipping" in found.stderr


def test_metrics_show_the_connection_and_the_publishings(shop):
    relay = shop.start(*RELAY)
    address = wait_until(lambda: address_of(shop, *RELAY), 20.0)
    wait_until(lambda: 'ordermq_connection_state{role="relay",state="open"} 1.0' in metrics(address), 20.0)
    orders = shop.ok("ordermq-publish", "generate", "--orders", "5")
    shop.ok("ordermq-publish", "orders", "-", stdin=orders.encode())
    wait_until(lambda: re.search(r"^ordermq_confirmed_total 5\.0$", metrics(address), re.MULTILINE), 20.0)
    assert "ordermq_published_total 5.0" in metrics(address)
    page(address, "/readyz")
    relay.send(signal.SIGTERM)
    assert relay.wait(30) == 0


@pytest.mark.parametrize("argv", [CONSUMER, RELAY])
def test_a_process_says_once_that_a_policy_takes_messages(shop, vhost, argv):
    shop.ok("ordermq", "topology", "apply")
    definition = {"pattern": "^orders[.]points$", "definition": {"expires": 300_000}, "apply-to": "queues"}
    vhost.broker.api("PUT", f"policies/{vhost.name}/short", definition)

    found = shop.run("ordermq", "topology", "verify")
    assert found.returncode == 1
    assert "queue orders.points: policy short: expires: wanted none, found 300000" in found.stdout
    process = shop.start(*argv)
    wait_until(lambda: said(shop, argv, "the topology"), 20.0)
    (line,) = said(shop, argv, "the topology")
    assert "policy short: expires" in line
    address = wait_until(lambda: address_of(shop, *argv), 20.0)
    assert "ordermq_topology_differences 1.0" in metrics(address)
    process.send(signal.SIGTERM)
    assert process.wait(30) == 0


def address_of(shop, *argv):
    return next(
        (line["labels.http_address"] for line in shop.logged(*argv) if "labels.http_address" in line), None
    )


def metrics(address):
    return page(address, "/metrics")


def test_a_fixed_port_that_is_taken_ends_the_process_with_a_line_that_names_it(shop):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = shop.start(*RELAY, ORDERMQ_OBSERVE_HTTP_PORT=str(port))
        assert process.wait(30) == 78
    assert f"observe.http_port = {port}" in shop.logged(*RELAY)[-1]["message"]


# --- other signals, and a stderr that nobody reads ---------------------------------


@pytest.mark.parametrize("argv", [CONSUMER, RELAY])
def test_a_hangup_reads_the_settings_again_and_says_what_needs_a_restart(shop, supervisor, argv):
    file = shop.folder / "settings.toml"
    file.write_text('[observe]\nlog_level = "WARNING"\n')
    file.chmod(0o600)
    process = shop.start(*argv, ORDERMQ_CONFIG=str(file), **supervisor.env)
    supervisor.wait_for("READY=1")
    assert not [each for each in shop.logged(*argv) if each["log.level"] == "info"]
    file.write_text('[observe]\nlog_level = "INFO"\n[consumer]\nthreads = 3\nhandler_deadline_s = 200\n')
    process.send(signal.SIGHUP)
    wait_until(lambda: said(shop, argv, "SIGHUP: log level INFO"), 20.0, what="the settings in force")
    assert said(shop, argv, "SIGHUP:")[0].endswith(
        "; in force now: consumer.handler_deadline_s; in force after a restart: consumer.threads"
    )
    file.write_text("[observe]\nlog_level = loud\n")
    process.send(signal.SIGHUP)
    wait_until(lambda: said(shop, argv, "SIGHUP: the settings cannot be read"), 20.0, what="the mistake")
    process.send(signal.SIGTERM)
    assert process.wait(30) == 0
    assert said(shop, argv, "SIGTERM: stopping")


@pytest.mark.parametrize("argv", [CONSUMER, RELAY])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_user_s_signal_writes_where_every_thread_is(shop, supervisor, argv, number):
    process = shop.start(*argv, ORDERMQ_OBSERVE_LOG_LEVEL="ERROR", **supervisor.env)
    supervisor.wait_for("READY=1")
    process.send(number)
    wait_until(
        lambda: any(
            "MainThread" in each and "run_until_signalled" in each for each in said(shop, argv, "stack")
        ),
        20.0,
        what="the stack of the main thread",
    )
    assert len(said(shop, argv, "stack of thread ")) > 2
    wait_until(lambda: said(shop, argv, "messages in flight: 0"), 20.0, what="the table of messages")
    process.send(signal.SIGTERM)
    assert process.wait(30) == 0


def said(shop, argv, begin):
    return [each["message"] for each in shop.logged(*argv) if each["message"].startswith(begin)]


def start_with(shop, argv, stderr):
    """Start a process whose stderr is the writing end of a pipe, which this one closes."""
    env = {**inherited(), "ORDERMQ_CONFIG": "", **shop.env}
    process = subprocess.Popen([program(argv[0]), *argv[1:]], stderr=stderr, env=env)
    os.close(stderr)
    return process


def fill(pipe):
    """Write into ``pipe`` until it takes no more."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(own, b"\n" * 4096)
    os.close(own)


def test_a_relay_whose_stderr_nobody_reads_sends_on_and_stops(shop, database):
    reader, writer = os.pipe()
    fill(writer)
    process = start_with(shop, RELAY, writer)
    try:
        orders = shop.ok("ordermq-publish", "generate", "--orders", "50")
        shop.ok("ordermq-publish", "orders", "-", stdin=orders.encode())
        left = "SELECT count(*) FROM ordermq.outbox"
        wait_until(lambda: database.sql(left) == "0", 60.0, what="an empty outbox")
        assert database.sql("SELECT count(*) FROM shop.orders") == "50"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


@pytest.mark.parametrize("argv", [CONSUMER, RELAY])
def test_what_libraries_and_servers_write_to_stderr_are_lines_of_the_log(shop, supervisor, database, argv):
    # libpq writes the warning of a collation's version to stderr, at each connect
    other = "UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()"
    database.postgres.sql(other, database=database.name, superuser=True)
    process = shop.start(*argv, **supervisor.env)
    supervisor.wait_for("READY=1")
    process.send(signal.SIGTERM)
    assert process.wait(30) == 0
    foreign = [each for each in shop.logged(*argv) if each["log.logger"] == "ordermq.stderr"]  # all is JSON
    assert [each["log.level"] for each in foreign if "collation version" in each["message"]]


def test_a_stderr_that_nobody_reads_stops_no_work_and_no_stop(shop, vhost, database):
    reader, writer = os.pipe()
    rabbit = Rabbit(vhost.broker, vhost.settings)
    process = start_with(shop, CONSUMER, writer)
    try:
        unreadable = [(Properties(message_id=f"m{n}"), b"[%d" % n) for n in range(500)]
        rabbit.publish(*(Publishing("orders", "points", *each) for each in unreadable))
        count = "SELECT count(*) FROM ordermq.dead_letters"
        wait_until(lambda: database.sql(count) == "500", 60.0, what="a dead letter of each")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        rabbit.close()
        os.close(reader)
