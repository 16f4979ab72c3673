"""How each contender takes an order: the caller's transaction, then whatever gets its first message out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.programs import pgmq_shop
from benchmarks.programs.direct import Database
from benchmarks.programs.peer_steps import Shop
from ordermq.config.settings import DatabaseSettings, Secret
from ordermq.shop import Order, place_orders
from ordermq.store import Session, outbox


class Taker(ABC):
    """Takes orders in one transaction; ``send`` follows once they are committed."""

    @abstractmethod
    def place(self, orders: Sequence[Order]) -> None:
        """Commit the orders."""

    @abstractmethod
    def send(self, orders: Sequence[Order]) -> None:
        """Let the first message of each go out, if the commit has not seen to that."""


class OrderMQ(Taker):
    """The first messages are in the outbox when the orders are; the relay is woken."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._session = session_of(job)

    def place(self, orders: Sequence[Order]) -> None:
        with self._session.transaction() as tx:
            place_orders(orders, tx)

    def send(self, orders: Sequence[Order]) -> None:
        outbox.wake_relay(self._session)


class Peer(Taker):
    """The first messages are sent one by one, each confirmed, after the commit."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._shop = Shop(job["postgres"])
        module = import_module(f"benchmarks.programs.{job['peer']}_shop")
        self._send = getattr(module, "send", None) or getattr(
            module.reserve, "delay" if job["peer"] == "celery" else "send"
        )

    def place(self, orders: Sequence[Order]) -> None:
        self._shop.place(orders)

    def send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._send(order.order_id)


class Pgmq(Taker):
    """The first messages are sent in the transaction of the orders."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._database = Database(job)

    def place(self, orders: Sequence[Order]) -> None:
        with self._database.transaction() as tx:
            place_orders(orders, tx)
            pgmq_shop.send(tx)

    def send(self, orders: Sequence[Order]) -> None: ...


def taker_of(job: dict[str, Any]) -> Taker:
    match job["peer"]:
        case "":
            return OrderMQ(job)
        case "pgmq":
            return Pgmq(job)
        case _:
            return Peer(job)


def session_of(job: dict[str, Any]) -> Session:
    """Return a session on the job's database."""
    postgres = job["postgres"]
    return Session(
        DatabaseSettings(
            host=postgres["host"], port=postgres["port"], name=postgres["dbname"],
            username=postgres["user"], password=Secret(postgres["password"]), sslmode="disable",
        ),
        name="benchmark",
    )  # fmt: skip
