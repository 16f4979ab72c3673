"""Merkle trees: facts of RFC 6962, and random trees beside an implementation that follows its text."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.audit.merkle import (
    EMPTY_ROOT,
    complete_root,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    range_hash,
)
from ordermq.audit.tiles import Edge, Tile, TileTree, bundle, edge_tiles, tile_at, unbundle

# Hashes that any implementation of RFC 6962 gives for these leaves. The tests of certificate transparency and
# of transparency-dev/merkle use the same eight.
LEAVES = [bytes.fromhex(each) for each in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def tree_hash(leaves):
    """MTH of RFC 6962, 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split_at(len(leaves))
    return sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def path(m, leaves):
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split_at(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), tree_hash(leaves[k:])]
    return [*path(m - k, leaves[k:]), tree_hash(leaves[:k])]


def subproof(m, leaves, is_whole):
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if is_whole else [tree_hash(leaves)]
    k = split_at(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], is_whole), tree_hash(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), tree_hash(leaves[:k])]


def split_at(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def entries(count):
    return [b"entry %d" % each for each in range(count)]


def tiled(leaves, steps=()):
    """Return the tiles of a tree that grew in ``steps``, by their paths, and its edge."""
    files, edge, done = {}, Edge(), 0
    hashes = [leaf_hash(each) for each in leaves]
    for end in (*sorted(steps), len(leaves)):
        files |= {tile: data for tile, data in edge.append(hashes[done:end])}
        files |= dict(edge.partial())
        done = end
    return files, edge


def test_the_hashes_are_those_of_rfc_6962():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert (
        node_hash(b"N123", b"N456").hex()
        == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )


@pytest.mark.parametrize("size", ROOTS)
def test_the_roots_of_the_known_leaves_are_the_known_ones(size):
    edge = Edge()
    assert not list(edge.append([leaf_hash(each) for each in LEAVES[:size]]))
    assert edge.root().hex() == ROOTS[size]


@given(st.integers(0, 700), st.lists(st.integers(0, 700), max_size=3), st.data())
def test_roots_and_proofs_of_tiles_are_those_of_the_text_of_the_rfc(size, steps, data):
    leaves = entries(size)
    files, edge = tiled(leaves, [each for each in steps if each < size])
    tree = TileTree(files.__getitem__, size)
    assert edge.size == size
    assert edge.root() == tree_hash(leaves) == range_hash(tree, 0, size)
    old = data.draw(st.integers(0, size))
    proof = consistency_proof(tree, old, size)
    assert proof == (subproof(old, leaves, True) if old else [])
    assert is_consistent(old, size, tree_hash(leaves[:old]), edge.root(), proof)
    if size:
        index = data.draw(st.integers(0, size - 1))
        proof = inclusion_proof(tree, index, size)
        assert proof == path(index, leaves)
        assert is_included(leaf_hash(leaves[index]), index, size, proof, edge.root())


@given(st.integers(1, 70), st.data())
def test_no_changed_proof_is_accepted(size, data):
    """MRK2."""
    leaves = entries(size)
    root = tree_hash(leaves)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    inclusion, consistency = path(index, leaves), subproof(old, leaves, True)
    leaf, old_root = leaf_hash(leaves[index]), tree_hash(leaves[:old])
    for wrong in changed(inclusion, data):
        assert not is_included(leaf, index, size, wrong, root)
    for wrong in changed(consistency, data):
        assert not is_consistent(old, size, old_root, root, wrong)
    assert not is_included(leaf_hash(b"another"), index, size, inclusion, root)
    assert not is_included(leaf, size, size, inclusion, root)
    assert not is_consistent(size + 1, size, old_root, root, consistency)
    assert not is_consistent(old, size, leaf, b"\x00" * 32, consistency)


def changed(proof, data):
    """Return proofs with a hash more, less, doubled or other."""
    yield [*proof, b"\x00" * 32]
    yield [b"\x00" * 32, *proof]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        yield proof[:at] + proof[at + 1 :]
        yield [*proof[:at], bytes(each ^ 1 for each in proof[at]), *proof[at + 1 :]]


def test_an_empty_tree_begins_every_tree_and_none_ends_in_it():
    """MRK1."""
    root = tree_hash(entries(3))
    assert is_consistent(0, 3, EMPTY_ROOT, root, [])
    assert is_consistent(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not is_consistent(0, 3, root, root, [])
    assert not is_consistent(0, 0, EMPTY_ROOT, root, [])
    assert not is_included(leaf_hash(b""), 0, 0, [], EMPTY_ROOT)


def test_paths_and_widths_are_those_of_the_specification():
    """The examples of c2sp.org/tlog-tiles: the index 1234067, and the trees of 70,000 and of 256 leaves."""
    assert Tile(0, 1234067).path() == "tile/0/x001/x234/067"
    assert Tile(None, 5, 7).path() == "tile/entries/005.p/7"
    assert Tile(3, 0).path() == "tile/3/000"
    assert [(each.level, each.index, each.width) for each in edge_tiles(70_000)] == [
        (None, 273, 112), (0, 273, 112), (1, 1, 17), (2, 0, 1),
    ]  # fmt: skip
    assert [(each.level, each.index, each.width) for each in edge_tiles(256)] == [(1, 0, 1)]
    assert tile_at(0, 272, 70_000).width == 256
    with pytest.raises(ValueError, match="no tile 274"):
        tile_at(0, 274, 70_000)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(some):
    assert unbundle(bundle(some), "it") == some


def test_a_complete_subtree_is_a_tree_of_its_own():
    assert complete_root([leaf_hash(each) for each in LEAVES]).hex() == ROOTS[8]
