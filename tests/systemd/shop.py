"""The shop in the machine: broker, database, third parties, the services of ordermq, and its orders."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ordermq.testing import wait_until
from tests.chaos.counting import doubled_payments, repeated
from tests.systemd.machine import Machine

QUEUES = ("inventory", "payment", "notify", "email", "points", "shipping", "dead")
SERVICES = ("ordermq-relay.service", *(f"ordermq-consumer@{queue}.service" for queue in QUEUES))
ENABLE = ",".join(["relay", *(f"consumer@{queue}" for queue in QUEUES), "prune.timer", "reconcile.timer"])

#: Passwords that must stand in no environment.
BROKER_PASSWORD = "quibble-broker-5170"
DATABASE_PASSWORD = "quibble-database-5171"

OLD = "/opt/ordermq/bin"  # where the documentation of the release before installs
NEW = "/opt/ordermq/current/bin"

_SETTINGS = """\
[broker]
vhost = "shop"
username = "ordermq"
[database]
name = "shop"
[consumer]
lease_s = 6
call_timeout_s = 3
[shop]
payment_url = "http://127.0.0.1:8081/payment"
sms_url = "http://127.0.0.1:8081/sms"
mail_ledger_url = "http://127.0.0.1:8081/mail"
smtp_host = "127.0.0.1"
smtp_port = 8025
smtp_security = "none"
mail_from = "shop@shop.example"
capture_settles_s = 8
gateway_timeout_s = 1.5
"""

_SANDBOX = f"""\
[Unit]
Description=the third parties of the shop
[Service]
ExecStart={OLD}/python -m ordermq.shop.sandbox --port 8081 --smtp-port 8025 --data /var/lib/sandbox
StateDirectory=sandbox
Restart=always
[Install]
WantedBy=multi-user.target
"""

_SERVERS = f"""
install -d -m 0755 /var/lib/shop
pg_lsclusters -h | grep -q main || pg_createcluster "$(ls /usr/lib/postgresql)" main
systemctl enable --now postgresql rabbitmq-server
systemctl start "postgresql@$(ls /usr/lib/postgresql)-main"
rabbitmqctl await_startup --timeout 60
rabbitmqctl add_vhost shop
rabbitmqctl add_user ordermq <<<{BROKER_PASSWORD}
rabbitmqctl set_permissions -p shop ordermq '.*' '.*' '.*'
runuser -u postgres -- psql -q -v ON_ERROR_STOP=1 \
    -c "CREATE ROLE ordermq LOGIN PASSWORD '{DATABASE_PASSWORD}'" -c "CREATE DATABASE shop OWNER ordermq"
"""

# As deploy/README.md of the release before says.
_INSTALL_BEFORE = f"""
useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin ordermq
python3 -m venv /opt/ordermq
{OLD}/pip install --quiet --no-index --find-links /srv/kit/dist/wheels /srv/kit/before/ordermq-*.whl
install -d -m 0750 -g ordermq /etc/ordermq
install -d -m 0700 /etc/ordermq/credentials
install -m 0640 -g ordermq /dev/stdin /etc/ordermq/ordermq.toml
(umask 077; printf %s {BROKER_PASSWORD} > /etc/ordermq/credentials/broker_password)
(umask 077; printf %s {DATABASE_PASSWORD} > /etc/ordermq/credentials/database_password)
cp /opt/ordermq/share/ordermq/systemd/* /etc/systemd/system/
"""

# Of a person who works as root on this machine.
_AS_OPERATOR = """
export ORDERMQ_BROKER_PASSWORD_FILE=/etc/ordermq/credentials/broker_password
export ORDERMQ_DATABASE_PASSWORD_FILE=/etc/ordermq/credentials/database_password
"""

# The machine has no curl.
_GET = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", 8081, timeout=30)
connection.request("GET", sys.argv[1])
print(connection.getresponse().read().decode())
"""


class Shop:
    """The shop in ``machine``. ``folder`` keeps what its feeds of orders print."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self.placed = 0

    def install_before(self) -> None:
        """Install the release before this one by hand, and start everything."""
        run = self.machine.shell
        run(_SERVERS, timeout_s=240.0)
        run(_INSTALL_BEFORE, stdin=_SETTINGS)
        run("cat > /etc/systemd/system/sandbox.service", stdin=_SANDBOX)
        self.operate(OLD, "ordermq db migrate; ordermq topology apply")
        run("systemctl daemon-reload; systemctl enable --now sandbox")
        run(f"systemctl enable ordermq.target {' '.join(SERVICES)}")
        run("systemctl start ordermq.target", timeout_s=90.0)
        self.wait_for_services()

    def operate(self, programs: str, script: str, *, check: bool = True) -> str:
        """Run commands of ordermq as an operator does, from the folder ``programs``."""
        return self.machine.shell(f"PATH={programs}:$PATH\n{_AS_OPERATOR}\n{script}", check=check)

    def feed(self, programs: str, orders: int, *, rate: float, seed: int) -> "Feed":
        """Begin to place orders, ``rate`` a second."""
        file = f"/var/lib/shop/orders-{seed}.jsonl"
        self.operate(
            programs,
            f"ordermq-publish generate --orders {orders} --seed {seed} > {file}\n"
            # More than all feeds together ask for, because a load sets what ever came in.
            f"ordermq stock from-orders {file} | sed -E 's/,[0-9]+$/,1000000/' > {file}.csv\n"
            f"ordermq stock load {file}.csv",
        )
        self.placed += orders
        command = (
            f"PATH={programs}:$PATH\n{_AS_OPERATOR}\nordermq-publish orders {file} --rate {rate:g} --json"
        )
        return Feed(
            self.machine.start(command, self.folder / f"feed-{seed}.log"), self.folder / f"feed-{seed}.log"
        )

    def sql(self, query: str) -> str:
        """Return what a query prints."""
        return self.machine.run(
            "runuser", "-u", "postgres", "--", "psql", "-AtX", "shop", "-c", query
        ).strip()

    def finished(self) -> int:
        """Return how many orders nothing is to be done for any more."""
        return int(self.sql("SELECT count(*) FROM shop.orders WHERE NOT is_under_way"))

    def settle(self, timeout_s: float = 180.0) -> None:
        """Wait until every order that was placed is finished and the outbox is empty."""
        wait_until(
            lambda: self.finished() >= self.placed and self.sql("SELECT count(*) FROM ordermq.outbox") == "0",
            timeout_s, what=f"{self.placed} finished orders", every_s=0.5,
        )  # fmt: skip

    def account(self, programs: str) -> dict[str, int]:
        """Return how many orders were lost, doubled or need a person; reconcile must find nothing else."""
        found = wait_until(lambda: self._reconciled(programs), 60.0, what="reconcile: OK", every_s=2.0)
        assert found["ok"], found
        kept = self.sql("SELECT order_id FROM shop.orders").splitlines()
        attention = self.sql("SELECT count(*) FROM shop.orders WHERE attention_reason IS NOT NULL")
        return {"lost": self.placed - len(kept), "doubled": len(self._doubled()), "parked": int(attention)}

    def _doubled(self) -> list[str]:
        """Return what the third parties did twice, by their own books."""
        payments = [
            (each["order_id"], each["kind"], each["amount_minor"]) for each in self._ledger("payment")
        ]
        assert payments, "the payment service has no books"
        return [
            *doubled_payments(payments, {}),
            *repeated(each["reference"] for each in self._ledger("sms")),
            *repeated(each["message_id"] for each in self._ledger("mail")),
        ]

    def _ledger(self, service: str) -> list[dict[str, Any]]:
        said = self.machine.run("python3", "-c", _GET, f"/{service}/v1/ledger")
        return [json.loads(line) for line in said.splitlines() if line]

    def _reconciled(self, programs: str) -> dict[str, object]:
        said = self.operate(programs, "ordermq reconcile --json || true")
        found: dict[str, object] = json.loads(said)
        return found if found["ok"] else {}

    def wait_for_services(self, timeout_s: float = 60.0) -> None:
        """Wait until every service says that it is ready."""
        wait_until(lambda: not self.not_active(), timeout_s, what="active services", every_s=0.2)

    def not_active(self) -> list[str]:
        """Return the services that are not active."""
        said = self.machine.run("systemctl", "is-active", *SERVICES, check=False).split()
        return [name for name, state in zip(SERVICES, said, strict=True) if state != "active"]

    def main_pid(self, service: str) -> int:
        """Return the process of a service, as the machine numbers it."""
        return int(self.machine.show(service, "MainPID")["MainPID"])

    def interpreter(self, service: str) -> str:
        """Return the Python that a service runs."""
        return self.machine.shell(
            f"tr '\\0' '\\n' < /proc/{self.main_pid(service)}/cmdline | head -1"
        ).strip()


class Feed:
    """Orders that are being placed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def wait(self, timeout_s: float = 120.0) -> None:
        """Wait for the last order; every order must have been accepted."""
        code = self._process.wait(timeout_s)
        assert code == 0, f"placing orders ended with {code}: {self._log.read_text()[-2000:]}"
