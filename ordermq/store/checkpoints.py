"""The ``checkpoints`` table: what the audit log was signed with. The key that signs is in no table."""

from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

_ADD = "INSERT INTO ordermq.checkpoints (size, root, note) VALUES (%s, %s, %s)"
_SELECT = "SELECT size, root, note FROM ordermq.checkpoints ORDER BY size"


class SignedRow(NamedTuple):
    """A checkpoint that was signed: its size, its root, and the whole note."""

    size: int
    root: bytes
    note: bytes


def add_checkpoint(tx: StoreTransaction, row: SignedRow) -> None:
    """Record a checkpoint before it is published."""
    tx.execute(_ADD, row)


def last_checkpoint(tx: StoreTransaction) -> SignedRow | None:
    """Return the newest checkpoint, None if nothing was ever signed."""
    rows = tx.fetch_all(f"{_SELECT} DESC LIMIT 1")
    return _row(*rows[0]) if rows else None


def all_checkpoints(tx: StoreTransaction) -> list[SignedRow]:
    """Return all checkpoints, the oldest first."""
    return [_row(*each) for each in tx.fetch_all(_SELECT)]


def _row(size: int, root: memoryview, note: memoryview) -> SignedRow:
    return SignedRow(size, bytes(root), bytes(note))
