"""The shop's pipeline on DBOS: an order is a workflow whose steps are kept, and go on where they stood."""

import threading
from functools import cache
from urllib.parse import quote

from dbos import DBOS, DBOSClient

from benchmarks.programs.job import answer, worker_job
from benchmarks.programs.peer_steps import Shop

JOB = worker_job()
QUEUE = "orders"
WORKERS = 8

shop = Shop(JOB["postgres"])


@DBOS.step()
def reserve_step(order_id: str) -> bool:
    return shop.reserve(order_id)


@DBOS.step()
def capture_step(order_id: str) -> bool:
    return shop.capture(order_id)


@DBOS.step()
def ship_step(order_id: str) -> None:
    shop.ship(order_id)


@DBOS.step()
def award_step(order_id: str) -> None:
    shop.award(order_id)


@DBOS.step()
def notify_step(order_id: str) -> None:
    shop.notify(order_id)


@DBOS.workflow(name="order")
def order(order_id: str) -> None:
    reserve_step(order_id)
    capture_step(order_id)
    ship_step(order_id)
    award_step(order_id)
    notify_step(order_id)


@cache
def _client() -> DBOSClient:
    return DBOSClient(system_database_url=_url())


def send(order_id: str) -> None:
    """Enqueue the workflow of an order."""
    options = {"workflow_name": "order", "queue_name": QUEUE, "workflow_id": order_id, "app_version": "1"}
    _client().enqueue(options, order_id)  # type: ignore[arg-type] # a TypedDict


def _url() -> str:
    postgres = JOB["postgres"]
    user, password = quote(postgres["user"]), quote(postgres["password"], safe="")
    return f"postgresql://{user}:{password}@{postgres['host']}:{postgres['port']}/{postgres['dbname']}"


def main() -> None:
    """Work until the process is ended."""
    DBOS(
        config={
            "name": "shop", "system_database_url": _url(), "executor_id": JOB["executor"],
            "application_version": "1", "log_level": "WARNING",
        }
    )  # fmt: skip
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=WORKERS, polling_interval_sec=0.1)
    answer(ready=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
