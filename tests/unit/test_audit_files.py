"""A log in a folder: it grows, others read it, and what is done to its files is found and named."""

import json
import os
import stat
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from ordermq.audit.checking import check_consistency, check_files
from ordermq.audit.checkpoint import Checkpoint, parse_checkpoint
from ordermq.audit.entries import ProvenEntry, SubjectProof
from ordermq.audit.growing import LogWriter
from ordermq.audit.notes import COSIGNATURE, NoteSignature, VerifierKey, parse_note
from ordermq.audit.signing import new_key, opened
from ordermq.audit.tiles import Tile
from ordermq.cli import app
from ordermq.cli.run import run
from ordermq.errors import NotProven
from tests.support.audit_log import MadeLog, independent, needs_aics

SIZES = (3, 300, 256, 1, 700)  # of the steps in which the log grows: 1,260 in all


@pytest.fixture
def log(tmp_path):
    made = MadeLog(tmp_path / "log")
    for each in SIZES:
        made.grow(each)
    return made


@pytest.fixture
def proof(log, tmp_path):
    """The file of a proof of three entries."""
    entries = [ProvenEntry(each, log.entries[each], log.proof(each)) for each in (1200, 256, 3)]
    path = tmp_path / "A-1.tlog-proof"
    path.write_bytes(SubjectProof(entries, log.files.read("checkpoint")).encode())
    return path


def audit(*words):
    """Run a command; return its exit code and output."""
    result = CliRunner().invoke(app.app, ["audit", *map(str, words)], standalone_mode=False)
    return result.return_value, result.output


def code_of(capsys, *words):
    """Run a command as a program; return its exit code and what it says on stderr."""
    code = run(app.app, "ordermq", ["audit", *map(str, words)])
    return code, capsys.readouterr().err


def found(log):
    return [
        f"{each.kind} {each.where.removeprefix(str(log.folder))}"
        for each in check_files(log.files, log.checkpoint)
    ]


def test_a_log_that_grew_in_steps_holds_what_was_signed(log):
    assert log.checkpoint.size == sum(SIZES)
    assert not found(log)
    assert not list(log.folder.rglob("*.being-written"))


def test_tiles_that_are_not_full_stay_until_the_full_one_is_there(log):
    """FOL3."""
    partial = sorted(str(each.relative_to(log.folder)) for each in log.folder.rglob("*.p/*"))
    assert "tile/0/000.p/3" not in partial
    assert {"tile/0/004.p/236", "tile/entries/004.p/236", "tile/1/000.p/4", "tile/1/000.p/1"} <= set(partial)


def test_a_folder_that_holds_another_history_is_not_continued(log):
    """FOL2, GRW1."""
    with pytest.raises(NotProven, match="replaced tile"):
        LogWriter(log.files, Checkpoint(log.key.name, log.checkpoint.size, b"\x00" * 32))
    with pytest.raises(NotProven, match="replaced tile"):
        log.files.add(Tile(0, 0), b"\x00" * 8192)
    log.files.add(Tile(0, 0), log.files.read("tile/0/000"))


def test_the_tiles_of_a_checkpoint_are_on_the_disk_before_it_is_signed(tmp_path, monkeypatch):
    """FOL1: each folder was synced after the last file was moved into it, and each new folder's own name."""
    unsynced = set()
    replace, fsync, mkdir = Path.replace, os.fsync, os.mkdir

    def note_moved(path, target):
        unsynced.add(target.parent)
        return replace(path, target)

    def note_made(path, *mode, **more):
        mkdir(path, *mode, **more)
        unsynced.add(Path(path).parent)

    def note_synced(descriptor):
        unsynced.discard(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", note_moved)
    monkeypatch.setattr(os, "mkdir", note_made)
    monkeypatch.setattr(os, "fsync", note_synced)
    finish = LogWriter.finish
    found = []

    def finished(self, origin):
        checkpoint = finish(self, origin)
        found.append(sorted(unsynced))
        return checkpoint

    monkeypatch.setattr(LogWriter, "finish", finished)
    made = MadeLog(tmp_path / "some" / "log")
    for each in SIZES:
        made.grow(each)
    assert (found, unsynced) == ([[]] * len(SIZES), set())


class Witness:
    """Cosigns whatever it is asked; ``meanwhile`` is called before it answers."""

    def __init__(self, name, meanwhile=lambda: None):
        self.key, self.meanwhile = new_key(name), meanwhile
        public = self.key.private_key.public_key().public_bytes_raw()
        self.verifier = VerifierKey(name, COSIGNATURE, public)

    def ask(self, method, url, body):
        text = parse_note(body.partition(b"\n\n")[2]).text
        self.meanwhile()
        message = f"cosignature/v1\ntime 7\n{text}".encode()
        signature = struct.pack(">Q", 7) + self.key.private_key.sign(message)
        return 200, NoteSignature(self.key.name, self.verifier.key_id, signature).line().encode()


def cosign(log, monkeypatch, witness):
    monkeypatch.setattr("ordermq.audit.witness.ask", witness.ask)
    options = ("--witness-key", witness.verifier, "--log", log.folder, "--key", log.vkey, "--json")
    return audit("witness", "http://w", *options)


def test_what_others_write_while_a_witness_answers_stays(log, monkeypatch):
    """Another witness cosigns meanwhile, and the log grows meanwhile: neither is taken back."""
    first = Witness("w1", meanwhile=lambda: None)
    second = Witness("w2", meanwhile=lambda: cosign(log, monkeypatch, first))
    cosign(log, monkeypatch, second)
    signatures = opened(log.files.read("checkpoint"), log.key.verifier).note.signatures
    assert {each.name for each in signatures} == {log.key.name, "w1", "w2"}

    steps = [lambda: log.grow(300)]
    third = Witness("w3", meanwhile=lambda: steps.pop()() if steps else None)
    _, said = cosign(log, monkeypatch, third)
    assert json.loads(said)["size"] == log.checkpoint.size == sum(SIZES) + 300
    assert not found(log)


def test_a_url_with_a_password_is_refused_and_not_repeated(log, capsys):
    code, said = code_of(capsys, "verify", "--log", "http://anna:geheim@localhost:1/log", "--key", log.vkey)
    assert (code, "geheim" in said, "has a user in it" in said) == (64, False, True)


def test_a_file_that_was_cut_beside_its_place_does_not_matter(log):
    """FOL1."""
    beside = log.folder / "checkpoint.being-written"
    beside.write_bytes(b"half")
    log.grow(5)
    assert not beside.exists()
    assert not found(log)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tile/0/001", "replaced tile /tile/0/001"),
        ("tile/0/004.p/236", "replaced tile /tile/0/004.p/236"),
        ("tile/1/000.p/4", "replaced tile /tile/1/000.p/4"),
        ("tile/entries/001", "edited archive /tile/entries/001"),
        ("tile/entries/004.p/236", "edited archive /tile/entries/004.p/236"),
    ],
)
def test_a_file_that_was_changed_is_found_and_named(log, name, kind):
    """CHK1."""
    path = log.folder / name
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    assert kind in found(log)
    path.write_bytes(data[:-5])
    assert found(log)
    path.unlink()
    assert found(log)


def test_a_fork_and_an_older_checkpoint_are_not_consistent(log, tmp_path):
    other = MadeLog(tmp_path / "fork")
    other.key = log.key
    other.entries = [b"demo\nA-1\n0\nanother"]
    old = other.grow(700)
    forked = parse_checkpoint(old).checkpoint
    with pytest.raises(NotProven, match="forked history"):
        check_consistency(log.files, forked, log.checkpoint)
    with pytest.raises(NotProven, match="older checkpoint"):
        check_consistency(log.files, log.checkpoint, forked)


def test_keygen_writes_a_key_only_its_owner_reads_and_never_over_another(tmp_path, capsys):
    path = tmp_path / "audit.key"
    code, vkey = audit("keygen", "audit.example.com/shop", "--out", path)
    assert code is None
    assert vkey.splitlines()[-1].startswith("audit.example.com/shop+")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip().split("+", 4)[4] not in vkey
    code, error = code_of(capsys, "keygen", "audit.example.com/shop", "--out", path)
    assert (code, "not there yet" in error) == (64, True)


def test_verify_tells_what_is_proven_and_exits_with_1_if_anything_is_not(log, proof, capsys):
    options = ("--key", log.vkey)
    _, text = audit("verify", "--offline", proof, *options)
    assert "OK: 3 entries are in the log" in text
    assert "demo A-1 256" in text
    _, text = audit("verify", "--log", log.folder, *options, "--json")
    assert json.loads(text)["size"] == sum(SIZES)
    code, error = code_of(capsys, "verify", "--log", log.folder, *options, "--quorum", 1)
    assert (code, "cosigned by 0" in error) == (1, True)
    code, error = code_of(capsys, "verify", "--offline", proof, "--key", MadeLog(log.folder).vkey)
    assert (code, "swapped key" in error) == (1, True)
    (log.folder / "tile/0/001").write_bytes(b"\x00" * 8192)
    code, error = code_of(capsys, "verify", "--log", log.folder, *options)
    assert (code, "are not what was signed" in error) == (1, True)


def test_a_proof_whose_entry_was_changed_is_refused(log, proof, capsys):
    entries = [ProvenEntry(3, b"demo\nA-1\n3\nanother", log.proof(3))]
    proof.write_bytes(SubjectProof(entries, log.files.read("checkpoint")).encode())
    code, error = code_of(capsys, "verify", "--offline", proof, "--key", log.vkey)
    assert (code, "edited entry" in error) == (1, True)


def test_a_checkpoint_that_was_kept_is_compared_with_the_present_one(log, tmp_path, capsys):
    kept = tmp_path / "kept"
    kept.write_bytes(log.files.read("checkpoint"))
    log.grow(300)
    options = ("--log", log.folder, "--key", log.vkey)
    _, text = audit("consistency", kept, *options)
    assert "the first 1260 of 1560 entries are unchanged" in text
    _, text = audit("verify", *options, "--since", kept)
    assert "OK" in text
    later = tmp_path / "later"
    later.write_bytes(log.files.read("checkpoint"))
    log.files.put_checkpoint(kept.read_bytes())
    code, error = code_of(capsys, "verify", *options, "--since", later)
    assert (code, "older checkpoint" in error) == (1, True)


@needs_aics
def test_another_implementation_verifies_the_log_its_proof_and_its_continuation(log, proof, tmp_path):
    kept = tmp_path / "kept"
    kept.write_bytes(log.files.read("checkpoint"))
    assert "size=1260" in independent(log.folder, log.vkey)
    assert "b'1200'" in independent("--proof", proof, log.vkey)
    log.grow(1000)
    assert "1260 2260" in independent("--consistency", log.folder, kept, log.vkey)
