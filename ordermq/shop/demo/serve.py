"""The demo that stays: orders come in, Prometheus and Alertmanager watch, and faults are struck by name."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import click

from ordermq.errors import OrderMQError
from ordermq.shop.intake.generate import generate
from ordermq.shop.place import place_orders
from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.shop.stock import load_stock
from ordermq.store import Session, outbox
from ordermq.testing.stack.fleet import Fleet
from ordermq.testing.stack.monitoring import PrivateAlertmanager, PrivatePrometheus, Targets, faster
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import PrivateStack

CONFIG = Path("config/prometheus")
ORDERS_A_SECOND = 10
LOOK_EVERY_S = 1.0
_KEEP_EVERY_S = 0.5
POISON = '{"order_id": 42, "amount": "much"'

HELP = """\
Type one of these, and Enter:
  {faults}
  heal     end what was struck
  alerts   what is raised now, and the command that explains it
  quit     stop everything"""


class Strike(NamedTuple):
    """A fault by its name: the alert that follows, and how it is struck."""

    alert: str
    strike: Callable[[], None]


class ServedDemo:
    """A pipeline that runs until it is told to stop, and what watches it."""

    def __init__(
        self, stack: PrivateStack, place: Place, sandbox: PrivateSandbox, fleet: Fleet, session: Session,
        *, vhost: str, times: int,
    ) -> None:  # fmt: skip
        """``times`` is by how much windows and ages of the rules are shorter than in production."""
        self._stack, self._sandbox, self._fleet, self._session = stack, sandbox, fleet, session
        self._vhost = vhost
        self._times = times
        self._stopping = threading.Event()
        self._is_held = False  # the relay was stopped by name
        self._alertmanager = PrivateAlertmanager(place, (CONFIG / "alertmanager.yml").read_text())
        targets: Targets = {
            "ordermq": [(each.metrics_address, {"process": each.name}) for each in fleet.members],
            "rabbitmq": [(f"127.0.0.1:{stack.broker.prometheus_port}", {})],
        }
        rules = faster((CONFIG / "rules.yml").read_text(), times)
        self._prometheus = PrivatePrometheus(place, targets, rules, alertmanager=self._alertmanager)
        self.strikes = {
            "gateway down": Strike("OrdermqBreakerOpen", self._gateway_down),
            "poison message": Strike("OrdermqNewDeadLetters", self._poison_message),
            "broker restart": Strike("OrdermqBrokerDown", self._broker_restart),
            "relay stopped": Strike("OrdermqNoActiveRelay", self._relay_stopped),
            "database paused": Strike("OrdermqNoActiveRelay", self._database_paused),
        }

    def run(self, lines: Iterator[str]) -> None:
        """Serve until a line says ``quit``, or there are no more."""
        with self._serving():
            click.echo(self._addresses())
            click.echo(HELP.format(faults="\n  ".join(self.strikes)))
            for line in lines:
                if (words := " ".join(line.split())) == "quit":
                    return
                self._obey(words)

    def firing(self) -> dict[str, str]:
        """Return the alerts that are raised now, each with the command that explains it."""
        rules = self._prometheus.rules()
        found = self._prometheus.query('ALERTS{alertstate="firing"}')
        names = {each.labels["alertname"] for each in found} - {"OrdermqWatchdog"}
        return {name: rules[name]["command"] for name in sorted(names)}

    def _obey(self, words: str) -> None:
        if words in self.strikes:
            strike = self.strikes[words]
            strike.strike()
            click.echo(f"{words}: watch for {strike.alert}; 'alerts' shows it, 'heal' ends it")
        elif words == "heal":
            self.heal()
            click.echo("healed")
        elif words == "alerts":
            for name, command in self.firing().items():
                click.echo(f"{name}: {command}")
            click.echo("that is all")
        elif words:
            click.echo(HELP.format(faults="\n  ".join(self.strikes)))

    def heal(self) -> None:
        """End every strike."""
        self._sandbox.behave("payment")
        self._stack.postgres.thaw()
        if self._stack.broker.process.pid is None:
            self._stack.broker.start()
        if self._is_held:
            self._is_held = False
            self._fleet["relay"].start()

    def _gateway_down(self) -> None:
        self._sandbox.behave("payment", error=1.0)

    def _poison_message(self) -> None:
        body = {"properties": {}, "routing_key": "payment", "payload": POISON, "payload_encoding": "string"}
        self._stack.broker.api("POST", f"exchanges/{self._vhost}/orders/publish", body)

    def _broker_restart(self) -> None:
        self._stack.broker.kill()
        threading.Timer(max(20.0, 300.0 / self._times), self.heal).start()

    def _relay_stopped(self) -> None:
        self._is_held = True
        self._fleet["relay"].stop()

    def _database_paused(self) -> None:
        self._stack.postgres.freeze()

    @contextmanager
    def _serving(self) -> Iterator[None]:
        threads = [threading.Thread(target=each, daemon=True) for each in (self._place_orders, self._keep)]
        try:
            with self._session.transaction() as tx:
                load_stock([(f"prod-{number:04}", 10**9) for number in range(1, 501)], tx)
            self._fleet.start()
            self._alertmanager.start()
            self._prometheus.start()
            for each in threads:
                each.start()
            yield
        finally:
            self._stopping.set()
            self.heal()
            for each in threads:
                each.join(10.0)
            self._prometheus.kill()
            self._alertmanager.kill()
            self._fleet.kill()

    def _addresses(self) -> str:
        lines = [f"Prometheus    {self._prometheus.url}", f"Alertmanager  {self._alertmanager.url}"]
        lines += [f"{each.name:<14}http://{each.metrics_address}/metrics" for each in self._fleet.members]
        if self._times != 1:
            lines.append(f"Every window and age in the rules is {self._times} times shorter here.")
        return "\n".join(lines)

    def _keep(self) -> None:
        while not self._stopping.wait(_KEEP_EVERY_S):
            self._fleet.keep_running(most=1000)

    def _place_orders(self) -> None:
        for number in count(1):
            orders = list(generate(ORDERS_A_SECOND, number))
            if self._stopping.wait(LOOK_EVERY_S):
                return
            try:
                with self._session.transaction() as tx:
                    place_orders(orders, tx)
                outbox.wake_relay(self._session)
            except OrderMQError as exc:
                if not exc.retryable:
                    raise


def faster_settings(times: int) -> dict[str, str]:
    """Return settings of every process that fit rules whose windows are so much shorter."""
    return {
        "ORDERMQ_OBSERVE_TABLES_EVERY_S": f"{max(0.5, 15 / times):g}",
        "ORDERMQ_SHOP_STUCK_AFTER_S": f"{600 / times:g}",
        # A database that hangs is noticed within these.
        "ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S": "5",
        "ORDERMQ_DATABASE_LOCK_TIMEOUT_S": "2",
    }


def typed() -> Iterator[str]:
    """Return the lines that are typed, as they come."""
    return iter(sys.stdin)
