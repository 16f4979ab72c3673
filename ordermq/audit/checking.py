"""Verify a log by its files alone: every entry, every tile, the root, the checkpoint. Needs no database.

Invariants
    CHK1  What is called proven was hashed here, from its bytes up to the root that the key signed.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ordermq.audit.checkpoint import Checkpoint
from ordermq.audit.entries import RecordId, SubjectProof, record_id
from ordermq.audit.merkle import (
    complete_root,
    consistency_proof,
    is_consistent,
    is_included,
    leaf_hash,
    leaf_hashes,
    range_hash,
)
from ordermq.audit.source import LogSource, read_tile
from ordermq.audit.tiles import TILE_WIDTH, Edge, Tile, TileTree, split, tile_at, unbundle
from ordermq.errors import BadInput, NotProven


@dataclass(frozen=True)
class Tampering:
    """Something that was tampered with: which kind of it, where, and how it shows."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}"


#: Called with the first position of a bundle and its entries; yields what else is wrong with them.
Compare = Callable[[int, Sequence[bytes]], Iterable[Tampering]]

#: Called with the number of entries that were verified since the call before.
Step = Callable[[int], None]


def check_files(
    source: LogSource,
    checkpoint: Checkpoint,
    step: Step = lambda count: None,
    compare: Compare = lambda first, entries: (),
) -> Iterator[Tampering]:
    """Yield what is wrong with the files of a log whose checkpoint was verified."""
    edge = Edge()
    try:
        for index in range(-(-checkpoint.size // TILE_WIDTH)):
            tile = tile_at(0, index, checkpoint.size)
            hashes = split(read_tile(source, tile))
            entries = yield from _check_bundle(source, checkpoint, tile, hashes)
            yield from compare(index * TILE_WIDTH, entries)
            for full, data in edge.append(hashes):
                yield from _check_above(source, full, data)
            step(tile.width)
        for partial, data in edge.partial():
            yield from _check_above(source, partial, data)
    except NotProven as exc:  # a tile is missing or cut: what is above it cannot be verified
        yield Tampering("replaced tile", source.what, str(exc))
        return
    if edge.root() != checkpoint.root:
        text = "its tiles of level 0 do not hash to the root that was signed"
        yield Tampering("replaced tile", source.what, text)


def check_proof(proof: SubjectProof, checkpoint: Checkpoint, what: str) -> list[RecordId]:
    """Return which records a proof proves, the newest first. Raises NotProven if it fails for one (CHK1)."""
    found = []
    for index, entry, hashes in proof.entries:
        if not is_included(leaf_hash(entry), index, checkpoint.size, hashes, checkpoint.root):
            raise NotProven(
                f"{what}: the entry at position {index} is not in the log of {checkpoint.origin}:"
                " edited entry, or a proof of another log"
            )
        found.append(record_id(entry, f"the entry at position {index} of {what}"))
    if len({(each.source, each.subject) for each in found}) > 1:
        raise NotProven(f"{what} proves entries of several subjects, and one is expected")
    return found


def check_consistency(source: LogSource, old: Checkpoint, new: Checkpoint) -> Sequence[bytes]:
    """Return the proof that the log of ``old`` is the beginning of that of ``new``.

    The hashes are read from the tiles of the log. Raises NotProven: a forked history.
    """
    if old.origin != new.origin:
        raise NotProven(
            f"{old.origin} and {new.origin} are two logs; a checkpoint of each cannot be compared"
        )
    if old.size > new.size:
        raise NotProven(
            f"the checkpoint has {new.size} entries, and an earlier one has {old.size}:"
            " older checkpoint, or truncated tail"
        )
    tree = TileTree(lambda tile: read_tile(source, tile), new.size)
    proof = consistency_proof(tree, old.size, new.size)
    if not is_consistent(old.size, new.size, old.root, new.root, proof):
        whose = "forked history" if range_hash(tree, 0, new.size) == new.root else "replaced tile"
        raise NotProven(
            f"{source.what}: the first {old.size} entries are not those of the earlier checkpoint: {whose}"
        )
    return proof


def _check_above(source: LogSource, tile: Tile, data: bytes) -> Iterator[Tampering]:
    if tile.level and read_tile(source, tile) != data:
        where = f"{source.what}/{tile.path()}"
        yield Tampering("replaced tile", where, "it is not what the tiles below it hash to")


def _check_bundle(
    source: LogSource, checkpoint: Checkpoint, tile: Tile, hashes: Sequence[bytes]
) -> Generator[Tampering, None, Sequence[bytes]]:
    """Return the entries of a tile, none if they are others. The tile above, or the root, says which is."""
    bundle = Tile(None, tile.index, tile.width)
    where = f"{source.what}/{bundle.path()}"
    try:
        entries = unbundle(read_tile(source, bundle), where)[: tile.width]
    except BadInput as exc:
        yield Tampering("edited archive", where, str(exc))
        return []
    leaves = leaf_hashes(entries)
    if leaves == hashes:
        return entries
    if _is_right(source, checkpoint, tile, leaves):
        where = f"{source.what}/{tile.path()}"
        yield Tampering(
            "replaced tile", where, "its hashes are not those of its entries, which the root proves"
        )
    elif len(leaves) != len(hashes):
        yield Tampering(
            "edited archive", where, f"it holds {len(leaves)} entries in the place of {len(hashes)}"
        )
    else:
        for at, (leaf, hash_) in enumerate(zip(leaves, hashes, strict=True)):
            if leaf != hash_:
                position = tile.index * TILE_WIDTH + at
                text = f"the entry at position {position} is not what was signed"
                yield Tampering("edited archive", where, text)
    return []


def _is_right(source: LogSource, checkpoint: Checkpoint, tile: Tile, leaves: Sequence[bytes]) -> bool:
    """Say whether the tile at level 0 would be right if it held ``leaves``."""
    if len(leaves) != tile.width:
        return False
    if tile.width == TILE_WIDTH:
        above = tile_at(1, tile.index // TILE_WIDTH, checkpoint.size)
        return complete_root(leaves) == split(read_tile(source, above))[tile.index % TILE_WIDTH]
    tree = TileTree(
        lambda each: (
            b"".join(leaves) if (each.level, each.index) == (0, tile.index) else read_tile(source, each)
        ),
        checkpoint.size,
    )
    return range_hash(tree, 0, checkpoint.size) == checkpoint.root
