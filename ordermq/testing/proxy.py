"""A TCP link whose faults are switched while it carries traffic.

    with FaultProxy(broker.port) as proxy:  # clients connect to proxy.port
        proxy.cut_after(1000, Direction.TO_SERVER)

Stands in front of anything that speaks TCP; RabbitMQ and PostgreSQL among them. Faults
hold for the connections there are and for those to come, until ``heal()``; several can
hold at once. When a method returns, its fault is in effect.

Invariants
    PRX1  Buffers are bounded: a connection holds at most 1 MiB that its receiver does not
        take, in each direction; then its sender is held back.
    PRX2  Bytes of one direction keep their order, whatever their latency.
    PRX3  All sockets belong to the proxy's own thread. Its methods may be called from any other.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Self

from ordermq.testing.faults import Corruption, Direction, Fuse, Lane
from ordermq.testing.stack.ports import free_ports

_CHUNK_BYTES = 16_384
_CHUNKS = 48  # together with the buffers of both streams below 1 MiB (PRX1)
_SLICE_S = 0.02
_LAND_S = 1.0  # how long the bytes before a cut may take to reach the other side
_CALL_S = 10.0
_EOF = b""

_BOTH = (Direction.TO_SERVER, Direction.TO_CLIENT)


@dataclass(frozen=True)
class ProxyCounters:
    """What a proxy has seen. ``connections`` were accepted, ``open`` are there now."""

    connections: int
    open: int
    cut: int
    bytes_to_server: int
    bytes_to_client: int


class FaultProxy:
    """A proxy from a free port of 127.0.0.1 to ``upstream_port``; carries traffic until ``close()``."""

    def __init__(self, upstream_port: int, *, upstream_host: str = "127.0.0.1") -> None:
        self.port = free_ports(1)[0]
        self._upstream = (upstream_host, upstream_port)
        self._lanes = {direction: Lane() for direction in _BOTH}
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._cut = 0
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()  # notified when a fault was switched
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._do(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection and end the thread. May be called twice."""
        if self._loop.is_closed():
            return
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    @property
    def address(self) -> str:
        """Where clients connect, as ``broker.hosts`` is written."""
        return f"127.0.0.1:{self.port}"

    @property
    def counters(self) -> ProxyCounters:
        """What has passed so far."""
        to_server, to_client = (self._lanes[direction].passed_bytes for direction in _BOTH)
        return ProxyCounters(self._connections, len(self._links), self._cut, to_server, to_client)

    # --- faults -------------------------------------------------------------

    def cut(self) -> None:
        """End every connection with a TCP reset on both sides, now; new ones are carried."""
        self._do(self._cut_all())

    def cut_after(
        self, n_bytes: int, direction: Direction = Direction.TO_SERVER, *, over_all: bool = False
    ) -> None:
        """Let exactly ``n_bytes`` more pass that way, then reset: in mid-frame, at the same byte each time.

        Each connection is counted by itself from now or from its beginning, and later ones
        are cut too. ``over_all``: the bytes of all connections count together, all are cut
        at once, and then the fault is over.
        """
        self._do(self._set_fuses(n_bytes, direction, over_all))

    def latency(
        self, ms: float, jitter_ms: float = 0.0, seed: int = 0, *, direction: Direction = Direction.BOTH
    ) -> None:
        """Hold arriving bytes back for ``ms`` milliseconds, plus or minus ``jitter_ms``; throughput stays."""
        random = Random(seed)
        self._each(direction, lambda lane: lane.delay(ms / 1000, jitter_ms / 1000, random))

    def bandwidth(self, bytes_per_s: float, *, direction: Direction = Direction.BOTH) -> None:
        """Let each connection move no more than this, in each direction."""
        self._each(direction, lambda lane: setattr(lane, "bytes_per_s", bytes_per_s))

    def blackhole(self, direction: Direction = Direction.BOTH) -> None:
        """Move nothing that way, not even the end of a connection; accept new ones: a cut cable.

        What is in the way then is carried on by ``heal()``, and lost by ``cut()``.
        """
        self._each(direction, lambda lane: setattr(lane, "is_blocked", True))

    def half_close(self, direction: Direction) -> None:
        """End that direction of every open connection, and drop the bytes that still come."""
        self._do(self._half_close(direction))

    def corrupt(
        self,
        at_byte: int | None = None,
        *,
        probability: float = 0.0,
        seed: int = 0,
        direction: Direction = Direction.TO_SERVER,
    ) -> None:
        """Flip one bit of the byte that passes as number ``at_byte`` (from 0, over all connections),
        or of each byte with ``probability``.

        AMQP has no checksum: damage inside a body arrives as another body. TLS notices all of it.
        """
        if (at_byte is None) == (probability <= 0.0):
            raise ValueError("corrupt() needs at_byte or a probability")
        random = Random(seed)
        self._each(
            direction, lambda lane: setattr(lane, "corruption", Corruption(at_byte, probability, random))
        )

    def refuse(self) -> None:
        """Refuse new connections; those there are go on."""
        self._do(self._deafen())

    def heal(self) -> None:
        """End every fault. Bytes that latency holds back already still come late."""
        self._do(self._heal())

    # --- in the proxy's thread ----------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    def _each(self, direction: Direction, change: Any) -> None:
        async def change_all() -> None:
            for each in _BOTH:
                if each in direction:
                    change(self._lanes[each])
            await self._notify()

        self._do(change_all())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _listen(self) -> None:
        # Not by start_server(): in Python 3.11 its close() leaks a connection it has just accepted.
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _deafen(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _heal(self) -> None:
        for lane in self._lanes.values():
            lane.heal()
        for link in self._links:
            link.fuses = dict.fromkeys(_BOTH)
        await self._listen()
        await self._notify()

    async def _end(self) -> None:
        await self._deafen()
        await self._cut_all()
        while self._tasks:
            await asyncio.wait(list(self._tasks), timeout=0.1)
            await self._cut_all()  # the connections that were being made meanwhile

    async def _set_fuses(self, n_bytes: int, direction: Direction, over_all: bool) -> None:
        for each in _BOTH:
            if each in direction:
                self._lanes[each].set_fuse(Fuse(n_bytes, over_all))
                for link in self._links:
                    link.fuses[each] = self._lanes[each].fuse()
        await self._notify()

    async def _half_close(self, direction: Direction) -> None:
        for link in self._links:
            for each in _BOTH:
                if each in direction:
                    link.close_half(each)

    async def _cut_all(self) -> None:
        for link in list(self._links):
            self._reset(link)
        await self._notify()
        await _turns()

    def _reset(self, link: "_Link") -> None:
        if not link.is_reset:
            self._cut += 1
            link.reset()

    # --- one connection -----------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client has gone already
            client, _ = listener.accept()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections += 1
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client, limit=_CHUNK_BYTES)
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._upstream, limit=_CHUNK_BYTES)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, there_writer, {each: lane.fuse() for each, lane in self._lanes.items()})
        self._links.add(link)
        try:
            await asyncio.gather(
                self._carry(link, reader, Direction.TO_SERVER),
                self._carry(link, there_reader, Direction.TO_CLIENT),
            )
        finally:
            self._links.discard(link)
            link.close()

    async def _carry(self, link: "_Link", reader: asyncio.StreamReader, direction: Direction) -> None:
        """Move one direction to its end; the end of both is the end of the connection."""
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS)
        reading = asyncio.create_task(self._read(link, reader, direction, arrived))
        try:
            await self._write(link, direction, arrived)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self,
        link: "_Link",
        reader: asyncio.StreamReader,
        direction: Direction,
        arrived: "asyncio.Queue[tuple[float, bytes]]",
    ) -> None:
        lane = self._lanes[direction]
        while True:
            try:
                data = await reader.read(_CHUNK_BYTES)
            except OSError:
                data = _EOF
                link.is_broken = True
            await arrived.put((self._loop.time() + lane.delay_s(), data))
            if data == _EOF:
                return

    async def _write(
        self, link: "_Link", direction: Direction, arrived: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        lane = self._lanes[direction]
        while True:
            due, data = await arrived.get()
            if (early_s := due - self._loop.time()) > 0:
                await asyncio.sleep(early_s)
            if not await self._is_clear(link, lane):
                return
            if data == _EOF:
                if link.is_broken:
                    self._reset(link)
                else:
                    link.close_half(direction)
                return
            try:
                await self._pass(link, direction, lane.corruption.apply(data) if lane.corruption else data)
            except OSError:
                # The receiver has gone. Reset the sender too, as would happen without a proxy.
                if await self._is_clear(link, lane):
                    self._reset(link)
                return

    async def _is_clear(self, link: "_Link", lane: Lane) -> bool:
        """Wait while the lane is blocked; False if the connection was reset."""
        if not lane.is_blocked:
            return not link.is_reset
        async with self._changed:
            await self._changed.wait_for(lambda: link.is_reset or not lane.is_blocked)
        return not link.is_reset

    async def _pass(self, link: "_Link", direction: Direction, data: bytes) -> None:
        lane = self._lanes[direction]
        while data and await self._is_clear(link, lane):
            fuse = link.fuses[direction]
            size = lane.slice_bytes(_SLICE_S) or len(data)
            if fuse is not None:
                if fuse.is_blown:
                    return  # another connection is about to cut this one
                size = min(size, fuse.left_bytes)
                fuse.burn(size)
            some, data = data[:size], data[size:]
            lane.passed_bytes += len(some)
            await link.send(direction, some)
            if fuse is not None and fuse.is_blown:
                await self._blow(link, direction, fuse)
            elif lane.bytes_per_s:
                await asyncio.sleep(len(some) / lane.bytes_per_s)

    async def _blow(self, link: "_Link", direction: Direction, fuse: Fuse) -> None:
        await link.landed(direction)
        if not fuse.is_shared:
            self._reset(link)
            return
        if self._lanes[direction].fuse() is fuse:
            self._lanes[direction].set_fuse(None)
        for each in self._links:
            if each.fuses[direction] is fuse:
                each.fuses[direction] = None
        await self._cut_all()


class _Link:
    """The two sockets of one carried connection."""

    def __init__(
        self,
        client: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        fuses: dict[Direction, Fuse | None],
    ) -> None:
        self.fuses = fuses
        self.is_reset = False
        self.is_broken = False  # one side ended in an error, and so must the other
        self._to = {Direction.TO_SERVER: server, Direction.TO_CLIENT: client}
        self._halves_closed: set[Direction] = set()
        for writer in self._to.values():
            writer.transport.set_write_buffer_limits(
                high=0
            )  # so that drain() returns when the kernel has the bytes

    async def send(self, direction: Direction, data: bytes) -> None:
        if direction not in self._halves_closed:
            self._to[direction].write(data)
            await self._to[direction].drain()

    async def landed(self, direction: Direction) -> None:
        """Wait a little until the receiver's kernel has everything, because a reset drops the rest."""
        waited_s = 0.0
        while waited_s < _LAND_S and _unsent_bytes(self._to[direction]):
            await asyncio.sleep(0.001)
            waited_s += 0.001

    def close_half(self, direction: Direction) -> None:
        if direction not in self._halves_closed:
            self._halves_closed.add(direction)
            with contextlib.suppress(OSError):
                self._to[direction].write_eof()

    def reset(self) -> None:
        self.is_reset = True
        for writer in self._to.values():
            _reset(writer)

    def close(self) -> None:
        for writer in self._to.values():
            writer.close()


async def _turns() -> None:
    """Let the loop turn: it opens and closes the sockets of transports a few turns late."""
    for _ in range(10):
        await asyncio.sleep(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    link = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _unsent_bytes(writer: asyncio.StreamWriter) -> int:
    link = writer.get_extra_info("socket")
    try:
        (unsent,) = struct.unpack("i", fcntl.ioctl(link.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    except (OSError, ValueError):
        return 0
    return int(unsent)
