"""The order pipeline of each contender, running on a ground, with the same tables and the same stock."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.case import Missing, Wrong
from benchmarks.checkout import HERE, Checkout
from benchmarks.ground import Ground
from benchmarks.processes import MeasuredProcess, Processes
from benchmarks.programs.postgres_shop import START_LOCK
from ordermq.shop.stock import load_stock
from ordermq.store import Session

WARM_UP = 20
WARM_SEED, SEED = 1, 2
_PARTS = 2  # processes of PostgreSQL alone

_HANDLERS = "benchmarks.programs.shop"
_DRAMATIQ = (sys.executable, "-m", "dramatiq", "benchmarks.programs.dramatiq_shop")
_QUEUES = ("inventory", "payment", "notify", "points", "shipping")

ORDERMQ = "one process a queue, 1 thread, external handlers 8; relay; all else as shipped"
CELERY = (
    "acks_late, confirm_publish, quorum queues (programs/celery_app.py); a process a queue, 4 threads each"
)
DRAMATIQ = (
    "confirm_delivery, quorum queues (programs/dramatiq_app.py); 2 processes, 8 threads each, all queues"
)
PGMQ = (
    "no broker, no inbox, no retries: read, the shop's handlers, send and delete in one transaction"
    " (programs/pgmq_shop.py); a process a queue, 200 messages a read"
)
POSTGRES_ALONE = (
    "no queue at all: the shop's handlers, a transaction a step and 200 orders (programs/postgres_shop.py);"
    " 2 processes"
)
DBOS = "no broker: an order is a workflow of five steps (programs/dbos_shop.py); 2 processes"
PROCRASTINATE = (
    "no broker: a job a step (programs/procrastinate_shop.py); 2 processes, 8 jobs at once each, all queues"
)


@dataclass(frozen=True)
class Shop:
    """A pipeline that is running."""

    processes: Processes
    peer: str
    session: Session

    def value(self, sql: str, *params: Any) -> Any:
        """Return the one value a query finds."""
        with self.session.transaction() as tx:
            row = tx.fetch_one(sql, params)
        return row[0] if row else None

    def wait_finished(self, count: int) -> None:
        """Wait until so many orders have come to their end. Raises ProgramFailed; of a few after 40 s."""
        self.processes.wait(
            lambda: self.value("SELECT count(*) FROM shop.orders WHERE terminal_at IS NOT NULL") >= count,
            40.0 + count / 10,
            f"{count} orders are finished",
            every_s=0.1,
        )

    def place_all(self, count: int, seed: int = SEED) -> None:
        """Take ``count`` orders at once, and wait for the last to be finished."""
        before = self.value("SELECT count(*) FROM shop.orders")
        self.processes.run("place_all", peer=self.peer, count=count, seed=seed)
        self.wait_finished(before + count)

    def check(self) -> None:
        """Raise Wrong unless every order has had every effect, once."""
        with self.session.transaction() as tx:
            for what, sql in _MUST_BE_NONE.items():
                if row := tx.fetch_one(sql):
                    raise Wrong(f"{what}: {row[0]}")


_MUST_BE_NONE = {
    "an order that is not completed": "SELECT order_id FROM shop.orders WHERE status <> 'completed'",
    "an order without its events": """
        SELECT order_id FROM shop.orders AS o
         WHERE version <> 6 OR version <> (SELECT count(*) FROM shop.order_events WHERE order_id = o.order_id)
    """,
    "an order whose money was not taken": """
        SELECT order_id FROM shop.orders LEFT JOIN shop.payments AS p USING (order_id)
         WHERE p.state IS DISTINCT FROM 'captured' OR p.amount_minor <> total_minor
    """,
    "an order whose customer was not told": """
        SELECT order_id FROM shop.orders LEFT JOIN shop.notifications AS n USING (order_id)
         WHERE n.state IS DISTINCT FROM 'sent'
    """,
    "an order without points or a shipment": """
        SELECT order_id FROM shop.orders LEFT JOIN shop.points AS p USING (order_id)
          LEFT JOIN shop.shipments AS s USING (order_id)
         WHERE p.order_id IS NULL OR s.order_id IS NULL
    """,
    "a product whose stock is not what the orders took": """
        SELECT product_id FROM shop.stock LEFT JOIN (
            SELECT product_id, sum(quantity) AS units FROM shop.order_items GROUP BY product_id
        ) AS sold USING (product_id)
         WHERE shipped <> coalesce(units, 0) OR reserved <> 0
    """,
}


@contextmanager
def ordermq_shop(ground: Ground, checkout: Checkout = HERE) -> Iterator[Shop]:
    """The relay and one consumer a queue, as ``make demo`` runs them, but for the services outside."""
    ground.command(checkout.program("ordermq"), "topology", "apply")
    with _shop(ground, "", checkout) as shop:
        shop.processes.start_command("relay", "ordermq-relay", ORDERMQ_MODULES=_HANDLERS)
        for queue in _QUEUES:
            threads = "8" if queue in ("payment", "notify") else "1"
            shop.processes.start_command(
                queue, "ordermq-consumer", "--queue", queue, "--threads", threads,
                ORDERMQ_MODULES=_HANDLERS,
            )  # fmt: skip
        _warm_up(shop)
        yield shop


@contextmanager
def celery_shop(ground: Ground) -> Iterator[Shop]:
    with _shop(ground, "celery") as shop:
        for queue in _QUEUES:
            shop.processes.start_module(
                queue, "celery", "-A", "benchmarks.programs.celery_shop", "worker", "-Q", queue,
                "-n", f"{queue}@%h", "-P", "threads", "-c", "4", "-l", "WARNING",
                "--without-gossip", "--without-mingle", "--without-heartbeat", peer="celery",
            )  # fmt: skip
        _warm_up(shop)
        yield shop


@contextmanager
def dramatiq_shop(ground: Ground) -> Iterator[Shop]:
    with _shop(ground, "dramatiq") as shop:
        shop.processes.start(
            "dramatiq",
            [*_DRAMATIQ, "--processes", "2", "--threads", "8"],
            peer="dramatiq",
        )
        _warm_up(shop)
        yield shop


@contextmanager
def pgmq_shop(ground: Ground) -> Iterator[Shop]:
    install = _optional("pgmq.install")
    with _shop(ground, "pgmq") as shop:
        with shop.session.transaction() as tx:
            tx.execute(install.get_embedded_install_sql())
            for queue in _QUEUES:
                tx.fetch_all("SELECT pgmq.create(%s)", (queue,))
        for queue in _QUEUES:
            shop.processes.start_module(queue, "benchmarks.programs.pgmq_shop", queue)
        _warm_up(shop)
        yield shop


@contextmanager
def postgres_shop(ground: Ground) -> Iterator[Shop]:
    with _shop(ground, "") as shop:
        alone = PostgresAlone(shop.processes, shop.peer, shop.session)
        _warm_up(alone)
        yield alone


@contextmanager
def procrastinate_shop(ground: Ground) -> Iterator[Shop]:
    _optional("procrastinate")
    with _shop(ground, "procrastinate") as shop:
        app = ("procrastinate", "--app=benchmarks.programs.procrastinate_shop.app")
        schema = shop.processes.start_module("schema", *app, "schema", "--apply", is_lasting=False)
        shop.processes.wait_ended(schema, 60.0)
        for number in range(2):
            shop.processes.start_module(
                f"worker-{number}", *app, "worker", "--concurrency", "8", "--delete-jobs", "successful"
            )
        _warm_up(shop)
        yield shop


@contextmanager
def dbos_shop(ground: Ground) -> Iterator[Shop]:
    _optional("dbos")
    with _shop(ground, "dbos") as shop:
        for number in range(2):
            process = shop.processes.start_module(
                "dbos", "benchmarks.programs.dbos_shop", executor=str(number)
            )
            # The first makes its tables.
            shop.processes.wait(lambda log=process.log: "ready" in log.read_text(), 60.0, "DBOS is ready")
        _warm_up(shop)
        yield shop


def _optional(module: str) -> Any:
    """Return a module of the extra ``bench``. Raises Missing."""
    try:
        return import_module(module)
    except ImportError as exc:
        raise Missing(f"{exc}; pip install 'ordermq[bench]'") from exc


class PostgresAlone(Shop):
    """Orders without a queue: whoever takes them does their steps."""

    def place_all(self, count: int, seed: int = SEED) -> None:
        before = self.value("SELECT count(*) FROM shop.orders")
        with self.session.transaction() as tx:
            tx.execute("SELECT pg_advisory_xact_lock(%s)", (START_LOCK,))
            parts = [
                self.processes.start_module(
                    "postgres_shop", "benchmarks.programs.postgres_shop", is_lasting=False,
                    count=count, seed=seed, part=part, parts=_PARTS,
                )
                for part in range(_PARTS)
            ]  # fmt: skip
            waiting = "SELECT count(*) = %s FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            self.processes.wait(lambda: tx.fetch_one(waiting, (_PARTS,)) == (True,), 60.0, "both parts")
        for each in parts:
            self.processes.wait_ended(each, 300.0)
        self.wait_finished(before + count)


def another_consumer(shop: Shop, name: str) -> MeasuredProcess:
    """Start one more consumer of the first step's queue, or of all queues where theirs do that."""
    processes = shop.processes
    match name:
        case "ordermq":
            return processes.start_command(
                "another", "ordermq-consumer", "--queue", "inventory:another", ORDERMQ_MODULES=_HANDLERS
            )
        case "dramatiq":
            return processes.start(
                "another", [*_DRAMATIQ, "--processes", "1", "--threads", "8"], peer="dramatiq"
            )
        case "pgmq":
            return processes.start_module("another", "benchmarks.programs.pgmq_shop", "inventory")
        case "dbos":
            return processes.start_module("another", "benchmarks.programs.dbos_shop", executor="another")
    raise KeyError(name)


#: By contender: how to open its shop, and how it is configured.
SHOPS: dict[str, tuple[Callable[[Ground], Any], str]] = {
    "ordermq": (ordermq_shop, ORDERMQ),
    "celery": (celery_shop, CELERY),
    "dramatiq": (dramatiq_shop, DRAMATIQ),
}
WITHOUT_BROKER: dict[str, tuple[Callable[[Ground], Any], str]] = {
    "dbos": (dbos_shop, DBOS),
    "procrastinate": (procrastinate_shop, PROCRASTINATE),
    "pgmq": (pgmq_shop, PGMQ),
    "postgres_alone": (postgres_shop, POSTGRES_ALONE),
}


@contextmanager
def _shop(ground: Ground, peer: str, checkout: Checkout = HERE) -> Iterator[Shop]:
    ground.command(checkout.program("ordermq"), "db", "migrate")
    with (
        closing(Session(ground.database, name="benchmark")) as session,
        Processes(ground, checkout) as processes,
    ):
        with session.transaction() as tx:
            load_stock([(f"prod-{n:04}", 10**9) for n in range(1, 501)], tx)
        yield Shop(processes, peer, session)


def _warm_up(shop: Shop) -> None:
    # Whoever has finished some is wholly started, whatever starting means to it.
    shop.place_all(WARM_UP, seed=WARM_SEED)
