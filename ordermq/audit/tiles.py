"""Tiles: a Merkle tree as files of 256 hashes, and its leaves as bundles of 256 (c2sp.org/tlog-tiles).

Pure.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ordermq.audit.merkle import HASH_BYTES, complete_root, join_peaks
from ordermq.errors import BadInput

TILE_WIDTH = 256
MAX_ENTRY_BYTES = 0xFFFF

_HEIGHT = 8
_LENGTH = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Tile:
    """A file of the log: ``width`` hashes of a level, or so many entries if ``level`` is None."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """Return its path below the log's address: ``tile/0/x001/x234/067.p/12``."""
        kind = "entries" if self.level is None else str(self.level)
        digits = f"{self.index:0{-(-len(str(self.index)) // 3) * 3}}"
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{each}" for each in groups[:-1]), groups[-1]])
        return f"tile/{kind}/{name}" + (f".p/{self.width}" if self.width < TILE_WIDTH else "")


def tile_at(level: int | None, index: int, size: int) -> Tile:
    """Return the tile at ``index`` as it is in a tree of ``size`` leaves.

    Raises ValueError if it is not in it.
    """
    width = min((size >> (_HEIGHT * (level or 0))) - index * TILE_WIDTH, TILE_WIDTH)
    if width <= 0:
        raise ValueError(f"a tree of {size} leaves has no tile {index} at level {level}")
    return Tile(level, index, width)


def edge_tiles(size: int) -> Iterator[Tile]:
    """Yield the last tile of each level of a tree that is not full, and the last bundle of entries."""
    if size % TILE_WIDTH:
        yield Tile(None, size // TILE_WIDTH, size % TILE_WIDTH)
    level = 0
    while size:
        if size % TILE_WIDTH:
            yield Tile(level, size // TILE_WIDTH, size % TILE_WIDTH)
        size //= TILE_WIDTH
        level += 1


class TileTree:
    """The hashes of a tree of ``size`` leaves, read from its tiles.

    It is called with a level and an index, as ``merkle`` says. ``read`` returns the bytes of a tile.
    The last tiles that were read are kept.
    """

    def __init__(self, read: Callable[[Tile], bytes], size: int, *, most_kept: int = 512) -> None:
        self.size = size
        self._read = read
        self._kept: dict[Tile, bytes] = {}
        self._most_kept = most_kept

    def __call__(self, level: int, index: int) -> bytes:
        tile_level, height = divmod(level, _HEIGHT)
        first = index << height
        hashes = self._hashes(tile_at(tile_level, first // TILE_WIDTH, self.size))
        at = first % TILE_WIDTH * HASH_BYTES
        return complete_root(split(hashes[at : at + (HASH_BYTES << height)]))

    def _hashes(self, tile: Tile) -> bytes:
        if (kept := self._kept.get(tile)) is None:
            kept = self._read(tile)
            if len(self._kept) >= self._most_kept:
                del self._kept[next(iter(self._kept))]
            self._kept[tile] = kept
        return kept


class Edge:
    """The right edge of a tree that grows: the hashes of its last tile at each level.

    ``size`` leaves so far.
    """

    def __init__(self, size: int = 0, levels: Sequence[bytes] = ()) -> None:
        self.size = size
        self._levels = [split(each) for each in levels]

    def append(self, leaves: Sequence[bytes]) -> Iterator[tuple[Tile, bytes]]:
        """Add the hashes of leaves; yield each tile that becomes full, and its bytes."""
        at = 0
        while at < len(leaves):
            some = leaves[at : at + TILE_WIDTH - self.size % TILE_WIDTH]
            at += len(some)
            yield from self._add(0, self.size // TILE_WIDTH, some)
            self.size += len(some)

    def partial(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield each tile that is not full, and its bytes."""
        size = self.size
        for level, hashes in enumerate(self._levels):
            if hashes:
                yield Tile(level, size // TILE_WIDTH, len(hashes)), b"".join(hashes)
            size //= TILE_WIDTH

    def root(self) -> bytes:
        """Return the root of the tree."""
        peaks: list[bytes] = []
        for hashes in reversed(self._levels):
            at = 0
            for bit in range(_HEIGHT - 1, -1, -1):
                if len(hashes) >> bit & 1:
                    peaks.append(complete_root(hashes[at : at + (1 << bit)]))
                    at += 1 << bit
        return join_peaks(peaks)

    def _add(self, level: int, index: int, hashes: Sequence[bytes]) -> Iterator[tuple[Tile, bytes]]:
        if level == len(self._levels):
            self._levels.append([])
        here = self._levels[level]
        here += hashes
        if len(here) == TILE_WIDTH:
            self._levels[level] = []
            yield Tile(level, index), b"".join(here)
            yield from self._add(level + 1, index // TILE_WIDTH, [complete_root(here)])


def split(hashes: bytes) -> list[bytes]:
    """Return the hashes that a tile holds."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries as a bundle. Raises BadInput for one that is too long."""
    if too_long := [len(each) for each in entries if len(each) > MAX_ENTRY_BYTES]:
        raise BadInput(f"an entry of the log has {too_long[0]} bytes, more than {MAX_ENTRY_BYTES}")
    return b"".join(_LENGTH.pack(len(each)) + each for each in entries)


def unbundle(data: bytes, what: str) -> list[bytes]:
    """Return the entries of a bundle. Raises BadInput if it was cut."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        begin = at + _LENGTH.size
        length = _LENGTH.unpack_from(data, at)[0] if begin <= len(data) else MAX_ENTRY_BYTES
        at = begin + length
        if at > len(data):
            raise BadInput(f"{what} was cut in its entry {len(entries)}")
        entries.append(data[begin:at])
    return entries
