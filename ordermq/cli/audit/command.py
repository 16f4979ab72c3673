"""``ordermq audit``: prove to others that the history of orders and actions is what it was."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from ordermq.audit.checking import check_consistency
from ordermq.audit.checkpoint import SignedCheckpoint
from ordermq.audit.folder import LogFolder, sync_folder
from ordermq.audit.merkle import consistency_proof
from ordermq.audit.notes import VerifierKey
from ordermq.audit.publishing import only_publisher
from ordermq.audit.signing import cosigned, new_key, opened
from ordermq.audit.source import read_checkpoint, read_tile, source_of
from ordermq.audit.tiles import TileTree
from ordermq.audit.witness import cosign, with_cosignatures
from ordermq.cli.audit.publishing import prove, publish
from ordermq.cli.audit.verifying import at_log, key_option, read_file, verify, witness_key
from ordermq.cli.options import as_json, common
from ordermq.cli.output import note, write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import LogUnreachable, UsageError

_TRIES = 3  # of a witness while the log grows


@click.group("audit", epilog=EXIT_CODES)
def command() -> None:
    """Prove to others that the history of orders and actions is what it was."""


command.add_command(publish)
command.add_command(prove)
command.add_command(verify)


@command.command(
    epilog=f"""\b
Examples:
  ordermq audit keygen audit.example.com/shop --out /etc/ordermq/audit.key > audit.vkey

{EXIT_CODES}"""
)
@click.argument("name")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File for the private key; a new one."
)
@common
def keygen(*, name: str, out: Path, config_path: str | None) -> None:
    """Make a key for the log NAME: the private one in a file, the public one on stdout.

    NAME is the log's name too, for ever: take the address at which it will be served, without https://.
    Who has the private key can sign any history. Keep it where no user of the database can read it.
    """
    key = new_key(name)
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key.file_text())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(out.absolute().parent)
    except OSError as exc:
        raise UsageError(f"cannot write {out}: {exc.strerror}; name a file that is not there yet") from exc
    note(f"the private key is in {out}; give auditors and witnesses the line on stdout")
    write(str(key.verifier))


@command.command(
    epilog=f"""\b
Examples:
  ordermq audit consistency january --log https://audit.example.com/shop --key audit.vkey
  ordermq audit consistency january june --log /srv/audit --key audit.vkey --json

{EXIT_CODES}"""
)
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path), required=False)
@at_log
@key_option
@as_json
@common
def consistency(
    *, old: Path, new: Path | None, place: str, key: VerifierKey, as_json: bool, config_path: str | None
) -> None:
    """Check that the log of the checkpoint OLD is the beginning of that of NEW, unchanged.

    OLD and NEW are files with checkpoints that were kept. Without NEW it is the present one of the log.

    JSON: {origin, old_size, new_size, proof}.
    """
    source = source_of(place)
    before = opened(read_file(old), key, str(old)).checkpoint
    after = (opened(read_file(new), key, str(new)) if new else read_checkpoint(source, key)).checkpoint
    proof = check_consistency(source, before, after)
    if as_json:
        write_json({
            "origin": after.origin, "old_size": before.size, "new_size": after.size,
            "proof": [each.hex() for each in proof],
        })  # fmt: skip
    else:
        write(f"consistent: the first {before.size} of {after.size} entries are unchanged")


@command.command(
    epilog=f"""\b
Examples:
  ordermq audit witness https://w1.example.org --witness-key w1.vkey \\
    --log /srv/audit --key audit.vkey

{EXIT_CODES}"""
)
@click.argument("url")
@witness_key
@at_log
@key_option
@as_json
@common
def witness(
    *,
    url: str,
    witnesses: Sequence[VerifierKey],
    place: str,
    key: VerifierKey,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Have the witness at URL cosign the present checkpoint, and add that to the log.

    A witness runs on another machine, under another person. It cosigns only a checkpoint that continues the
    one it has cosigned before, so a history that was forked or cut is refused, even if its key was stolen.

    JSON: {origin, size, witness, cosigned_at}.
    """
    if len(witnesses) != 1:
        raise click.UsageError("name the witness's key: --witness-key VKEY, once")
    source = source_of(place)
    if not isinstance(source, LogFolder):
        raise click.UsageError("--log must be the folder of the log: the cosignature is written into it")
    for _ in range(_TRIES):
        signed = _with_cosignature(source, key, url, witnesses[0])
        if signed is not None:
            break
    else:
        raise LogUnreachable(f"{place} grew each of the {_TRIES} times the witness was asked; run this again")
    (mine,) = cosigned(signed, witnesses)
    if as_json:
        write_json({
            "origin": signed.checkpoint.origin, "size": signed.checkpoint.size, "witness": mine.name,
            "cosigned_at": mine.at_s,
        })  # fmt: skip
    else:
        write(f"cosigned by {mine.name}: {signed.checkpoint.size} entries of {signed.checkpoint.origin}")


def _with_cosignature(
    source: LogFolder, key: VerifierKey, url: str, cosigner: VerifierKey
) -> SignedCheckpoint | None:
    """Have a witness cosign the checkpoint, and add that to it; None if the log has another one by then.

    The witness answers when it likes. Meanwhile the log may grow, and another witness may cosign.
    """
    signed = read_checkpoint(source, key)
    tree = TileTree(lambda tile: read_tile(source, tile), signed.checkpoint.size)
    mine = cosign(url, cosigner, signed, lambda old, new: consistency_proof(tree, old, new))
    with only_publisher(Path(source.what), waits=True):
        present = read_checkpoint(source, key)
        if present.checkpoint != signed.checkpoint:
            return None
        cosigned_note = with_cosignatures(present.note, mine)
        source.put_checkpoint(cosigned_note.encode())
        return SignedCheckpoint(present.checkpoint, cosigned_note)
