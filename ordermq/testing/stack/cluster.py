"""A private RabbitMQ cluster: nodes that are killed, frozen and cut off one by one.

The nodes share password and cookie, find each other by the list of all, and pause in a
minority (``pause_minority``), as a production cluster should. Each has one scheduler, so
that three fit on a small machine; started together they take about 20 s.

Traps this file steps around:

* Nodes that are all down must be started together: one that was not the last to stop
  waits for the others before it serves.
* A node that pauses keeps its process; only its listeners go.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ordermq.config.settings import BrokerSettings
from ordermq.testing.stack.administration import VHOST, Administration
from ordermq.testing.stack.broker import PORT_NAMES, Node, PrivateBroker
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.networks import Networks
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.ports import free_ports
from ordermq.testing.stack.process import ServerProcess
from ordermq.testing.stack.release import Release, wanted_release
from ordermq.testing.wait import wait_until

CONFIG = """\
cluster_formation.peer_discovery_backend = classic_config
{nodes}
# Nodes started together on a busy machine see each other late.
cluster_formation.discovery_retry_limit = 120
cluster_partition_handling = pause_minority
# A node that is silent for this many seconds counts as gone; the default is 60.
net_ticktime = 5
"""


class PrivateCluster(Administration):
    """``count`` nodes at one place. Every method blocks; one thread at a time."""

    def __init__(
        self,
        place: Place,
        count: int = 3,
        *,
        networks: Networks | None = None,
        release: Release | None = None,
    ) -> None:
        """``networks`` give each node its own address and network; without them all are on 127.0.0.1."""
        self.networks = networks
        nodes = [self._node(number) for number in range(1, count + 1)]
        listed = [
            f"cluster_formation.classic_config.nodes.{n} = {node.name}" for n, node in enumerate(nodes, 1)
        ]
        config = CONFIG.format(nodes="\n".join(listed))
        epmd = None if networks else ServerProcess(place, "epmd")
        known = {
            "password": secrets.token_urlsafe(24),
            "cookie": secrets.token_hex(20),
            "release": (release or wanted_release()).name,
        }
        epmd_port = free_ports(1)[0]  # one number: each node asks the others' epmd under its own
        brokers = []
        for number, node in enumerate(nodes, 1):
            ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True)) | {"epmd": epmd_port}
            place.remember(f"broker-{number}", known | {"ports": ports})
            brokers.append(
                PrivateBroker(place, f"broker-{number}", node=node, epmd=epmd, extra_config=config)
            )
        self.nodes = tuple(brokers)

    # --- life ---------------------------------------------------------------

    def launch(self, nodes: Sequence[PrivateBroker] = ()) -> None:
        """Start these nodes, or all, without waiting. Does nothing to those that run."""
        for node in nodes or self.nodes:
            node.launch()

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until every node serves and sees all others. Raises StackError."""
        for node in self.nodes:
            node.wait_ready(timeout_s)
            # A node speaks AMQP before its start is complete; a vhost added then is never ready.
            node.ctl("await_startup", timeout_s=timeout_s)
        wait_until(
            lambda: len(self.running()) == len(self.nodes), timeout_s, what="all nodes are one cluster"
        )

    def start(self, timeout_s: float = 120.0) -> None:
        """Start what is down, all at once, and wait until they are one cluster."""
        self.launch()
        self.wait_ready(timeout_s)

    def stop(self, timeout_s: float = 60.0) -> None:
        """Shut every node down cleanly, and epmd."""
        for node in self.nodes:
            node.stop(timeout_s)
        self.nodes[0].epmd.stop()

    def kill(self) -> None:
        """SIGKILL every node and every epmd: for a cluster whose data is thrown away."""
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.epmd.kill()

    def is_serving(self) -> bool:
        """Whether every node answers, now."""
        return all(node.is_serving() for node in self.nodes)

    # --- where it is --------------------------------------------------------

    @property
    def password(self) -> str:
        return self.nodes[0].password

    @property
    def management_url(self) -> str:
        """Base of the management API of a node that serves."""
        return self._any_node().management_url

    def settings(self, vhost: str = VHOST) -> BrokerSettings:
        """How to connect to ``vhost`` as the administrator, at whichever node answers."""
        hosts = tuple(f"{node.address}:{node.port}" for node in self.nodes)
        return replace(self.nodes[0].settings(vhost), hosts=hosts, allow_plaintext=self.networks is not None)

    def running(self, seen_by: PrivateBroker | None = None) -> list[str]:
        """Names of the nodes that run, as one that serves sees it; empty if none answers."""
        try:
            found = (seen_by or self._any_node()).api("GET", "nodes")
        except StackError:
            return []
        return [each["name"] for each in found if each.get("running")]

    def leader(self, vhost: str, queue: str) -> PrivateBroker:
        """The node that leads a quorum queue, now. Raises StackError if none does."""
        leaders = {row[0]: row[1] for row in self._listed("list_queues", "-p", vhost, "name", "leader")}
        return self._named(leaders.get(queue, ""), f"leads queue {queue}")

    def is_replicated(self, vhost: str) -> bool:
        """Whether every quorum queue has all its members online: only then may a node go."""
        rows = self._listed("list_queues", "-p", vhost, "members", "online")
        return all(members.count("@") == online.count("@") for members, online in rows)

    def node_of(self, connection: str) -> PrivateBroker:
        """The node that a client is connected to, by the name the client gave to the connection."""
        rows = self._listed("list_connections", "pid", "client_properties")
        # The name of an Erlang process begins with its node: <ordermq1@localhost.1732.823.0>
        found = [pid.strip("<>").rsplit(".", 3)[0] for pid, said in rows if f'"{connection}"' in said]
        return self._named(found[0] if found else "", f"has a connection {connection}")

    # --- administration -----------------------------------------------------

    def api(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        return self._any_node().api(method, path, body, missing_ok=missing_ok)

    def ctl(self, *args: str, timeout_s: float = 60.0) -> str:
        """Run ``rabbitmqctl`` on a node that serves; see PrivateBroker."""
        return self._any_node().ctl(*args, timeout_s=timeout_s)

    # --- private ------------------------------------------------------------

    def _node(self, number: int) -> Node:
        if self.networks is None:
            return Node(f"ordermq{number}@localhost", erl_args="+S 1:1")
        address = self.networks.address(number)
        return Node(f"ordermq@{address}", address, self.networks.name(number), erl_args="+S 1:1")

    def _listed(self, *args: str) -> list[list[str]]:
        said = self.ctl(*args, "-q", "--no-table-headers")
        return [line.split("\t") for line in said.splitlines() if "\t" in line]

    def _any_node(self) -> PrivateBroker:
        for node in self.nodes:
            if node.is_serving():
                return node
        raise StackError("no node of the cluster serves")

    def _named(self, name: str, what: str) -> PrivateBroker:
        for node in self.nodes:
            if node.node == name:
                return node
        raise StackError(f"no node {what} now")
