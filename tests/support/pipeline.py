"""The whole pipeline: relay and consumers as processes, orders coming in, and what must hold at the end."""

import http.client
import json
import signal
import threading
from contextlib import contextmanager

from ordermq.amqp import apply
from ordermq.errors import OrderMQError
from ordermq.shop import load_stock
from ordermq.shop.intake.demand import demand_of, stock_for
from ordermq.shop.place import place_orders
from ordermq.store import Session, outbox
from ordermq.testing import wait_until
from ordermq.topology import build
from tests.support.commands import Shop, page
from tests.support.connection import manager_of
from tests.support.rabbit import Rabbit

QUEUES = ("inventory", "payment", "notify", "email", "points", "shipping")
PROCESSES = ("relay", *(each for each in QUEUES if each != "email"), "dead")  # orders here have a phone

SETTINGS = {
    "ORDERMQ_BROKER_RECONNECT_BASE_S": "0.1",
    "ORDERMQ_BROKER_UNREACHABLE_CAP_S": "1",
    "ORDERMQ_BROKER_RECONNECT_CAP_S": "1",
    "ORDERMQ_BROKER_GIVE_UP_AFTER_S": "90",  # also the end of what a killed test run leaves behind
    "ORDERMQ_RETRY_BASE_S": "0.1",
    "ORDERMQ_RETRY_CAP_S": "0.5",
    "ORDERMQ_RETRY_POSTPONE_S": "0.1",
    "ORDERMQ_RELAY_REFUSED_BASE_S": "0.1",
    "ORDERMQ_RELAY_REFUSED_CAP_S": "0.5",
    "ORDERMQ_RELAY_NACKED_CAP_S": "0.5",
    "ORDERMQ_CONSUMER_LEASE_S": "3",  # what a killed consumer left is taken over soon
    "ORDERMQ_CONSUMER_CALL_TIMEOUT_S": "1.5",
    "ORDERMQ_CONSUMER_BREAKER_CAP_S": "0.5",
    "ORDERMQ_SHOP_GATEWAY_TIMEOUT_S": "1",
    "ORDERMQ_SHOP_CAPTURE_SETTLES_S": "4.5",
}
THREADS = {"payment": "8", "notify": "8", "email": "4"}

_AT_REST = """
    SELECT (SELECT count(*) FROM shop.orders
             WHERE status IN ('completed', 'cancelled', 'refunded') AND pending = '{}'),
           (SELECT count(*) FROM ordermq.outbox),
           (SELECT count(*) FROM ordermq.leases) + (SELECT count(*) FROM ordermq.starts)
"""
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'
       AND (application_name || ' ') LIKE %s || ' %%'
"""


class Pipeline(Shop):
    """A shop whose processes have names: ``relay`` and those of the queues."""

    def __init__(self, stack, vhost, database, sandbox, folder):
        self._vhost = vhost
        self._database = database
        self._processes = {}
        self.session = self.open_session("test")
        self.rabbit = Rabbit(vhost.broker, vhost.settings)
        super().__init__(stack, vhost, database, folder, **SETTINGS, **sandbox.environment())

    def prepare(self):
        """Do what ``ordermq topology apply`` does."""
        manager = manager_of(self._vhost.settings)
        try:
            apply(manager, build("orders", QUEUES))
        finally:
            manager.close(2.0)

    def open_session(self, name):
        return Session(self._database.settings, name=name)

    # --- processes ---

    def begin(self, *names, **env):
        """Start processes, all of them if none is named; ``inventory:2`` is a second one."""
        for name in names or PROCESSES:
            self._processes[name] = self.start(*_argv(name), **env)

    def process(self, name):
        return self._processes[name]

    def logged_by(self, name):
        return self.logged(*_argv(name))

    def has_logged(self, name, words):
        return any(words in line["message"] for line in self.logged_by(name))

    def wait_ready(self, *names):
        for name in names or tuple(self._processes):
            words = "serving" if name == "relay" else "subscribed"
            wait_until(
                lambda name=name, words=words: self.has_logged(name, words), 30.0, what=f"{name} serves"
            )

    def kill(self, name):
        """SIGKILL: it can do nothing more."""
        self._processes.pop(name).kill()

    def stop(self, *names):
        """SIGTERM all at once, wait for all; return their exit codes by name."""
        stopped = {name: self._processes.pop(name) for name in names or tuple(self._processes)}
        for process in stopped.values():
            process.send(signal.SIGTERM)
        return {name: process.wait(40) for name, process in stopped.items()}

    def address(self, name):
        """Return where the process serves its metrics, or did last. Raises IndexError before it says so."""
        lines = [line for line in self.logged_by(name) if "labels.http_address" in line]
        return lines[-1]["labels.http_address"]

    def duplicates(self, queue):
        """Return how many deliveries the running consumer of ``queue`` has recognised as settled before."""
        try:
            lines = page(self.address(queue), "/metrics").splitlines()
        except (IndexError, OSError, http.client.HTTPException):
            return 0  # none yet, or a predecessor's: it is still starting
        wanted = f'ordermq_settled_total{{outcome="duplicate",queue="{queue}"}} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    # --- orders ---

    def load(self, orders, cover=1.0):
        """Load the stock that ``orders`` ask for, of the best sellers a part."""
        with self.session.transaction() as tx:
            load_stock(stock_for(demand_of(orders), cover=cover), tx)

    def stock(self, **units):
        """Load so many units; ``p_1`` is the product p-1."""
        with self.session.transaction() as tx:
            load_stock([(name.replace("_", "-"), number) for name, number in units.items()], tx)

    def place(self, orders, session=None):
        session = session or self.session
        with session.transaction() as tx:
            answers = place_orders(orders, tx)
        assert not [each for each in answers if isinstance(each, Exception)], answers
        outbox.wake_relay(session)

    @contextmanager
    def customers(self, orders, *, per_s):
        """Have ``orders`` come in one by one meanwhile; at the end all are placed."""
        arriving = _Customers(self, orders, per_s)
        arriving.start()
        yield
        arriving.join(60.0)
        assert not arriving.is_alive(), "not all orders were placed"
        assert arriving.failure is None, arriving.failure

    # --- the broker ---

    @property
    def broker_url(self):
        """The test's vhost as an AMQP client is given it."""
        broker = self._vhost.broker
        return f"amqp://{broker.username}:{broker.password}@127.0.0.1:{broker.port}/{self._vhost.name}"

    def depth(self, queue):
        """Messages ready in ``queue``; those a consumer holds do not count."""
        rabbit = Rabbit(self._vhost.broker, self._vhost.settings)
        try:
            return rabbit.depth(f"orders.{queue}")
        finally:
            rabbit.close()

    def purge(self, *queues):
        """Lose every message that waits in these queues."""
        for queue in queues:
            self._vhost.broker.api("DELETE", f"queues/{self._vhost.name}/orders.{queue}/contents")

    def cut_connections(self):
        """Have the broker close every connection to the test's vhost."""
        self._vhost.broker.ctl("close_all_connections", "-p", self._vhost.name, "cut by a test")

    # --- what is ---

    def rows(self, sql, *params):
        with self.session.transaction() as tx:
            return tx.fetch_all(sql, params)

    def value(self, sql, *params):
        return self.rows(sql, *params)[0][0]

    def count(self, status):
        return self.value("SELECT count(*) FROM shop.orders WHERE status = %s", status)

    def wait_for(self, count, status, timeout_s=30.0):
        wait_until(lambda: self.count(status) >= count, timeout_s, what=f"{count} orders {status}")

    def wait_for_letters(self, count, words):
        sql = "SELECT count(*) FROM ordermq.dead_letters WHERE replayed_at IS NULL AND reason LIKE %s"
        wait_until(lambda: self.value(sql, f"{words}%") >= count, 30.0, what=f"{count} dead letters: {words}")

    def wait_outbox_empty(self):
        empty = "SELECT NOT EXISTS (SELECT FROM ordermq.outbox)"
        wait_until(lambda: self.value(empty), 20.0, what="an empty outbox")

    @contextmanager
    def held(self, table):
        """Lock ``table`` against writes meanwhile: a process that writes waits, in mid-transaction."""
        holder = self.open_session("holder")
        try:
            with holder.transaction() as tx:
                tx.execute(f"LOCK TABLE {table} IN SHARE MODE")
                yield
        finally:
            holder.close()

    def wait_failpoint(self, name):
        """Wait until the process has come to the failpoint it was started with."""
        wait_until(lambda: self.has_logged(name, "reached"), 20.0, what=f"{name} comes to its failpoint")

    def wait_for_waiting(self, name):
        """Wait until the process stands still because of ``held``."""
        application = "ordermq-relay" if name == "relay" else f"ordermq-consumer {name}"
        wait_until(lambda: self.value(_WAITING, application), 20.0, what=f"{name} waits for a lock")

    # --- the end ---

    def wait_at_rest(self, orders, timeout_s=40.0):
        """Wait until that many orders are at rest and nothing is under way."""

        def is_at_rest():
            try:
                found = self.rows(_AT_REST)[0]
            except OrderMQError as exc:
                if not exc.retryable:
                    raise
                return False
            return found == (orders, 0, 0)

        try:
            wait_until(is_at_rest, timeout_s, every_s=0.1)
        except TimeoutError as exc:
            found = self.rows(_AT_REST)[0]
            raise AssertionError(f"of {orders} orders, (at rest, outbox, being handled) are {found}") from exc

    def end_well(self, orders, timeout_s=40.0):
        """All orders come to rest, every process still runs and drains with 0, and everything agrees."""
        self.wait_at_rest(orders, timeout_s)
        ended = {name: process.exit_code for name, process in self._processes.items()}
        assert set(ended.values()) == {None}, f"a process ended by itself: {ended}"
        assert set(self.stop().values()) == {0}
        found = self.run("ordermq", "reconcile", "--json")
        report = json.loads(found.stdout)
        assert [check for check in report["checks"] if check["wrong"]] == []
        assert (found.returncode, report["ok"]) == (0, True)
        self.ok("ordermq", "projection", "rebuild", "--all", "--check")

    def close(self):
        self.rabbit.close()
        super().close()
        self.session.close()


class _Customers(threading.Thread):
    """Places orders at a constant rate, and tries again when one cannot be placed now."""

    def __init__(self, pipeline, orders, per_s):
        super().__init__(daemon=True)
        self.failure = None
        self._pipeline = pipeline
        self._orders = orders
        self._pace_s = 1 / per_s
        self._session = pipeline.open_session("customers")

    def run(self):
        pause = threading.Event()
        try:
            for order in self._orders:
                while not self._is_placed(order):
                    pause.wait(0.1)
                pause.wait(self._pace_s)
        except BaseException as exc:
            self.failure = exc
        finally:
            self._session.close()

    def _is_placed(self, order):
        try:
            self._pipeline.place([order], self._session)
        except OrderMQError as exc:
            if not exc.retryable:
                raise
            return False
        return True


def _argv(name):
    queue = name.partition(":")[0]
    if queue == "relay":
        return ("ordermq-relay",)
    return ("ordermq-consumer", "--queue", name, *(("--threads", THREADS[queue]) if queue in THREADS else ()))
