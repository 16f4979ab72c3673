"""Merkle trees of RFC 6962 with SHA-256: hashes, roots, proofs, and their verification. Pure.

A tree is only ever read through a function ``subtree(level, index)``, which returns the root of the
complete subtree of ``2**level`` leaves that begins at leaf ``index * 2**level``. Where those hashes come
from (a folder of tiles, a web server, a list) is not known here.

Invariants
    MRK1  The verification shares no code with the making of proofs, only the two hash functions.
    MRK2  A proof is accepted only if all of its hashes are used and every hash that is needed is there.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()

#: Returns the root of the complete subtree at ``(level, index)``.
Subtree = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the hash of each of ``entries``."""
    digest = sha256
    return [digest(b"\x00" + each).digest() for each in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over ``hashes``, whose number is a power of two."""
    digest, nodes = sha256, list(hashes)
    while len(nodes) > 1:
        pairs = iter(nodes)
        nodes = [digest(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return nodes[0]


def join_peaks(peaks: Sequence[bytes]) -> bytes:
    """Return the root of the tree whose complete subtrees are ``peaks``, from the largest to the smallest."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def range_hash(subtree: Subtree, begin: int, end: int) -> bytes:
    """Return the hash of the leaves ``begin`` to ``end``, a range that RFC 6962 splits a tree into."""
    width = end - begin
    if width == 0:
        return EMPTY_ROOT
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return subtree(level, begin >> level)
    middle = begin + _largest_power_below(width)
    return node_hash(range_hash(subtree, begin, middle), range_hash(subtree, middle, end))


def inclusion_proof(subtree: Subtree, index: int, size: int) -> list[bytes]:
    """Return the hashes from leaf ``index`` to the root of the first ``size`` leaves, its sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    proof = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if index < middle:
            proof.append(range_hash(subtree, middle, end))
            end = middle
        else:
            proof.append(range_hash(subtree, begin, middle))
            begin = middle
    return proof[::-1]


def consistency_proof(subtree: Subtree, old: int, new: int) -> list[bytes]:
    """Return the hashes that show that the first ``old`` of ``new`` leaves are unchanged.

    There are none if the sizes are equal, or if ``old`` is 0.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no first {old}")
    if old in (0, new):
        return []
    proof = []
    begin, end, is_old_root = 0, new, True
    while end != old:
        middle = begin + _largest_power_below(end - begin)
        if old <= middle:
            proof.append(range_hash(subtree, middle, end))
            end = middle
        else:
            proof.append(range_hash(subtree, begin, middle))
            begin, is_old_root = middle, False
    if not is_old_root:
        proof.append(range_hash(subtree, begin, end))
    return proof[::-1]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether ``proof`` leads from ``leaf`` at ``index`` to ``root`` (RFC 9162, 2.1.3.2; MRK2)."""
    if not 0 <= index < size or len(root) != HASH_BYTES:
        return False
    node, last = index, size - 1
    value = leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and value == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether ``proof`` shows that one tree is the beginning of the other (RFC 9162, 2.1.4.2; MRK2)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        is_old = old_root == (EMPTY_ROOT if old == 0 else new_root)
        return is_old and not proof and (new > 0 or new_root == EMPTY_ROOT)
    hashes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not hashes:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_value = new_value = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_value = node_hash(sibling, old_value)
            new_value = node_hash(sibling, new_value)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new_value = node_hash(new_value, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == new_root


def _largest_power_below(width: int) -> int:
    """Return the largest power of two that is less than ``width``."""
    return 1 << ((width - 1).bit_length() - 1)
