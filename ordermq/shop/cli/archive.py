"""``ordermq archive``: events of orders that are over, in files in place of the table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from itertools import islice
from pathlib import Path

import click

from ordermq.audit.checking import Tampering
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason, strict
from ordermq.cli.output import note, seconds, write, write_json, write_table
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import utc_now
from ordermq.errors import NotProven, OrderConflict
from ordermq.shop.archives.choosing import month_of
from ordermq.shop.archives.creating import ArchivedMonth, archive_month, plan_archive
from ordermq.shop.archives.lines import ArchiveReader
from ordermq.shop.archives.restoring import archives, restore
from ordermq.shop.cli.program import load_shop

_MOST_NAMED = 100
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("archive", epilog=EXIT_CODES)
def command() -> None:
    """Move the events of orders that are over into files; verify and restore them."""


@command.command(
    epilog=f"""\b
Examples:
  ordermq archive create 2026-01 --to /srv/archive --reason "a year old" --dry-run
  ordermq archive create 2026-01 --to /srv/archive --reason "a year old"
  ordermq archive create 2026-01 --to /srv/archive --reason "a year old" --strict --json

{EXIT_CODES}"""
)
@click.argument("month")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the file; it is made if there is none.",
)
@strict
@reason
@dry_run
@as_json
@common
def create(
    *,
    month: str,
    folder: Path,
    strict: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Move the events of the orders accepted in MONTH (UTC, as 2026-01) from the table into a file.

    An order must be at rest: nothing pending, nobody needed, no message waiting, no dead letter open.
    Where there is an audit log, its events must have been published. Others are refused and named, and a
    later run archives them. The file is on the disk and was read back before any event leaves the table.
    Orders, payments and all else stay; nothing can happen to an order of the archive until it is
    restored. Exit 65 with --strict if an order is refused, and if one changed while the file was
    written: then nothing was archived.

    JSON: {month, file, archive_id, orders, events, refused, dry_run}; refused are {order_id, why}.
    """
    session, wanted = load_shop(config_path).session("ordermq archive"), month_of(month, utc_now())
    planned = plan_archive(session, wanted)
    done = planned
    if planned.orders and not dry_run:
        with counting("archive", planned.events) as step:
            done = archive_month(session, wanted, folder, by=actor(), reason=reason, step=step)
    if as_json:
        refused = [each._asdict() for each in done.refused]
        write_json({**asdict(done), "file": _text(done.file), "refused": refused, "dry_run": dry_run})
    else:
        _tell(done, dry_run=dry_run)
    if strict and done.refused:
        raise OrderConflict(f"{len(done.refused)} orders of {month} were refused")


@command.command(
    "list",
    epilog=f"""\b
Examples:
  ordermq archive list
  ordermq archive list --json

{EXIT_CODES}""",
)
@as_json
@common
def list_(*, as_json: bool, config_path: str | None) -> None:
    """List the archives, and whether each file is where it was written.

    JSON lines: {archive_id, month, file, is_there, orders, events, sha256, leaves, archived_at,
    archived_by, restored_at}.
    """
    with load_shop(config_path).session("ordermq archive").transaction() as tx:
        found = [(each, Path(each.file).is_file()) for each in archives(tx)]
    if as_json:
        for each, is_there in found:
            write_json({**asdict(each), "is_there": is_there})
        return
    write_table(
        ("archive", "month", "orders", "events", "archived (UTC)", "restored (UTC)", "file"),
        [
            (
                each.archive_id, f"{each.month:%Y-%m}", each.orders, each.events, seconds(each.archived_at),
                seconds(each.restored_at) if each.restored_at else "",
                each.file if is_there else f"{each.file} (not there)",
            )
            for each, is_there in found
        ],
    )  # fmt: skip


@command.command(
    epilog=f"""\b
Examples:
  ordermq archive verify /srv/archive/2026-01-0a1b2c3d4e5f.jsonl.gz
  ordermq archive verify /srv/archive/2026-01-0a1b2c3d4e5f.jsonl.gz \\
    --log https://audit.example.com/shop --key audit.vkey

{EXIT_CODES}"""
)
@click.argument("file", type=_FILE)
@click.option(
    "--log", "place", metavar="DIR|URL", help="Compare each event with its entry in this audit log."
)
@click.option("--key", metavar="VKEY|FILE", help="With --log: the log's verifier key.")
@as_json
@common
def verify(*, file: Path, place: str | None, key: str | None, as_json: bool, config_path: str | None) -> None:
    """Verify that FILE is a whole archive; with --log also that its events are what the audit log has.

    No database is needed. Exit 65 if the file is damaged, 1 if an event is not what was published.

    JSON: {file, month, orders, events, leaves, findings}.
    """
    if (place is None) != (key is None):
        raise click.UsageError("--log and --key belong together")
    reader = ArchiveReader(file)
    findings: list[Tampering] = []
    if place is None:
        with counting("archive.verify", 0) as step:
            for _ in reader.events():
                step(1)
    else:
        proving = import_module("ordermq.shop.archives.proving")  # it needs the extra
        with counting("archive.verify", 0) as step:
            findings = list(islice(proving.check_against_log(reader, place, key, step), _MOST_NAMED))
    _report(reader, findings, place, as_json=as_json)


@command.command(
    "restore",
    epilog=f"""\b
Examples:
  ordermq archive restore /srv/archive/2026-01-0a1b2c3d4e5f.jsonl.gz --reason "a refund" --dry-run
  ordermq archive restore /srv/archive/2026-01-0a1b2c3d4e5f.jsonl.gz --reason "a refund"

{EXIT_CODES}""",
)
@click.argument("file", type=_FILE)
@reason
@dry_run
@as_json
@common
def restore_(*, file: Path, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Put the events of FILE back into the table, all or none, in one transaction.

    FILE must be the very file that was archived, by its SHA-256; it may have been moved. The events keep
    their positions in the audit log. FILE stays. Exit 65 if it is another file, or was restored before.

    JSON: {archive_id, file, orders, events, dry_run}.
    """
    session = load_shop(config_path).session("ordermq archive")
    with counting("archive.restore", 0) as step:
        done = restore(file, session, by=actor(), reason=reason, dry_run=dry_run, step=step)
    if as_json:
        write_json({
            "archive_id": done.archive.archive_id, "file": str(file), "orders": done.orders,
            "events": done.events, "dry_run": dry_run,
        })  # fmt: skip
    else:
        what = "would be back in the table" if dry_run else "are back in the table"
        write(f"{done.events} events of {done.orders} orders {what}")


def _tell(done: ArchivedMonth, *, dry_run: bool) -> None:
    for each in done.refused[:_MOST_NAMED]:
        write(f"order {each.order_id}: refused ({each.why})")
    if len(done.refused) > _MOST_NAMED:
        why = Counter(each.why for each in done.refused).most_common()
        note("refused: " + ", ".join(f"{count} because {text}" for text, count in why))
    total = done.orders + len(done.refused)
    where = f" in {done.file}" if done.file else ""
    parts = f"archived {done.orders} + refused {len(done.refused)}"
    tense = " (dry run: nothing was changed)" if dry_run else ""
    write(f"in {total} = {parts}; {done.events} events{where}{tense}")


def _report(
    reader: ArchiveReader, findings: Sequence[Tampering], place: str | None, *, as_json: bool
) -> None:
    if as_json:
        write_json({
            "file": str(reader.path), "month": reader.month, **reader.totals.document,
            "findings": [asdict(each) for each in findings],
        })  # fmt: skip
    else:
        for each in findings:
            write(str(each))
    if findings:
        more = " or more" if len(findings) >= _MOST_NAMED else ""
        raise NotProven(f"{len(findings)}{more} things in {reader.path} are not what the log has")
    if not as_json:
        what = f"{reader.totals.events} events of {len(reader.totals.versions)} orders of {reader.month}"
        against = f", and each event is what {place} has" if place else ""
        write(f"OK: {what}: the file is whole{against}")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
