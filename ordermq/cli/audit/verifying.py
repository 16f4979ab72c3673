"""``ordermq audit verify``, and the options that the commands of the audit log share."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from ordermq.audit.checking import Tampering, check_consistency, check_files, check_proof
from ordermq.audit.checkpoint import SignedCheckpoint
from ordermq.audit.comparing import compare
from ordermq.audit.entries import with_entries
from ordermq.audit.notes import VerifierKey, parse_key
from ordermq.audit.proof import parse_proof
from ordermq.audit.signing import cosigned, opened
from ordermq.audit.source import LogSource, read_checkpoint, source_of
from ordermq.cli.options import as_json, common
from ordermq.cli.output import note, write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import NotProven, UsageError

F = TypeVar("F", bound=Callable[..., Any])

_MOST_FINDINGS = 100


def read_file(path: Path) -> bytes:
    """Return the bytes of a file. Raises UsageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc


def read_vkey(text: str) -> VerifierKey:
    """Return the verifier key that ``text`` is, or that is in the file of that name.

    Raises BadInput, UsageError.
    """
    if text.count("+") >= 2 and not Path(text).exists():
        return parse_key(text, text)
    return parse_key(read_file(Path(text)).decode("utf-8", "replace"), text)


at_log = click.option(
    "--log",
    "place",
    metavar="DIR|URL",
    required=True,
    help="The log: its folder, or the address that serves it.",
)
key_option = click.option(
    "--key",
    metavar="VKEY|FILE",
    required=True,
    callback=lambda _, __, value: read_vkey(value),
    help="The log's verifier key, as keygen printed it; you must have it from elsewhere than the log.",
)
witness_key = click.option(
    "--witness-key",
    "witnesses",
    metavar="VKEY|FILE",
    multiple=True,
    callback=lambda _, __, values: [read_vkey(each) for each in values],
    help="The verifier key of a witness; may be given several times.",
)


@click.command(
    epilog=f"""\b
Examples:
  ordermq audit verify --offline A-1001.tlog-proof --key audit.vkey
  ordermq audit verify --log /srv/audit --key audit.vkey --full
  ordermq audit verify --log /srv/audit --key audit.vkey --since january.checkpoint
  ordermq audit verify --log https://audit.example.com/shop --key audit.vkey \\
    --witness-key w1.vkey --quorum 1 --json

{EXIT_CODES}"""
)
@click.option(
    "--offline", type=click.Path(path_type=Path), metavar="FILE", help="Verify this proof and nothing else."
)
@click.option("--log", "place", metavar="DIR|URL", help="The log: its folder, or the address that serves it.")
@key_option
@click.option("--full", is_flag=True, help="With --log: compare each row of the database with its entry too.")
@click.option(
    "--since",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A checkpoint you have kept: the log must continue it.",
)
@witness_key
@click.option(
    "--quorum", type=click.IntRange(0), default=0, help="So many witnesses must have cosigned. Default: 0."
)
@as_json
@common
def verify(
    *, offline: Path | None, place: str | None, key: VerifierKey, full: bool, since: Path | None,
    witnesses: Sequence[VerifierKey], quorum: int, as_json: bool, config_path: str | None,
) -> None:  # fmt: skip
    """Verify a proof, or every entry and every tile of a log, up to the root that its key signed.

    With --full each row of the database is compared with its entry too: what was edited, removed, inserted or
    reordered since is named. Without it no database is needed. The exit code is 1 if anything is found.

    JSON: {origin, size, root, cosigned, verified, findings}.
    """
    if (offline is None) == (place is None) or (full and offline is not None):
        raise click.UsageError("name a proof by --offline, or a log by --log [--full]")
    if offline is not None:
        proof = with_entries(parse_proof(read_file(offline), str(offline)), str(offline))
        signed = opened(proof.checkpoint, key, str(offline))
        seen = check_quorum(signed, witnesses, quorum, str(offline))
        verified = [str(each) for each in check_proof(proof, signed.checkpoint, str(offline))]
        findings: list[Tampering] = []
    else:
        source = source_of(place or "")
        signed = read_checkpoint(source, key)
        seen = check_quorum(signed, witnesses, quorum, source.what)
        program = load_program(config_path) if full else None
        findings = _check_log(source, signed, key, since, program)
        verified = []
    report(signed, seen, verified, findings, as_json=as_json)


def check_quorum(
    signed: SignedCheckpoint, witnesses: Sequence[VerifierKey], quorum: int, what: str
) -> list[str]:
    """Return the names of the witnesses that cosigned. Raises NotProven if they are too few."""
    seen = sorted({each.name for each in cosigned(signed, witnesses, what)})
    if len(seen) < quorum:
        raise NotProven(f"{what} is cosigned by {len(seen)} of the witnesses named, and {quorum} are wanted")
    return seen


def report(
    signed: SignedCheckpoint,
    seen: Sequence[str],
    verified: Sequence[str],
    findings: Sequence[Tampering],
    *,
    as_json: bool,
) -> None:
    """Print the result of a verification. Raises NotProven if something was found."""
    checkpoint = signed.checkpoint
    if as_json:
        write_json({
            "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
            "cosigned": seen, "verified": verified or checkpoint.size,
            "findings": [vars(each) for each in findings],
        })  # fmt: skip
    else:
        for each in (*verified, *findings):
            write(str(each))
    if findings:
        more = " or more" if len(findings) >= _MOST_FINDINGS else ""
        raise NotProven(
            f"{len(findings)}{more} things in the log of {checkpoint.origin} are not what was signed"
        )
    if not as_json:
        by = f", cosigned by {', '.join(seen)}" if seen else ""
        what = f"{len(verified)} entries are in the log" if verified else "all of it is what was signed"
        write(f"OK: {what}: {checkpoint.origin}, {checkpoint.size} entries{by}")


def _check_log(
    source: LogSource, signed: SignedCheckpoint, key: VerifierKey, since: Path | None, program: Program | None
) -> list[Tampering]:
    checkpoint = signed.checkpoint
    if since is not None:
        check_consistency(source, opened(read_file(since), key, str(since)).checkpoint, checkpoint)
    with counting("verified", checkpoint.size) as step:
        if program is None:
            found: Iterable[Tampering] = check_files(source, checkpoint, step)
        else:
            session = program.session("ordermq audit")
            found = compare(
                session,
                program.records,
                source,
                checkpoint,
                key,
                archived=program.archived,
                step=step,
                say=note,
            )
        return list(islice(found, _MOST_FINDINGS))
