"""A private RabbitMQ node: own ports, name, cookie, epmd and data; nothing of the system's is touched.

Traps this file steps around:

* ``RUNNING_UNDER_SYSTEMD`` makes the start script exec Erlang, so that the child is
  the broker itself. Otherwise a shell stays in between and exits 0 even when the
  broker was killed.
* A node without an epmd starts one as a daemon that outlives it. Ours is a child,
  started before the node.
* ``rabbitmqctl shutdown`` waits for the pid to vanish, which it does not while the
  parent, busy waiting for rabbitmqctl, has not reaped it. Signals are used instead.
"""

import base64
import http.client
import json
import secrets
import signal
import socket
import subprocess
from contextlib import closing
from typing import Any, Literal
from urllib.parse import quote

from ordermq.config.settings import BrokerSettings, Secret
from ordermq.testing import programs
from ordermq.testing.errors import StackError
from ordermq.testing.place import Place
from ordermq.testing.ports import free_ports, is_free, is_open
from ordermq.testing.process import ServerProcess
from ordermq.testing.server import PrivateServer
from ordermq.testing.wait import wait_until

NODE = "ordermq@localhost"
USER = "ordermq"
VHOST = "ordermq"
PORT_NAMES = ("amqp", "management", "prometheus", "dist", "epmd")
DISK_FREE_LIMIT = "1MB"
PLUGINS = "[rabbitmq_management,rabbitmq_prometheus]."

CONFIG = """\
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
default_user_tags.administrator = true
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
log.console = true
log.file = false
# A nearly full disk is not what a test is about; one that is about it lowers this itself.
disk_free_limit.absolute = {disk_free_limit}
# The default, 512 MB, is also how much memory quorum queues may hold.
raft.wal_max_size_bytes = 64000000
"""


class PrivateBroker(PrivateServer):
    """One RabbitMQ node and its epmd. A kill leaves the epmd, as a crash does on a real machine."""

    title = "RabbitMQ"

    def __init__(self, place: Place, *, extra_config: str = "") -> None:
        """``extra_config`` is appended to rabbitmq.conf at every start."""
        super().__init__(place, "broker")
        self._extra_config = extra_config
        self.epmd = ServerProcess(place, "epmd")

    # --- life ---------------------------------------------------------------

    def launch(self) -> None:
        """Start without waiting. Does nothing if it is running."""
        if self.process.pid is not None:
            return
        program, epmd = programs.rabbitmq("rabbitmq-server"), programs.epmd()
        self._settle()
        folder = self._place.given_folder("broker")
        env = self._environment()
        if self.epmd.pid is None:
            argv = [epmd, "-port", str(self._port("epmd")), "-address", "127.0.0.1"]
            self.epmd.start(argv, env=env, cwd=folder)
            wait_until(lambda: is_open(self._port("epmd")), 10.0, what="epmd answers")
        self.process.start([program], env=env, cwd=folder)

    def stop(self, timeout_s: float = 60.0) -> None:
        """Shut down cleanly, epmd too. Does nothing if it is down.

        Takes 1 s, and 5 s more because of the management plugin: connections and data are
        closed at once, but Erlang waits that long for one of the plugin's processes.
        """
        try:
            super().stop(timeout_s)
        finally:
            self.epmd.stop(signal.SIGTERM)

    def is_serving(self) -> bool:
        """Whether it speaks AMQP and the management API answers, now."""
        return self._speaks_amqp() and is_open(self.management_port)

    # --- where it is --------------------------------------------------------

    @property
    def port(self) -> int:
        """The AMQP port."""
        return self._port("amqp")

    @property
    def management_port(self) -> int:
        """The port of the management API and its pages."""
        return self._port("management")

    @property
    def epmd_port(self) -> int:
        """The port of the node's own port mapper."""
        return self._port("epmd")

    @property
    def management_url(self) -> str:
        """Base of the management API, without credentials."""
        return f"http://127.0.0.1:{self.management_port}"

    @property
    def metrics_url(self) -> str:
        """RabbitMQ's own Prometheus metrics."""
        return f"http://127.0.0.1:{self._port('prometheus')}/metrics"

    @property
    def username(self) -> str:
        return USER

    @property
    def password(self) -> str:
        return str(self._known["password"])

    def settings(self, vhost: str = VHOST) -> BrokerSettings:
        """How to connect to ``vhost`` as the administrator."""
        return BrokerSettings(
            hosts=(f"127.0.0.1:{self.port}",), vhost=vhost, username=USER, password=Secret(self.password)
        )

    # --- administration -----------------------------------------------------

    def add_vhost(self, name: str) -> None:
        """Create a vhost the administrator may use; 13 ms."""
        self.api("PUT", f"vhosts/{quote(name, safe='')}")
        self.set_permissions(USER, name)

    def delete_vhost(self, name: str) -> None:
        """Delete a vhost, closing its connections; not an error if there is none."""
        self.api("DELETE", f"vhosts/{quote(name, safe='')}", missing_ok=True)

    def add_user(self, name: str, password: str, tags: str = "") -> None:
        """Create a user, or give one a new password. It may use no vhost yet."""
        self.api("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": tags})

    def delete_user(self, name: str) -> None:
        self.api("DELETE", f"users/{quote(name, safe='')}", missing_ok=True)

    def set_permissions(
        self, user: str, vhost: str, *, configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> None:
        """Set what ``user`` may do in ``vhost``, each a regular expression over names."""
        path = f"permissions/{quote(vhost, safe='')}/{quote(user, safe='')}"
        self.api("PUT", path, {"configure": configure, "write": write, "read": read})

    def api(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        """Call the management API (``path`` below /api/) and return the answer's JSON, or None.

        Raises StackError with the answer if it is not a success; ``missing_ok`` forgives 404.
        """
        credentials = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        try:
            with closing(
                http.client.HTTPConnection("127.0.0.1", self.management_port, timeout=30)
            ) as connection:
                connection.request(method, f"/api/{path}", content, headers)
                answer = connection.getresponse()
                text = answer.read()
        except OSError as exc:
            raise StackError(f"{method} /api/{path}: the management API does not answer: {exc}") from exc
        if answer.status == 404 and missing_ok:
            return None
        if answer.status >= 300:
            raise StackError(f"{method} /api/{path}: {answer.status} {text.decode(errors='replace')[:300]}")
        return json.loads(text) if text else None

    def alarm(self, resource: Literal["disk", "memory"]) -> None:
        """Have the broker believe that it runs out of ``resource``: it blocks whoever publishes."""
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
        argv = [programs.rabbitmq("rabbitmqctl"), "-n", NODE, *args]
        try:
            done = subprocess.run(
                argv,
                env=self._environment(),
                cwd=self._place.given_folder("broker"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                **self._place.account.popen_arguments(),
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

    def _settle(self) -> None:
        # Passwords are for ever, ports for as long as nobody else has taken one meanwhile.
        if not self._known:
            self._known = {
                "password": secrets.token_urlsafe(24),
                "cookie": secrets.token_hex(20),
                "ports": dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True)),
            }
            self._write_home(self._known["cookie"])
        for name, port in self._known["ports"].items():
            ours = name == "epmd" and self.epmd.pid is not None
            if not ours and not is_free(port):
                self._known["ports"][name] = free_ports(1)[0]
        self._place.remember("broker", self._known)
        config = CONFIG.format(
            user=USER,
            password=self.password,
            vhost=VHOST,
            disk_free_limit=DISK_FREE_LIMIT,
            **self._known["ports"],
        )
        self._place.readable_file("rabbitmq.conf", config + self._extra_config)
        self._place.readable_file("enabled_plugins", PLUGINS)

    def _write_home(self, cookie: str) -> None:
        # Erlang reads the cookie of the account it runs as, and wants it closed to all others.
        folder = self._place.data / "home"
        folder.mkdir(mode=0o700)
        file = folder / ".erlang.cookie"
        file.write_text(cookie)
        file.chmod(0o400)
        self._place.account.give(file, folder)

    def _environment(self) -> dict[str, str]:
        data = self._place.data
        return {
            "PATH": programs.PATH,
            "HOME": str(data / "home"),
            "LANG": "C.UTF-8",
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._port("dist")),
            "RABBITMQ_MNESIA_BASE": str(data / "broker" / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data / "broker" / "log"),
            "RABBITMQ_LOG": "info,-color",
            "RABBITMQ_PID_FILE": str(data / "broker" / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
            # The system's rabbitmq-env.conf would put the system's settings over ours.
            "RABBITMQ_CONF_ENV_FILE": str(data / "no-rabbitmq-env.conf"),
            "ERL_EPMD_PORT": str(self._port("epmd")),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(data / "broker" / "erl_crash.dump"),
            # The distribution port listens on all addresses otherwise; schedulers that spin
            # while idle take the processor from what is being tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }

    def _speaks_amqp(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), 1.0)) as link:
                link.settimeout(5.0)
                link.sendall(b"AMQP\x00\x00\x09\x01")
                # A method frame on channel 0: connection.start. A refused header is echoed as "AMQP...".
                return bool(link.recv(1) == b"\x01")
        except OSError:
            return False
