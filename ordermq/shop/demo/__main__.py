"""Place orders, run every process of the pipeline, wait until all are settled, reconcile."""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click

from ordermq.clock import monotonic_s
from ordermq.config.environment import inherited
from ordermq.errors import OrderConflict, OrderMQError
from ordermq.shop import ShopSettings, queries
from ordermq.shop.cancel import cancel_order
from ordermq.shop.demo.orders import OrderSource
from ordermq.shop.demo.report import DemoReport, Kinds, Latencies
from ordermq.shop.demo.serve import ServedDemo, faster_settings, typed
from ordermq.shop.demo.waiting import measure
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.refunding import refund_order
from ordermq.shop.saga import Status
from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.shop.stock import load_stock
from ordermq.store import Session
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.commands import program, run_command
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.fleet import Fleet
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import PrivateStack, locked_devstack
from ordermq.testing.stack.tool import run_tool

THREADS = {
    "inventory": 1, "payment": 16, "notify": 16, "email": 16, "points": 1, "shipping": 1, "dead": 1,
}  # fmt: skip
CANCEL_ONE_IN = 100  # customers who change their mind while the payment is under way
PAY_BACK_ONE_IN = 100  # customers who send a unit back, or keep it and get its price
LOOK_EVERY_S = 0.25
SAY_EVERY_S = 5.0
STUCK_AFTER_S = 120.0
SANDBOX = "ordermq.shop.sandbox.private:PrivateSandbox"
_KINDS = """
    SELECT (SELECT count(DISTINCT order_id) FROM shop.order_adjustments WHERE kind = 'discount'),
           count(*) FILTER (WHERE charge = 'free'), count(*) FILTER (WHERE charge = 'paid'),
           count(*) FILTER (WHERE status = 'completed' AND refunded_minor > 0),
           (SELECT count(*) FROM shop.notifications WHERE channel = 'text' AND state = 'sent'),
           (SELECT count(*) FROM shop.notifications WHERE channel = 'email' AND state = 'sent')
      FROM shop.orders
"""
# Of another unit each order would be paid back whole.
_RETURNABLE = """
    SELECT order_id FROM shop.orders AS o
     WHERE status = 'completed' AND pending = '{}' AND charge <> 'free' AND refunded_minor = 0
       AND (SELECT sum(quantity) FROM shop.order_items AS i WHERE i.order_id = o.order_id) > 1
     ORDER BY order_id LIMIT 2
"""
# The books agree, and each row of an order is what its events add up to.
_CHECKS = (["reconcile"], ["projection", "rebuild", "--all", "--check"])
EVER = datetime.min.replace(tzinfo=UTC)


@click.command()
@click.option(
    "--orders", "count", type=click.IntRange(1), default=2000, show_default=True, help="Number of orders."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the generated orders.")
@click.option("--input", "path", default="", help="Read the orders from this file, which may be gzipped.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["native", "olist"]),
    default="native",
    help="Format of the file.",
)
@click.option(
    "--build",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Folder of logs and figures.",
)
@click.option("--serve", is_flag=True, help="Keep running with Prometheus, and strike faults that are typed.")
@click.option(
    "--times",
    type=click.IntRange(1, 60),
    default=10,
    show_default=True,
    help="With --serve: by how much windows and ages of the alert rules are shorter.",
)
def demo(
    *, count: int, seed: int, path: str, format_: str, build: Path, serve: bool, times: int
) -> None:  # fmt: skip
    """Run the whole pipeline on COUNT orders and prove that nothing was lost or doubled."""
    if path and not Path(path).is_file():
        raise click.BadParameter(f"there is no file {path!r}", param_hint="INPUT")
    source = OrderSource(Path(path) if path else None, format_, count, seed)
    build.mkdir(exist_ok=True)
    (build / "demo.json").unlink(missing_ok=True)
    with ExitStack() as ends:
        say("starting the private stack (RabbitMQ, PostgreSQL, sandbox third parties)")
        stack = ends.enter_context(running_devstack(Path(".devstack")))
        made = Demo(source, build, stack, ends, settings=faster_settings(times) if serve else {})
        if serve:
            made.serve(times)
            return
        report = made.run()
    for line in report.lines():
        click.echo(line)
    (build / "demo.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
    click.echo(f"reconcile: {report.reconcile}")
    sys.exit(0 if report.reconcile == "OK" else 1)


class Demo:
    """One run on a running stack, in a virtual host, a database and a ledger of its own."""

    def __init__(
        self,
        source: OrderSource,
        build: Path,
        stack: PrivateStack,
        ends: ExitStack,
        *,
        settings: Mapping[str, str],
    ) -> None:
        self._source = source
        self._stack = stack
        self._name = name = f"demo_{os.getpid()}_{int(time.time())}"
        stack.broker.add_vhost(name)
        ends.callback(stack.broker.delete_vhost, name)
        stack.postgres.create_database(name)
        ends.callback(stack.postgres.drop_database, name)
        folder = ends.enter_context(own_folder(build / "demo"))
        self._place = Place(folder, folder, server_account())
        third_parties = Place.temporary(server_account())
        ends.callback(third_parties.wipe)
        self._sandbox = sandbox = PrivateSandbox(third_parties)
        ends.callback(sandbox.kill)
        sandbox.start()
        self._shop = ShopSettings(payment_url=sandbox.payment_url)
        self._env = inherited() | stack.environment() | {
            "ORDERMQ_BROKER_VHOST": name,
            "ORDERMQ_DATABASE_NAME": name,
            **sandbox.environment(),
            "ORDERMQ_CONSUMER_LEASE_S": "6",  # what a killed consumer left is taken over soon
            "ORDERMQ_CONSUMER_CALL_TIMEOUT_S": "3",
            "ORDERMQ_SHOP_CAPTURE_SETTLES_S": "8",
            "ORDERMQ_SHOP_GATEWAY_TIMEOUT_S": "1.5",  # some of the cards let a capture time out
        } | dict(settings)  # fmt: skip
        database = replace(stack.postgres.settings(), name=name)
        self._session = ends.enter_context(closing(Session(database, name="ordermq demo")))
        self._fleet = Fleet(self._place, THREADS, self._env)
        self._fleet.kill()  # what a demo left that was itself killed
        for old in folder.glob("*.*"):
            old.unlink()
        ends.callback(self._fleet.kill)
        self._cancelled = 0
        self._paid_back = 0

    def serve(self, times: int) -> None:
        """Run until ``quit`` is typed, watched by Prometheus."""
        self._prepare()
        place = Place.temporary(server_account())
        try:
            ServedDemo(
                self._stack, place, self._sandbox, self._fleet, self._session, vhost=self._name, times=times
            ).run(typed())
        finally:
            place.wipe()

    def _prepare(self) -> None:
        say("migrating, applying the topology, loading stock")
        run_command("ordermq", "db", "migrate", env=self._env)
        run_command("ordermq", "topology", "apply", env=self._env)

    def run(self) -> DemoReport:
        """Do everything; return the figures. Raises StackError if orders get stuck."""
        self._prepare()
        self._source.pay_some(HttpPaymentGateway.from_settings(self._shop))
        with self._session.transaction() as tx:
            load_stock(self._source.stock(), tx)
        say(f"starting the relay and {len(THREADS)} consumers, placing {self._source.count} orders")
        self._fleet.start()
        report = self._report(self._place_and_wait())
        say("letting customers wait, in line and not")
        waiting = measure(self._session, self._sandbox)
        failed = {name: code for name, code in self._fleet.stop().items() if code != 0}
        if failed:
            raise StackError(f"not every process drained and ended well: {failed}; see {self._place.state}")
        return replace(report, waiting=waiting, reconcile=self._reconcile())

    def _place_and_wait(self) -> dict[str, int]:
        publishing = OrderPublishing(self._source, self._place.state, self._env)
        publishing.start()
        changed_s = monotonic_s()
        seen: tuple[int, int] = (-1, -1)
        shown_s = 0.0
        with click.progressbar(length=self._source.count, label="settled", file=sys.stderr) as bar:
            while True:
                self._pay_back()
                settled, under_way, waiting = self._look()
                bar.update(settled - bar.pos)
                if not sys.stderr.isatty() and monotonic_s() - shown_s > SAY_EVERY_S:
                    shown_s = monotonic_s()
                    say(f"{max(settled, 0)} of {self._source.count} settled")
                if (settled, under_way) != seen:
                    seen, changed_s = (settled, under_way), monotonic_s()
                if not publishing.is_alive() and under_way == 0 and waiting == 0:
                    bar.update(self._source.count - bar.pos)
                    break
                if monotonic_s() - changed_s > STUCK_AFTER_S:
                    raise StackError(f"nothing moved for {STUCK_AFTER_S:.0f} s: {under_way} orders under way")
                self._fleet.keep_running()
                self._change_minds()
                time.sleep(LOOK_EVERY_S)
        return publishing.summary()

    def _look(self) -> tuple[int, int, int]:
        try:
            with self._session.transaction() as tx:
                counts = queries.count_by_status(tx)
                under_way = queries.count_under_way(tx)
                waiting = tx.fetch_one("SELECT count(*) FROM ordermq.outbox")
        except OrderMQError as exc:
            if not exc.retryable:
                raise
            return 0, -1, -1  # the database is being restarted; the next look tells
        return sum(counts.values()) - under_way, under_way, waiting[0] if waiting else 0

    def _change_minds(self) -> None:
        """Cancel an order whose payment is under way, now and then."""
        if self._cancelled >= self._source.count // CANCEL_ONE_IN:
            return
        try:
            with self._session.transaction() as tx:
                paying = tx.fetch_all("SELECT order_id FROM shop.payments WHERE state = 'intent' LIMIT 2")
                for (order_id,) in paying:
                    cancel_order(order_id, tx, "changed their mind")
                    self._cancelled += 1
        except OrderConflict:
            return  # it was paid in between
        except OrderMQError as exc:
            if not exc.retryable:
                raise

    def _pay_back(self) -> None:
        """Pay for a unit of a completed order back, now and then, every other time because it came back."""
        if self._paid_back >= max(1, self._source.count // PAY_BACK_ONE_IN):
            return
        try:
            with self._session.transaction() as tx:
                for (order_id,) in tx.fetch_all(_RETURNABLE):
                    came_back = self._paid_back % 2 == 0
                    refund_order(
                        order_id, tx, lines={1: 1}, restock=came_back, by="demo", reason="not as expected"
                    )
                    self._paid_back += 1
        except OrderConflict:
            return  # something else happened to it in between
        except OrderMQError as exc:
            if not exc.retryable:
                raise

    def _report(self, summary: dict[str, int]) -> DemoReport:
        self._fleet.keep_running()  # reads the last counters
        with self._session.transaction() as tx:
            counts = queries.count_by_status(tx)
            causes = queries.count_cancellations(tx)
            attention = tx.fetch_one("SELECT count(*) FROM shop.orders WHERE attention_reason IS NOT NULL")
            kinds = tx.fetch_one(_KINDS)
            latency = queries.latency(tx, since=EVER)
            span = tx.fetch_one(
                """SELECT extract(epoch FROM max(updated_at) - min(accepted_at))::float8
                     FROM shop.orders"""
            )
        seconds = span[0] if span and span[0] else 0.0
        counters = self._fleet.counters()
        return DemoReport(
            accepted=summary["accepted"],
            rejected=summary["rejected"],
            duplicates=summary["duplicate"],
            completed=counts[Status.COMPLETED],
            cancelled=counts[Status.CANCELLED],
            refunded=counts[Status.REFUNDED],
            seconds=round(seconds, 3),
            orders_per_s=round(summary["accepted"] / seconds, 1) if seconds else 0.0,
            latency_ms=Latencies(_ms(latency.p50_s), _ms(latency.p99_s)),
            published=counters["ordermq_published_total"],
            redelivered=counters["ordermq_redelivered_total"],
            restarts=self._fleet.restarts,
            attention=attention[0] if attention else 0,
            cancelled_by=causes,
            kinds=Kinds(*kinds) if kinds else None,
        )

    def _reconcile(self) -> str:
        found = [run_command("ordermq", *argv, env=self._env, check=False) for argv in _CHECKS]
        said = "".join(each.stdout + each.stderr for each in found)
        (self._place.state / "reconcile.txt").write_text(said)
        if any(each.returncode != 0 for each in found):
            click.echo(said, err=True)
            return "FAILED"
        return "OK"


class OrderPublishing(threading.Thread):
    """``ordermq-publish orders`` in a process of its own, fed from here; again if it was killed."""

    def __init__(self, source: OrderSource, folder: Path, env: dict[str, str]) -> None:
        super().__init__(name="demo-publish", daemon=True)
        self._source = source
        self._env = env
        self._errors = folder / "publish.log"
        rejects = folder / "rejects.jsonl"
        self._argv = [
            program("ordermq-publish"), "orders", "-", "--format", source.format,
            "--json", "--rejects", str(rejects),
        ]  # fmt: skip
        self._output = b""
        self._code: int | None = None

    def run(self) -> None:
        with self._errors.open("wb") as errors, subprocess.Popen(
            self._argv, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdin is not None  # noqa: S101 # it was asked to be a pipe
            assert process.stdout is not None  # noqa: S101 # so was this
            _feed(process.stdin, self._source.lines())
            self._output = process.stdout.read()
            self._code = process.wait()

    def summary(self) -> dict[str, int]:
        """Return its counts. Raises StackError if it failed, or if they do not add up."""
        self.join()
        if self._code != 0:
            raise StackError(f"ordermq-publish ended with {self._code}; see {self._errors}")
        counts: dict[str, int] = json.loads(self._output)
        parts = ("accepted", "duplicate", "cancelled", "skipped", "rejected")
        if counts["in"] != sum(counts[name] for name in parts):
            raise StackError(f"the counts of ordermq-publish do not add up: {counts}")
        return counts


def _feed(pipe: IO[bytes], lines: Iterable[bytes]) -> None:
    try:
        with pipe:
            for line in lines:
                pipe.write(line)
    except BrokenPipeError:
        return  # it ended early; its exit code and its log say why


@contextmanager
def running_devstack(state: Path) -> Iterator[PrivateStack]:
    """The checkout's stack, running; if a demo started it, the last demo to leave stops it."""
    with ExitStack() as ends:
        with locked_devstack(state, sandboxes=[SANDBOX]) as stack:
            users = ends.enter_context((state / "demo.users").open("a"))
            fcntl.flock(users, fcntl.LOCK_SH)
            if not all(row.state == "up" for row in stack.status()):
                stack.start()
                (state / "demo.started").touch()
        try:
            yield stack
        finally:
            with locked_devstack(state) as stack:
                fcntl.flock(users, fcntl.LOCK_UN)
                if (state / "demo.started").exists() and _is_last(users):
                    say("stopping the private stack")
                    (state / "demo.started").unlink()
                    stack.stop()


def _is_last(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """``path``, or beside it a folder that ends with this process, if another demo uses ``path``."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as other:
                yield Path(other)
            return
        yield path


def say(text: str) -> None:
    click.echo(f"demo: {text}", err=True)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(float(seconds) * 1000, 1)


if __name__ == "__main__":
    run_tool(demo, "demo")
