"""What a FaultProxy does to one direction of its connections.

No I/O: a Lane says what the proxy does with the bytes it carries. Owned by the
proxy's thread.
"""

import math
from dataclasses import dataclass
from enum import Flag, auto
from random import Random


class Direction(Flag):
    """Which way bytes go, seen from the client that connects to the proxy."""

    TO_SERVER = auto()
    TO_CLIENT = auto()
    BOTH = TO_SERVER | TO_CLIENT


@dataclass
class Fuse:
    """Is blown when ``left_bytes`` have passed, of all connections together if ``is_shared``."""

    left_bytes: int
    is_shared: bool
    is_blown: bool = False

    def burn(self, size: int) -> None:
        """Count ``size`` bytes, no more than are left."""
        self.left_bytes -= size
        self.is_blown = self.left_bytes <= 0


class Corruption:
    """Flips one bit of the byte numbered ``at_byte``, or of each byte with ``probability``."""

    def __init__(self, at_byte: int | None, probability: float, random: Random) -> None:
        self._probability = probability
        self._random = random
        self._next = self._gap() if at_byte is None else at_byte

    def apply(self, data: bytes) -> bytes:
        """Return ``data`` with the bytes damaged whose turn it is."""
        damaged = bytearray(data)
        while 0 <= self._next < len(data):
            damaged[self._next] ^= 1 << self._random.randrange(8)
            # The byte of a given number is damaged only once.
            self._next = self._next + 1 + self._gap() if self._probability else -1
        if self._next >= 0:
            self._next -= len(data)
        return bytes(damaged)

    def _gap(self) -> int:
        # The number of bytes left as they are before the next damage: one random number for each damage.
        if self._probability >= 1.0:
            return 0
        return int(math.log(1.0 - self._random.random()) / math.log(1.0 - self._probability))


class Lane:
    """The faults of one direction, for all connections, and how much has passed."""

    def __init__(self) -> None:
        self.passed_bytes = 0
        self.heal()

    def heal(self) -> None:
        """Let bytes pass as they come."""
        self.is_blocked = False
        self.bytes_per_s = 0.0  # 0: without limit
        self.corruption: Corruption | None = None
        self._fuse: Fuse | None = None
        self._latency_s = 0.0
        self._jitter_s = 0.0
        self._random = Random()

    def delay(self, latency_s: float, jitter_s: float, random: Random) -> None:
        self._latency_s, self._jitter_s, self._random = latency_s, jitter_s, random

    def set_fuse(self, fuse: Fuse | None) -> None:
        self._fuse = fuse

    def fuse(self) -> Fuse | None:
        """Return the fuse of a new connection: its own, or the one it shares with all others."""
        fuse = self._fuse
        if fuse is None or fuse.is_shared:
            return fuse
        return Fuse(fuse.left_bytes, is_shared=False)

    def delay_s(self) -> float:
        """Return for how many seconds bytes that arrive now are held back."""
        if not self._latency_s and not self._jitter_s:
            return 0.0
        return max(0.0, self._latency_s + self._random.uniform(-self._jitter_s, self._jitter_s))

    def slice_bytes(self, slice_s: float) -> int:
        """Return how much may pass in ``slice_s`` seconds, at least one byte; 0: as much as there is."""
        return max(1, int(self.bytes_per_s * slice_s)) if self.bytes_per_s else 0
