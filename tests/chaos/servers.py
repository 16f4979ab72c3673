"""Servers that a fault asks for instead of the usual stack: a cluster, nodes in networks of their own."""

from contextlib import contextmanager

from ordermq.testing.stack import networks
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.cluster import PrivateCluster
from ordermq.testing.stack.networks import Networks
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import PartStatus, PrivateStack, guarded
from tests.chaos.fault import Skip

# Three nodes take 20 s, and a multiple of that on a machine that does other things too.
STARTS_WITHIN_S = 240.0


class ClusterStack(PrivateStack):
    """A private stack whose broker is a cluster."""

    def __init__(self, place, cluster):
        super().__init__(place, fsync=False)
        self.broker = cluster

    @property
    def parts(self):
        nodes = {f"broker-{number}": node for number, node in enumerate(self.broker.nodes, 1)}
        return nodes | {"postgres": self.postgres}

    def status(self):
        return [
            PartStatus(name, "up" if part.is_serving() else "silent", part.process.pid, part.port)
            for name, part in self.parts.items()
        ]

    def start(self):
        for part in self.parts.values():
            part.launch()
        self.broker.wait_ready(STARTS_WITHIN_S)
        self.postgres.wait_ready()

    def kill(self):
        self.postgres.kill()
        self.broker.kill()

    def environment(self):
        plaintext = self.broker.settings().allow_plaintext
        return super().environment() | {"ORDERMQ_BROKER_ALLOW_PLAINTEXT": str(plaintext).lower()}


@contextmanager
def three_nodes():
    """A cluster of three on 127.0.0.1."""
    place = Place.temporary(server_account())
    with guarded(place):
        yield from _running(ClusterStack(place, PrivateCluster(place)))


@contextmanager
def three_networks():
    """A cluster of three, each node in a network of its own."""
    yield from _in_networks(3)


@contextmanager
def one_network():
    """One node in a network of its own."""
    yield from _in_networks(1)


def check_networks():
    """Raise Skip where networks cannot be made."""
    if reason := networks.why_not():
        raise Skip(reason)


def _in_networks(count):
    place = Place.temporary(server_account())
    with guarded(place):
        made = Networks(place, count)
        try:
            yield from _running(ClusterStack(place, PrivateCluster(place, count, networks=made)))
        finally:
            made.delete()


def _running(stack):
    try:
        stack.start()
        yield stack
    finally:
        stack.kill()
