"""Where a fault strikes: real processes on a virtual host, a database and third parties of their own."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from ordermq.config.environment import inherited
from ordermq.errors import OrderMQError
from ordermq.shop import ShopSettings
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.shop.stock import load_stock
from ordermq.store import Session
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.commands import run_command
from ordermq.testing.stack.fleet import Fleet, Member
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import PrivateStack, guarded
from ordermq.testing.stack.process import ServerProcess
from ordermq.topology.names import event_log
from tests.chaos.customers import Customers
from tests.chaos.fault import Fault
from tests.chaos.regrets import Regrets

QUEUES = ("inventory", "payment", "notify", "email", "points", "shipping")
THREADS = {"inventory": 1, "payment": 8, "notify": 8, "email": 4, "points": 1, "shipping": 1}
#: The member that forwards events to Kafka.
FORWARD = "forward"
STREAM = event_log("orders")
WARM_AT = 100
#: 64 and 78: what only a person can mend is not started again, as the systemd units say.
FINAL_CODES = frozenset({64, 78})

#: Leases and doubts end within seconds, so that a run does; everything else is as it is shipped.
SETTINGS = {
    "ORDERMQ_CONSUMER_LEASE_S": "4",
    "ORDERMQ_CONSUMER_CALL_TIMEOUT_S": "2",
    "ORDERMQ_SHOP_GATEWAY_TIMEOUT_S": "1.5",
    "ORDERMQ_SHOP_CAPTURE_SETTLES_S": "5",
    "ORDERMQ_SHOP_PAYMENT_GRACE_S": "3",
    "ORDERMQ_RETRY_BASE_S": "0.2",
    "ORDERMQ_RETRY_CAP_S": "3",
}

_FINISHED = "SELECT count(*) FROM shop.orders WHERE terminal_at IS NOT NULL"
_UNDER_WAY = """
    SELECT (SELECT count(*) FROM shop.orders
             WHERE is_under_way
               AND attention_reason IS NULL),
           (SELECT count(*) FROM ordermq.outbox),
           (SELECT count(*) FROM ordermq.leases) + (SELECT count(*) FROM ordermq.starts)
"""


class Broken(Exception):
    """The pipeline did not do what the run needs to go on; the text says what."""


class Arena:
    """The pipeline and everything a fault may reach for. ``open`` makes one."""

    def __init__(
        self,
        stack: PrivateStack,
        place: Place,
        sandbox: PrivateSandbox,
        *,
        name: str,
        fault: Fault,
        seed: int,
        rate: float,
        settings: Mapping[str, str],
    ) -> None:
        self.stack, self.broker, self.postgres = stack, stack.broker, stack.postgres
        self.place = place
        self.sandbox = sandbox
        self.name = name  # of the virtual host and of the database
        self.fault = fault
        self.seed = seed
        self.rate = rate
        self.random = Random(seed)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.healed_at_s: float | None = None
        self.wanted_dead: set[tuple[str, str]] = set()  # (queue, message_id)
        self.settings = replace(stack.postgres.settings(), name=name)
        self.env = inherited() | stack.environment() | {
            "ORDERMQ_CONFIG": "",
            "ORDERMQ_BROKER_VHOST": name,
            "ORDERMQ_DATABASE_NAME": name,
        } | sandbox.environment() | SETTINGS | dict(settings) | dict(fault.settings)  # fmt: skip
        self.session = Session(self.settings, name="chaos")
        self.fleet = Fleet(place, THREADS, self.env)
        self.customers = Customers(Session(self.settings, name="customers"), seed, rate)
        self.regrets = Regrets(Session(self.settings, name="regrets"))
        self._keeper = _Keeper(self.fleet)
        self.secrets = [stack.broker.password, stack.postgres.password]  # must stand in no log
        self.is_long = False
        self.ends = ExitStack()  # undoes what a fault has made
        self.say: Callable[[str], None] = lambda text: None

    # --- processes ----------------------------------------------------------

    @property
    def consumers(self) -> list[Member]:
        return [member for member in self.fleet.members if not member.name.startswith(("relay", FORWARD))]

    @property
    def forwarders(self) -> list[Member]:
        return [member for member in self.fleet.members if member.name == FORWARD]

    @property
    def relay(self) -> Member:
        return self.fleet["relay"]

    def start(self) -> None:
        """Start every process, wait until all are ready, let customers in and the first orders out."""
        self.customers.pay_before(
            HttpPaymentGateway.from_settings(ShopSettings(payment_url=self.sandbox.payment_url))
        )
        self.fleet.start()
        self._keeper.start()
        self.wait_ready()
        self.customers.start()
        self.regrets.start()
        self.wait_finished(WARM_AT)

    def wait_ready(self, *members: Member, timeout_s: float = 60.0) -> None:
        """Wait until these members, or all, say that they work."""
        for member in members or self.fleet.members:
            self.wait_until(member.is_ready, timeout_s, f"{member.name} is ready")

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = 120.0, **env: str) -> Any:
        """Run one of ordermq's commands to its end."""
        return run_command(
            *argv, env=self.env | env, stdin=stdin, cwd=self.place.state, timeout_s=timeout_s, check=False
        )

    def ok(self, *argv: str, **env: str) -> str:
        """Run one of ordermq's commands that must succeed; return what it printed."""
        return str(run_command(*argv, env=self.env | env, cwd=self.place.state).stdout)

    # --- time ---------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """Let the load go on. Raises what has gone wrong meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            threading.Event().wait(min(left, 0.5))

    def pause_between(self, least_s: float, most_s: float) -> None:
        self.pause(self.random.uniform(least_s, most_s))

    def wait_until(self, predicate: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Wait. Raises Broken if it does not come true, or what has gone wrong meanwhile."""

        def looked() -> Any:
            self.check()
            return predicate()

        try:
            return wait_until(looked, timeout_s, what=what, every_s=0.1)
        except TimeoutError as exc:
            raise Broken(str(exc)) from exc

    def healed(self) -> None:
        """Say that everything serves again, now: recovery counts from here."""
        self.healed_at_s = time.time()
        self.say("healed")

    def check(self) -> None:
        """Raise what has gone wrong in another thread."""
        for failure in (self.customers.failure, self.regrets.failure, self._keeper.failure):
            if failure is not None:
                raise failure

    # --- what is ------------------------------------------------------------

    def rows(self, sql: str, *params: object) -> list[Any]:
        with self.session.transaction() as tx:
            return list(tx.fetch_all(sql, params))

    def value(self, sql: str, *params: object) -> Any:
        return self.rows(sql, *params)[0][0]

    def finished(self) -> int:
        """Return how many orders have reached a terminal state; -1 while the database does not say."""
        try:
            return int(self.value(_FINISHED))
        except OrderMQError as exc:
            if not exc.retryable:
                raise
            return -1

    def wait_finished(self, more: int, timeout_s: float = 60.0) -> None:
        """Wait until ``more`` orders than now are finished."""
        goal = max(0, self.finished()) + more
        self.wait_until(lambda: self.finished() >= goal, timeout_s, f"{more} more orders finished")

    def under_way(self) -> tuple[int, int, int]:
        """Return orders not at rest, outbox rows, and messages being handled; -1 without a database."""
        try:
            found = self.rows(_UNDER_WAY)[0]
        except OrderMQError as exc:
            if not exc.retryable:
                raise
            return -1, -1, -1
        return int(found[0]), int(found[1]), int(found[2])

    def queues(self) -> dict[str, int]:
        """Return how many messages each queue holds, ready and unacked. The stream of events is none."""
        text = self.broker.ctl("list_queues", "-q", "-p", self.name, "name", "messages", "--no-table-headers")
        lines = (line.split("\t") for line in text.splitlines() if "\t" in line)
        return {name: int(count) for name, count in lines if name != STREAM}

    def logged(self, words: str, *members: Member) -> int:
        """Return how many lines of the members' logs hold ``words``."""
        return sum(
            member.log.read_text(errors="replace").count(words) for member in members or self.fleet.members
        )

    def expect(self, is_so: object, problem: str) -> None:
        """Note ``problem`` unless it is so."""
        if not is_so:
            self.problems.append(problem)

    def reconcile(self) -> dict[str, Any]:
        """Return what ``ordermq reconcile --json`` says, with its exit code as ``code``."""
        done = self.run("ordermq", "reconcile", "--json")
        try:
            return {**json.loads(done.stdout), "code": done.returncode}
        except ValueError:
            return {"ok": False, "checks": [], "code": done.returncode, "error": done.stderr[-400:]}

    # --- the end ------------------------------------------------------------

    def stop(self) -> dict[str, int | None]:
        """Drain every process that runs; return the exit codes."""
        self._keeper.end()
        running = {member.name for member in self.fleet.members if member.pid is not None}
        return {name: code for name, code in self.fleet.stop(40.0).items() if name in running}

    def close(self) -> None:
        self._keeper.end()
        self.fleet.kill()
        self.session.close()
        self.ends.close()


class _Keeper(threading.Thread):
    """Starts again what has ended, as systemd would, twice a second."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(name="keeper", daemon=True)
        self.failure: BaseException | None = None
        self._fleet = fleet
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(0.5):
            try:
                self._fleet.keep_running(finally_at=FINAL_CODES, most=200)
            except BaseException as exc:  # the runner's thread raises it
                self.failure = exc
                return

    def end(self) -> None:
        self._ending.set()
        if self.is_alive():
            self.join(30.0)


@contextmanager
def open_arena(
    stack: PrivateStack, fault: Fault, seed: int, logs: Path, *, rate: float, settings: Mapping[str, str]
) -> Iterator[Arena]:
    """Yield a prepared arena on a running stack; afterwards nothing of it runs, its logs lie in ``logs``."""
    name = f"chaos_{fault.name.lower()}_{seed}_{time.time_ns() % 10**8}"
    with ExitStack() as ends:
        place = Place.temporary(server_account())
        ends.enter_context(guarded(place))
        ends.callback(_keep_logs, place, stack, logs)
        sandbox = PrivateSandbox(place)
        ends.callback(sandbox.kill)
        sandbox.start()
        stack.broker.add_vhost(name)
        stack.postgres.create_database(name)
        arena = Arena(stack, place, sandbox, name=name, fault=fault, seed=seed, rate=rate, settings=settings)
        ends.enter_context(closing(arena))
        arena.ok("ordermq", "db", "migrate")
        arena.ok("ordermq", "topology", "apply")
        _load(arena.session)
        yield arena
        arena.close()
        stack.broker.delete_vhost(name)
        stack.postgres.drop_database(name)


def _load(session: Session) -> None:
    """Load stock enough for all, but of one product: some orders are to be turned away."""
    with session.transaction() as tx:
        load_stock([(f"prod-{n:04}", 150 if n == 3 else 10**7) for n in range(1, 501)], tx)


def _keep_logs(place: Place, stack: PrivateStack, logs: Path) -> None:
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    servers: Sequence[ServerProcess] = [part.process for part in stack.parts.values()]
    for log in [*place.state.glob("*.log"), *(each.log for each in servers if each.log.exists())]:
        shutil.copy(log, logs / log.name)
