"""``ordermq audit publish`` and ``prove``: what the audit log takes from the database."""

import sys
from pathlib import Path

import click

from ordermq.audit.checking import check_proof
from ordermq.audit.entries import ProvenEntry, SubjectProof, entry_of
from ordermq.audit.merkle import inclusion_proof
from ordermq.audit.notes import VerifierKey
from ordermq.audit.publishing import LogPublisher
from ordermq.audit.signing import read_key
from ordermq.audit.source import LogSource, read_checkpoint, read_tile, source_of
from ordermq.audit.tiles import TileTree
from ordermq.cli.audit.verifying import at_log, key_option, read_file
from ordermq.cli.options import as_json, common
from ordermq.cli.output import note, write, write_bytes, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import OrderArchived, OrderNotFound
from ordermq.store.actions import RECORDS as ACTIONS
from ordermq.store.numbering import waits_s
from ordermq.store.positions import PositionedRecord, archives_of, count_positions, records_of

_LONG_S = 60.0  # records get their positions within a second or two


@click.command(
    epilog=f"""\b
Examples:
  ordermq audit publish --log /srv/audit --key-file /etc/ordermq/audit.key
  ordermq audit publish --log /srv/audit --key-file /etc/ordermq/audit.key --json

{EXIT_CODES}"""
)
@click.option(
    "--log", "folder", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The log's folder."
)
@click.option(
    "--key-file", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="The private key that keygen wrote.",
)  # fmt: skip
@as_json
@common
def publish(*, folder: Path, key_file: Path, as_json: bool, config_path: str | None) -> None:
    """Write what is new in the history into the log, and sign it.

    Run it every minute or so, by cron or a timer. It signs nothing that does not continue what was signed
    before. Nothing new is no error.

    JSON: {origin, size, root, added}.
    """
    program = load_program(config_path)
    key = read_key(read_file(key_file).decode("ascii", "replace"), str(key_file))
    session = program.session("ordermq audit")
    with session.transaction() as tx:
        total, waiting_s = count_positions(tx), waits_s(tx)
    if waiting_s > _LONG_S:
        note(
            f"records have waited {waiting_s:.0f} s for their positions, and are not in the log yet:"
            " is a relay active? See 'ordermq status'"
        )
    with counting("published", total) as step:
        done = LogPublisher(session, program.records, folder, key).publish(step)
    checkpoint = done.checkpoint
    if as_json:
        write_json({
            "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
            "added": done.added,
        })  # fmt: skip
    else:
        write(f"published: {done.added} new entries, {checkpoint.size} in all, of {checkpoint.origin}")


@click.command(
    epilog=f"""\b
Examples:
  ordermq audit prove A-1001 --log /srv/audit --key audit.vkey > A-1001.tlog-proof
  ordermq audit prove A-1001 --number 3 --log /srv/audit --key audit.vkey
  ordermq audit prove --action 17 --log /srv/audit --key audit.vkey

{EXIT_CODES}"""
)
@click.argument("subject", required=False)
@click.option(
    "--number", type=click.IntRange(0), help="Only the record of this number: of an order its version."
)
@click.option("--action", type=click.IntRange(0), metavar="ID", help="Prove this operator's action instead.")
@at_log
@key_option
@common
def prove(
    *, subject: str | None, number: int | None, action: int | None, place: str, key: VerifierKey,
    config_path: str | None,
) -> None:  # fmt: skip
    """Print a proof that all events of the order SUBJECT are in the log: one file, which needs nothing else.

    It is a tlog-proof of the newest event, which any tool for such proofs verifies. The events before it,
    each with its own proof, are in its line "extra"; 'ordermq audit verify --offline' verifies them too.
    """
    if (subject is None) == (action is None):
        raise click.UsageError("name an order, or an action by --action")
    program, source = load_program(config_path), source_of(place)
    signed = read_checkpoint(source, key)
    size = signed.checkpoint.size
    found = [each for each in _records(program, subject, number, action) if each.position < size]
    if not found:
        refuse_archived(program, subject or "")
        raise OrderNotFound(
            f"nothing of {subject or f'action {action}'} is among the {size} entries of {source.what};"
            " did 'ordermq audit publish' run since it was written? If it was changed later,"
            " 'ordermq audit verify --full' says so"
        )
    proof = SubjectProof(_entries(source, size, found), signed.note.encode())
    check_proof(proof, signed.checkpoint, "the proof that would be printed")
    if sys.stdout.isatty():
        write(proof.encode().decode())
    else:
        write_bytes(proof.encode())


def _records(
    program: Program, subject: str | None, number: int | None, action: int | None
) -> list[PositionedRecord]:
    with program.session("ordermq audit").transaction() as tx:
        if action is not None:
            return records_of(tx, ACTIONS.name, ACTIONS.select, "", action)
        for source, select in program.records.items():
            if found := records_of(tx, source, select, subject or "", number):
                return found
    return []


def refuse_archived(program: Program, subject: str) -> None:
    """Raise OrderArchived if the records of a subject are in a file, of which its proof could be made."""
    with program.session("ordermq audit").transaction() as tx:
        for source, archived in program.archived.items():
            for each in archives_of(tx, source, archived, [subject]).values():
                raise OrderArchived(f"the records of {subject} are archived in {each.file}: restore it first")


def _entries(source: LogSource, size: int, records: list[PositionedRecord]) -> list[ProvenEntry]:
    tree = TileTree(lambda tile: read_tile(source, tile), size)
    return [
        ProvenEntry(
            each.position,
            entry_of(*each[1:4], each.content or b""),
            inclusion_proof(tree, each.position, size),
        )
        for each in records
    ]
