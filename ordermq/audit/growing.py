"""Append entries to the log in a folder: bundles, tiles, and the root that a checkpoint is made of.

Invariants
    GRW1  What is written continues the files that are there: the hashes of the right edge are read from them.
        So no tree is ever built that does not begin with the one that was published.
"""

from collections.abc import Sequence

from ordermq.audit.checkpoint import Checkpoint
from ordermq.audit.folder import LogFolder
from ordermq.audit.merkle import leaf_hashes
from ordermq.audit.source import read_tile
from ordermq.audit.tiles import TILE_WIDTH, Edge, Tile, bundle, edge_tiles, unbundle
from ordermq.errors import NotProven


class LogWriter:
    """Continues the log of a checkpoint. Raises NotProven if the folder does not hold what was signed (GRW1).

    Entries may be written past a checkpoint that never came to be: the same entries are then written again.
    """

    def __init__(self, folder: LogFolder, checkpoint: Checkpoint) -> None:
        self._folder = folder
        levels: list[bytes] = []
        self._entries: list[bytes] = []
        for tile in edge_tiles(checkpoint.size):
            data = read_tile(folder, tile)
            if tile.level is None:
                self._entries = unbundle(data, f"{folder.what}/{tile.path()}")[: tile.width]
                continue
            levels += [b""] * (tile.level - len(levels))
            levels.append(data)
        self._edge = Edge(checkpoint.size, levels)
        if self._edge.root() != checkpoint.root:
            raise NotProven(
                f"{folder.what} does not hold the {checkpoint.size} entries of its checkpoint: replaced tile;"
                " restore the folder from a copy, or see 'ordermq audit verify --log'"
            )

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self._edge.size

    def append(self, entries: Sequence[bytes]) -> None:
        """Add entries; what becomes full is written. Raises NotProven, UsageError, and BadInput."""
        begin = self._edge.size - len(self._entries)
        self._entries += entries
        full = []
        while len(self._entries) >= TILE_WIDTH:
            some, self._entries = self._entries[:TILE_WIDTH], self._entries[TILE_WIDTH:]
            full.append((Tile(None, begin // TILE_WIDTH), bundle(some)))
            begin += TILE_WIDTH
        full += self._edge.append(leaf_hashes(entries))
        for tile, data in full:
            self._folder.add(tile, data)
        self._folder.drop_partial([tile for tile, _ in full])

    def finish(self, origin: str) -> Checkpoint:
        """Write what is not full, and return the checkpoint to sign; its tiles are on the disk."""
        if self._entries:
            tile = Tile(None, self.size // TILE_WIDTH, len(self._entries))
            self._folder.add(tile, bundle(self._entries))
        for tile, data in self._edge.partial():
            self._folder.add(tile, data)
        self._folder.sync()
        return Checkpoint(origin, self.size, self._edge.root())
