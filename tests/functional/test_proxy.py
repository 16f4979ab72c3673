"""The fault proxy in front of RabbitMQ and PostgreSQL, and of a socket whose every byte is seen."""

import contextlib
import socket
import threading
from dataclasses import replace

import pytest

from ordermq.amqp import Publisher, PublishOutcome
from ordermq.clock import monotonic_s
from ordermq.errors import StoreUnavailable
from ordermq.message.envelope import Properties, Publishing
from ordermq.store import Session
from ordermq.testing import Direction, FaultProxy, wait_until
from ordermq.testing.stack.ports import free_ports

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class Peer:
    """A server that keeps all it is sent, and answers with what it is told to."""

    def __init__(self):
        self.links = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def link(self, number=0):
        wait_until(lambda: len(self.links) > number, 5.0)
        self.links[number].settimeout(5.0)
        return self.links[number]

    def close(self):
        self._server.shutdown(socket.SHUT_RD)
        self._server.close()
        for link in self.links:
            link.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.links.append(self._server.accept()[0])


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def proxy(peer):
    with FaultProxy(peer.port) as proxy:
        yield proxy


@pytest.fixture
def dial(proxy):
    opened = []

    def dial():
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), 5.0))
        return opened[-1]

    yield dial
    for each in opened:
        each.close()


def all_of(link):
    """Return what arrives up to the end, and how that came: ``eof`` or ``reset``."""
    data = b""
    try:
        while some := link.recv(65536):
            data += some
    except ConnectionResetError:
        return data, "reset"
    return data, "eof"


def is_silent(link, for_s=0.1):
    link.settimeout(for_s)
    try:
        return not link.recv(1)
    except TimeoutError:
        return True


def publishing(n):
    # To the exchange that drops what it is not bound for: returned, and that is an answer too.
    return Publishing("amq.fanout", "", Properties(message_id=f"m{n}"), b"x" * 500)


def test_everything_passes_both_ways_and_so_does_the_end(proxy, peer, dial):
    client, sent = dial(), bytes(range(256)) * 4000
    threading.Thread(target=client.sendall, args=[sent], daemon=True).start()
    server = peer.link()
    received = b""
    while len(received) < len(sent):
        received += server.recv(65536)
    server.sendall(b"thanks")
    server.close()

    assert received == sent
    assert all_of(client) == (b"thanks", "eof")
    client.close()
    wait_until(lambda: proxy.counters.open == 0, 5.0)
    assert proxy.counters.bytes_to_server == len(sent)
    assert proxy.counters.bytes_to_client == 6


def test_a_cut_resets_both_sides_and_the_next_connection_is_carried(proxy, peer, dial):
    client = dial()
    client.sendall(b"before")
    assert peer.link().recv(6) == b"before"

    proxy.cut()

    assert all_of(client) == (b"", "reset")
    assert all_of(peer.link()) == (b"", "reset")
    dial().sendall(b"after")
    assert peer.link(1).recv(5) == b"after"
    assert (proxy.counters.connections, proxy.counters.cut) == (2, 1)


@pytest.mark.parametrize("n_bytes", [1, 7, 20_000])
def test_a_cut_comes_after_exactly_so_many_bytes_of_each_connection(proxy, peer, dial, n_bytes):
    proxy.cut_after(n_bytes, TO_SERVER)
    for number in range(2):
        client = dial()
        with contextlib.suppress(OSError):
            client.sendall(b"x" * 50_000)
        data, end = all_of(peer.link(number))
        assert (len(data), end) == (n_bytes, "reset")


def test_a_cut_counted_over_all_connections_ends_them_all_once(proxy, peer, dial):
    first, second = dial(), dial()
    proxy.cut_after(10, TO_CLIENT, over_all=True)
    peer.link(0).sendall(b"1234")
    assert first.recv(4) == b"1234"
    peer.link(1).sendall(b"123456789")

    assert all_of(second) == (b"123456", "reset")
    assert all_of(first) == (b"", "reset")
    third = dial()
    peer.link(2).sendall(b"x" * 100)
    assert len(third.recv(100)) == 100


def test_latency_delays_without_costing_throughput_or_order(proxy, peer, dial):
    # PRX2
    proxy.latency(150, jitter_ms=50, seed=3)
    client = dial()
    sent = b"".join(b"%07d\n" % n for n in range(20_000))
    began_s = monotonic_s()
    threading.Thread(target=client.sendall, args=[sent], daemon=True).start()
    received = peer.link().recv(1)
    assert monotonic_s() - began_s > 0.09
    while len(received) < len(sent):
        received += peer.link().recv(65536)
    assert received == sent


def test_bandwidth_bounds_what_passes_in_a_second(proxy, peer, dial):
    proxy.bandwidth(100_000, direction=TO_SERVER)
    client = dial()
    began_s = monotonic_s()
    client.sendall(b"x" * 30_000)
    left = 30_000
    while left:
        left -= len(peer.link().recv(left))
    assert monotonic_s() - began_s > 0.25


def test_a_blackhole_keeps_connections_open_holds_back_the_sender_and_loses_nothing(proxy, peer, dial):
    # PRX1
    client = dial()
    client.settimeout(0.2)
    server = peer.link()
    proxy.blackhole(TO_SERVER)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += client.send(b"x" * 65536)
            assert sent < 100_000_000, "nothing held the sender back"
    server.sendall(b"the other way is free")
    assert client.recv(100) == b"the other way is free"
    assert is_silent(server)
    client.close()

    proxy.heal()

    server.settimeout(5.0)
    data, end = all_of(server)
    assert (len(data), end) == (sent, "eof")


def test_faults_are_switched_from_several_threads_while_bytes_pass(proxy, peer, dial):
    # PRX3
    client = dial()
    sent = bytes(range(256)) * 20_000
    sending = threading.Thread(target=client.sendall, args=[sent])

    def switch():
        for number in range(20):
            proxy.blackhole()
            proxy.latency(number % 3)
            assert proxy.counters.open == 1
            proxy.heal()

    switching = [threading.Thread(target=switch) for _ in range(4)]
    server = peer.link()
    for thread in (sending, *switching):
        thread.start()
    server.settimeout(20.0)
    received = b""
    while len(received) < len(sent):
        received += server.recv(65536)
    for thread in (sending, *switching):
        thread.join(20.0)
    assert received == sent


def test_connections_are_accepted_into_a_blackhole(proxy, peer, dial):
    proxy.blackhole()
    client = dial()
    client.sendall(b"hello")
    assert is_silent(peer.link())
    proxy.cut()
    assert all_of(client) == (b"", "reset")


def test_a_half_closed_connection_still_carries_the_other_way(proxy, peer, dial):
    client, server = dial(), peer.link()
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"  # the proxy knows of the connection
    proxy.half_close(TO_CLIENT)
    assert all_of(client) == (b"", "eof")
    client.sendall(b"still here")
    assert server.recv(100) == b"still here"
    server.sendall(b"to nobody")  # dropped, and no error
    client.close()
    assert all_of(server) == (b"", "eof")


def test_one_byte_is_corrupted_where_it_was_asked_for(proxy, peer, dial):
    client = dial()
    proxy.corrupt(5, seed=1)
    client.sendall(b"0123456789")
    client.close()
    data, _ = all_of(peer.link())
    assert [n for n, byte in enumerate(data) if byte != b"0123456789"[n]] == [5]


def test_random_corruption_is_the_same_for_the_same_seed(proxy, peer, dial):
    damage = []
    for number in range(2):
        proxy.corrupt(probability=0.01, seed=42)
        client = dial()
        client.sendall(bytes(10_000))
        client.close()
        damage.append(all_of(peer.link(number))[0])
    assert damage[0] == damage[1]
    assert 50 < sum(byte != 0 for byte in damage[0]) < 200


def test_new_connections_are_refused_until_it_heals(proxy, peer, dial):
    client = dial()
    peer.link()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        dial()
    client.sendall(b"old ones go on")
    assert peer.link().recv(100) == b"old ones go on"
    proxy.heal()
    dial()


def test_a_server_that_is_down_resets_the_client():
    (nobody,) = free_ports(1)
    with (
        FaultProxy(nobody) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), 5.0) as client,
    ):
        client.recv(1)


def test_a_publisher_cut_in_mid_frame_publishes_on_by_its_next_connection(ordermq_stack, broker_settings):
    with FaultProxy(ordermq_stack.broker.port) as proxy:
        through = replace(broker_settings, hosts=(proxy.address,), unreachable_cap_s=0.5)
        with Publisher(through, name="test") as publisher:
            assert set(publisher.publish_many([publishing(0)])) == {PublishOutcome.RETURNED}
            proxy.cut_after(20_011, TO_SERVER, over_all=True)
            fates = publisher.publish_many([publishing(n) for n in range(100)])
            assert PublishOutcome.UNKNOWN in set(fates)
            assert set(publisher.publish_many([publishing(n) for n in range(100)])) == {
                PublishOutcome.RETURNED
            }
            assert publisher.connection.reconnects == 1


def test_a_session_survives_the_cut_of_its_connection_to_postgres(database_settings):
    with FaultProxy(database_settings.port) as proxy:
        session = Session(replace(database_settings, port=proxy.port), name="test")
        with session.transaction() as tx:
            tx.execute("CREATE TABLE kept (n int)")
        proxy.cut_after(3, TO_CLIENT)
        with pytest.raises(StoreUnavailable), session.transaction() as tx:
            tx.fetch_all("SELECT 1")
        proxy.heal()
        with session.transaction() as tx:
            assert tx.fetch_all("SELECT * FROM kept") == []
        session.close()
