"""Signed notes, checkpoints and proofs: the examples of the specifications, and what must be refused.

The examples are those of signed-note.md and tlog-checkpoint.md of https://github.com/C2SP/C2SP at 5ba5ee8
(July 2026).
"""

import pytest

from ordermq.audit.checkpoint import Checkpoint, parse_checkpoint
from ordermq.audit.entries import ProvenEntry, SubjectProof, record_id, with_entries
from ordermq.audit.notes import COSIGNATURE, ED25519, Note, VerifierKey, parse_key, parse_note
from ordermq.audit.proof import LogProof, parse_proof
from ordermq.audit.signing import _holds, new_key, opened, read_key
from ordermq.errors import BadInput, NotProven

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
SIGNATURE = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
CHECKPOINT = f"""example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa {SIGNATURE}
""".encode()

KEY = new_key("audit.example.com/shop")


def signed(size=3, root=b"\x07" * 32):
    return KEY.sign(Checkpoint(KEY.name, size, root)).encode()


def test_the_example_of_a_signed_note_is_verified_by_the_example_of_a_key():
    key, note = parse_key(VKEY), parse_note(NOTE.encode())
    assert str(key) == VKEY
    (signature,) = note.signatures
    assert (signature.name, signature.key_id) == (key.name, key.key_id)
    assert _holds(key, signature.signature, note.text.encode())
    assert not _holds(key, signature.signature, b"another text\n")
    assert note.encode() == NOTE.encode()


def test_the_example_of_a_checkpoint_is_read_and_written_the_same():
    found = parse_checkpoint(CHECKPOINT)
    assert found.checkpoint.origin == "example.com/behind-the-sofa"
    assert found.checkpoint.size == 20_852_163
    assert found.checkpoint.text() == found.note.text
    assert found.note.encode() == CHECKPOINT


def test_a_key_that_was_written_to_its_file_signs_as_before():
    again = read_key(KEY.file_text(), "the file")
    assert again.verifier == KEY.verifier
    assert opened(signed(), again.verifier).checkpoint.size == 3
    assert "PRIVATE" not in repr(KEY)


def test_an_error_about_a_private_key_does_not_show_it():
    """SGN2."""
    text = KEY.file_text()
    for wrong in (text[:-6] + "\n", text.replace("shop", "shap"), text.replace("PRIVATE", "PUBLIC")):
        with pytest.raises(BadInput) as caught:
            read_key(wrong, "audit.key")
        assert text.split("+", 4)[4][:16] not in str(caught.value)
        assert "audit.key" in str(caught.value)


def test_a_checkpoint_of_another_key_or_of_another_text_is_not_proven():
    other = new_key(KEY.name)
    with pytest.raises(NotProven, match="swapped key"):
        opened(signed(), other.verifier)
    with pytest.raises(NotProven, match="changed after signing"):
        opened(signed().replace(b"\n3\n", b"\n2\n"), KEY.verifier)


def test_one_wrong_signature_of_a_known_key_refuses_the_note():
    """SGN1."""
    right, wrong = parse_note(signed()), parse_note(signed(4))
    both = Note(right.text, [*right.signatures, *wrong.signatures])
    with pytest.raises(NotProven, match="does not hold"):
        opened(both.encode(), KEY.verifier)
    stranger = new_key("another.example.com").sign(Checkpoint(KEY.name, 9, b"\x01" * 32))
    beside = Note(right.text, [*stranger.signatures, *right.signatures])
    assert opened(beside.encode(), KEY.verifier).checkpoint.size == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no signature\n", "an empty line"),
        ("text\n\n— name\n", "not a signature line"),
        ("text\n\n— name AAAA\n", "not a signature line"),
        ("text\n\n- name AAAAAAAA\n", "not a signature line"),
        ("text\n\n— name AAAAAAB=\n", "canonical"),
        ("text\r\n\n— name AAAAAAAA\n", "an empty line"),
        ("text\n\n— name AAAAAAAA", "an empty line"),
        ("text\n\n" + "— name AAAAAAAA\n" * 101, "more than 100"),
    ],
)
def test_what_is_no_signed_note_is_refused(text, why):
    with pytest.raises(BadInput, match=why):
        parse_note(text.encode())


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["name", "3"], "lines origin, size and root"),
        (["name", "03", "A" * 43 + "="], "not a number"),
        (["name", "-3", "A" * 43 + "="], "not a number"),
        (["name", "٣", "A" * 43 + "="], "not a number"),
        (["name", "3", "AAAA"], "3 bytes"),
        (["na me", "3", "A" * 43 + "="], "cannot name"),
    ],
)
def test_what_is_no_checkpoint_is_refused(lines, why):
    with pytest.raises(BadInput, match=why):
        parse_checkpoint(("".join(f"{each}\n" for each in lines) + "\n— name AAAAAAAA\n").encode())


@pytest.mark.parametrize(
    ("vkey", "why"),
    [
        ("name", "NAME\\+ID\\+KEY"),
        (VKEY.replace("530d903a", "530d903b"), "damaged"),
        (str(VerifierKey("name", 6, b"\x00" * 32)), "other than Ed25519"),
    ],
)
def test_what_is_no_verifier_key_is_refused(vkey, why):
    with pytest.raises(BadInput, match=why):
        parse_key(vkey)


def test_the_type_of_a_key_is_in_its_id():
    public_key = KEY.verifier.public_key
    ids = {VerifierKey("w", kind, public_key).key_id for kind in (ED25519, COSIGNATURE)}
    assert len(ids) == 2


def test_a_proof_is_read_as_it_was_written_with_and_without_extra():
    for extra in (b"", b"anything"):
        proof = LogProof(73_894, [bytes([each]) * 32 for each in range(5)], signed(), extra)
        data = proof.encode()
        assert data.startswith(b"c2sp.org/tlog-proof@v1\n" + (b"extra " if extra else b"index 73894\n"))
        assert parse_proof(data) == proof


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not a proof at all", "first line"),
        (b"c2sp.org/tlog-proof@v1\n", "first line"),
        (b"c2sp.org/tlog-proof@v1\n\ncheckpoint\n", "names no index"),
        (b"c2sp.org/tlog-proof@v1\nindex no\n\ncheckpoint\n", "not a number"),
        (b"c2sp.org/tlog-proof@v1\nextra !!\nindex 0\n\ncheckpoint\n", "not base64"),
        (b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\ncheckpoint\n", "hashes of 32 bytes"),
        (b"c2sp.org/tlog-proof@v1\nindex 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\ncheckpoint\n", "63 hashes"),
    ],
)
def test_what_is_no_proof_is_refused(data, why):
    with pytest.raises(BadInput, match=why):
        parse_proof(data)


def test_the_proof_of_a_subject_is_a_proof_of_its_newest_entry_that_carries_the_others():
    entries = [ProvenEntry(9, b"s\nA-1\n2\nnew", [b"\x01" * 32]), ProvenEntry(4, b"s\nA-1\n1\nold", [])]
    data = SubjectProof(entries, signed()).encode()
    proof = parse_proof(data)
    assert (proof.index, proof.hashes) == (9, [b"\x01" * 32])
    assert with_entries(proof, "it") == SubjectProof(entries, signed())
    assert str(record_id(entries[0].entry, "it")) == "s A-1 2"
    for wrong in (b"", b"{}", b'{"entry": 1, "others": []}', b'{"entry": "AAAA", "others": [{}]}'):
        with pytest.raises(BadInput, match="does not hold the entry"):
            with_entries(LogProof(9, [], signed(), wrong), "it")
    with pytest.raises(BadInput, match="not an entry of ordermq"):
        record_id(b"s\nA-1\nno number\n", "it")
