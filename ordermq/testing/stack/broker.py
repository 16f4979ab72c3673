"""A private RabbitMQ node: its own ports, name, cookie, epmd and data, apart from the system's broker.

Traps this file steps around:

* ``RUNNING_UNDER_SYSTEMD`` makes the start script exec Erlang, so that the child is
  the broker itself. Otherwise a shell stays in between and exits 0 even when the
  broker was killed.
* A node without an epmd starts one as a daemon that outlives it. Ours is a child,
  started before the node.
* ``rabbitmqctl shutdown`` waits for the pid to vanish, which it does not while the
  parent, busy waiting for rabbitmqctl, has not reaped it. Signals are used instead.
"""

import secrets
import signal
import socket
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ordermq.config.settings import BrokerSettings, Secret
from ordermq.testing.stack.administration import USER, VHOST, Administration, call_api
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.ports import free_ports, is_free, is_open
from ordermq.testing.stack.process import ServerProcess
from ordermq.testing.stack.programs import PATH
from ordermq.testing.stack.release import INSTALLED, Release, release_named, wanted_release
from ordermq.testing.stack.server import PrivateServer
from ordermq.testing.wait import wait_until

PORT_NAMES = ("amqp", "management", "prometheus", "dist", "epmd")
DISK_FREE_LIMIT = "1MB"
PLUGINS = "[rabbitmq_auth_mechanism_ssl,rabbitmq_management,rabbitmq_prometheus]."

CONFIG = """\
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
default_user_tags.administrator = true
management.tcp.ip = {address}
management.tcp.port = {management}
prometheus.tcp.ip = {address}
prometheus.tcp.port = {prometheus}
log.console = true
log.file = false
# A nearly full disk must not disturb a test; a test of full disks sets this limit itself.
disk_free_limit.absolute = {disk_free_limit}
# The default, 512 MB, is also how much memory quorum queues may hold.
raft.wal_max_size_bytes = 64000000
"""


@dataclass(frozen=True)
class Node:
    """Who a node is, and where it listens."""

    name: str = "ordermq@localhost"
    address: str = "127.0.0.1"
    #: Network namespace it runs in; empty: the machine's network.
    network: str = ""
    #: More arguments for Erlang.
    erl_args: str = ""


class PrivateBroker(Administration, PrivateServer):
    """One RabbitMQ node and its epmd. A kill leaves the epmd, as a crash does on a real machine."""

    title = "RabbitMQ"

    def __init__(
        self,
        place: Place,
        name: str = "broker",
        *,
        node: Node | None = None,
        epmd: ServerProcess | None = None,
        release: Release | None = None,
        extra_config: str = "",
    ) -> None:
        """Files and folders of it at ``place`` begin with ``name``. ``epmd`` is one that several nodes share.

        ``release`` is by default what it was before, and for a new one what the environment
        asks for. ``extra_config`` is appended to rabbitmq.conf at every start. Raises
        StackError if its data is of another release: RabbitMQ goes neither way from one to the other.
        """
        super().__init__(place, name)
        before = release_named(self._known.get("release", INSTALLED)) if self._known else None
        if before and release and release != before:
            raise StackError(
                f"the {name} in {place.state} has the data of RabbitMQ {before.version} ({before.name}),"
                f" not of {release.name}; 'devstack down --wipe' deletes it"
            )
        self.release = release or before or wanted_release()
        self._name = name
        self._node = node or Node()
        self._extra_config = extra_config
        self._shares_epmd = epmd is not None
        self.epmd = epmd or ServerProcess(place, "epmd" if name == "broker" else f"{name}-epmd")
        self._enclosure = self.release.enclosure(self._node.network)

    # --- life ---------------------------------------------------------------

    def launch(self) -> None:
        """Start without waiting. Does nothing if it is running."""
        if self.process.pid is not None:
            return
        program, epmd = self.release.rabbitmq("rabbitmq-server"), self.release.epmd()
        self._choose_ports()
        if self.epmd.pid is None:
            argv = [epmd, "-port", str(self._port("epmd")), "-address", self.address]
            self._start(self.epmd, argv)
            wait_until(lambda: is_open(self._port("epmd"), address=self.address), 10.0, what="epmd answers")
        self._start(self.process, [program])

    def stop(self, timeout_s: float = 60.0) -> None:
        """Shut down cleanly, epmd too. Does nothing if it is down.

        Takes 1 s, and 5 s more because of the management plugin: connections and data are
        closed at once, but Erlang waits that long for one of the plugin's processes.
        """
        try:
            super().stop(timeout_s)
        finally:
            if not self._shares_epmd:
                self.epmd.stop(signal.SIGTERM)

    def is_serving(self) -> bool:
        """Whether it speaks AMQP and the management API answers, now."""
        return self._speaks_amqp() and self._is_managed()

    # --- where it is --------------------------------------------------------

    @property
    def node(self) -> str:
        """Its name in Erlang's distribution."""
        return self._node.name

    @property
    def address(self) -> str:
        """Where its ports are."""
        return self._node.address

    @property
    def port(self) -> int:
        """The AMQP port."""
        return self._port("amqp")

    @property
    def management_port(self) -> int:
        """The port of the management API and its pages."""
        return self._port("management")

    @property
    def prometheus_port(self) -> int:
        """The port of its metrics for Prometheus."""
        return self._port("prometheus")

    @property
    def epmd_port(self) -> int:
        """The port of the node's own port mapper."""
        return self._port("epmd")

    @property
    def management_url(self) -> str:
        """Base of the management API, without credentials."""
        return f"http://{self.address}:{self.management_port}"

    @property
    def username(self) -> str:
        return USER

    @property
    def password(self) -> str:
        return str(self._known["password"])

    def settings(self, vhost: str = VHOST) -> BrokerSettings:
        """How to connect to ``vhost`` as the administrator."""
        return BrokerSettings(
            hosts=(f"{self.address}:{self.port}",), vhost=vhost, username=USER, password=Secret(self.password)
        )

    # --- administration -----------------------------------------------------

    def api(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        url, password = self.management_url, self.password
        return call_api(url, password, method=method, path=path, body=body, missing_ok=missing_ok)

    def alarm(self, resource: Literal["disk", "memory"]) -> None:
        """Make the broker believe that it runs out of ``resource``, so that it blocks publishers."""
        if resource == "disk":
            self.ctl("set_disk_free_limit", "1000GB")
        else:
            self.ctl("set_vm_memory_high_watermark", "0.00001")

    def clear_alarms(self) -> None:
        """End every ``alarm``; not an error if there is none."""
        self.ctl("set_disk_free_limit", DISK_FREE_LIMIT)
        self.ctl("set_vm_memory_high_watermark", "0.4")

    def ctl(self, *args: str, timeout_s: float = 60.0) -> str:
        """Run ``rabbitmqctl`` on this node and return what it printed; about 0.4 s.

        Raises StackError when it fails, and for ``shutdown`` and ``stop``, which hang when
        called from the node's parent: use ``stop()``.
        """
        if args and args[0] in {"shutdown", "stop"}:
            raise StackError(
                f"rabbitmqctl {args[0]} hangs when the node is our child; use PrivateBroker.stop()"
            )
        argv = [self.release.rabbitmq("rabbitmqctl"), "-n", self.node, *args]
        try:
            done = subprocess.run(
                self._enclosure.command(argv, self._place.account),
                env=self._environment(),
                cwd=self._place.given_folder(self._name),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                **({} if self._enclosure.is_entered else self._place.account.popen_arguments()),
            )
        except subprocess.TimeoutExpired as exc:
            raise StackError(f"rabbitmqctl {' '.join(args)}: no end within {timeout_s:g} s") from exc
        if done.returncode != 0:
            raise StackError(
                f"rabbitmqctl {' '.join(args)}: exit {done.returncode}: {done.stderr.strip()[-500:]}"
            )
        return str(done.stdout)

    # --- private ------------------------------------------------------------

    def _port(self, name: str) -> int:
        return int(self._known["ports"][name])

    def _start(self, process: ServerProcess, argv: list[str]) -> None:
        process.start(
            self._enclosure.command(argv, self._place.account),
            env=self._environment(),
            cwd=self._place.given_folder(self._name),
            as_self=self._enclosure.is_entered,
        )

    def _choose_ports(self) -> None:
        # Passwords stay; a port stays unless another process has taken it meanwhile.
        if not self._known:
            self._known = {
                "password": secrets.token_urlsafe(24),
                "cookie": secrets.token_hex(20),
                "release": self.release.name,
                "ports": dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True)),
            }
        if not self._home.exists():
            self._write_home(self._known["cookie"])
        for name, port in self._known["ports"].items():
            ours = name == "epmd" and self.epmd.pid is not None
            if not (ours or self._node.network or is_free(port)):
                self._known["ports"][name] = free_ports(1)[0]
        self._place.remember(self._name, self._known)
        config = CONFIG.format(
            user=USER,
            password=self.password,
            vhost=VHOST,
            address=self.address,
            disk_free_limit=DISK_FREE_LIMIT,
            **self._known["ports"],
        )
        self._place.readable_file(f"{self._name}.conf", config + self._extra_config)
        self._place.readable_file("enabled_plugins", PLUGINS)

    @property
    def _home(self) -> Path:
        return self._place.data / f"{self._name}-home"

    def _write_home(self, cookie: str) -> None:
        # Erlang reads the cookie of the account it runs as, and wants it closed to all others.
        self._home.mkdir(mode=0o700)
        file = self._home / ".erlang.cookie"
        file.write_text(cookie)
        file.chmod(0o400)
        self._place.account.give(file, self._home)

    def _environment(self) -> dict[str, str]:
        data = self._place.data
        folder = data / self._name
        interface = self.address.replace(".", ",")
        return {
            "PATH": PATH,
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": self.node,
            # Erlang calls a name with a dot a long name.
            "RABBITMQ_USE_LONGNAME": str("." in self.node).lower(),
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._port("dist")),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOG": "info,-color",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(data / f"{self._name}.conf"),
            # The system's rabbitmq-env.conf would put the system's settings over ours.
            "RABBITMQ_CONF_ENV_FILE": str(data / "no-rabbitmq-env.conf"),
            "ERL_EPMD_PORT": str(self._port("epmd")),
            "ERL_EPMD_ADDRESS": self.address,
            "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
            # The distribution port listens on all addresses otherwise; schedulers that spin
            # while idle take the processor from what is being tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-kernel inet_dist_use_interface {{{interface}}}"
                f" +sbwt none +sbwtdcpu none +sbwtdio none {self._node.erl_args}"
            ),
        }

    def _is_managed(self) -> bool:
        try:
            self.api("GET", "overview")
        except StackError:  # also its 500 of the first tenth of a second
            return False
        return True

    def _speaks_amqp(self) -> bool:
        try:
            with closing(socket.create_connection((self.address, self.port), 1.0)) as link:
                link.settimeout(5.0)
                link.sendall(b"AMQP\x00\x00\x09\x01")
                # A method frame on channel 0: connection.start. A refused header is echoed as "AMQP...".
                return bool(link.recv(1) == b"\x01")
        except OSError:
            return False
