"""``ordermq-publish orders``: an order file into the database."""

from contextlib import closing
from functools import partial
from pathlib import Path

import click

from ordermq.cli import options
from ordermq.cli.bulk import Pace
from ordermq.cli.output import note, write, write_json
from ordermq.cli.progress import Input, progress
from ordermq.cli.rejects import RejectsFile, refuse_empty
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import monotonic_s
from ordermq.errors import BadInput, Contention, StoreUnavailable
from ordermq.observe.tracing import sending_spans
from ordermq.shop.cli.exports import export_options, read_options
from ordermq.shop.cli.placing import Counts, Place, Placer, Transactions
from ordermq.shop.cli.program import load_shop
from ordermq.shop.cli.rehearsing import Rehearsal
from ordermq.shop.intake import FORMATS, read_orders
from ordermq.store import migrate


@click.command(
    "orders",
    epilog=f"""\b
Examples:
  ordermq-publish orders orders.csv
  ordermq-publish orders olist.jsonl.gz --format olist --rate 500
  ordermq-publish orders orders_export.csv --format shopify --paid place
  ordermq-publish orders orders.json --format woocommerce --mapping mapping.toml --dry-run
  zcat orders.jsonl.gz | ordermq-publish orders - --json
  ordermq-publish orders orders.csv --dry-run --strict

\b
Exit 0 means that every record was counted, rejects included. Exit 65 means that no
record of the file could be read, or with --strict that a record was rejected.

{EXIT_CODES}""",
)
@click.argument("file", metavar="FILE|-")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    default="native",
    show_default=True,
    help="native: ordermq's JSON lines or CSV; olist: Olist's JSON lines; shopify: the CSV that Shopify"
    " exports; woocommerce: orders of WooCommerce's REST API as a JSON array or JSON lines.",
)
@export_options
@click.option(
    "--patience",
    "retry_for_s",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="How long to try again while the database does not answer, in seconds.",
)
@options.rate
@options.rejects
@options.strict
@options.dry_run
@click.option(
    "--offline",
    is_flag=True,
    help="A dry run without the database: only the file is checked, not what was placed before.",
)
@options.summary_as_json
@options.common
def command(
    *,
    file: str,
    format_: str,
    paid: str,
    mapping_path: Path | None,
    retry_for_s: float,
    rate: float,
    rejects_path: Path,
    strict: bool,
    dry_run: bool,
    offline: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Place every order of FILE, or of standard input if it is -. FILE may be gzipped.

    docs/order-files.md describes the fields. A gzipped FILE is checked whole before the first
    order is placed; a pipe cannot be. Orders are placed in batches. Bad records go to the
    rejects file with their line and reason, and the others are placed. After an
    interruption run it again: an order that was placed before counts as a duplicate, and
    stays cancelled if it was cancelled since. A dry run asks the database for each order,
    and rolls back: it counts and rejects what a run would.

    Orders that a shop exported as cancelled, refunded or shipped are skipped and kept in the
    rejects file, and so are paid ones without --paid place.

    JSON: {in, accepted, duplicate, cancelled, skipped, rejected, reasons, rejects, seconds, dry_run};
    in = accepted + duplicate + cancelled + skipped + rejected.
    """
    options = read_options(format_, paid, mapping_path)
    place = _place(config_path, retry_for_s, dry_run=dry_run, offline=offline)
    began_s = monotonic_s()
    stopped: BaseException | None = None
    with Input(file) as source, closing(RejectsFile(rejects_path, source, id_name="order_id")) as rejects:
        placer = Placer(place, rejects=rejects, pace=Pace(rate))
        try:
            source.check()
            with progress(source) as step:
                placer.place(read_orders(source, format_, options), step)
        except (BadInput, StoreUnavailable, Contention, KeyboardInterrupt) as exc:
            stopped = exc
    if isinstance(stopped, BadInput) and placer.counts.read == 0:
        raise stopped
    _summarise(placer.counts, rejects, monotonic_s() - began_s, as_json=as_json, dry_run=dry_run or offline)
    if stopped is not None:
        note(f"stopped after line {placer.counts.line}; run it again to go on: no order is placed twice")
        raise stopped
    _judge(placer.counts, rejects, format_, strict=strict)


def _place(config_path: str | None, retry_for_s: float, *, dry_run: bool, offline: bool) -> Place:
    if offline:
        return Rehearsal().place_unasked
    program = load_shop(config_path)
    prefix = program.settings.topology.prefix
    spans = sending_spans("ordermq-publish", exchange=prefix, continues=False)
    click.get_current_context().with_resource(spans)
    session = program.session("ordermq-publish")
    migrate.check(session, program.migrations)
    transactions = Transactions(session, retry_for_s=retry_for_s, dry_run=dry_run)
    return partial(Rehearsal().place, ask=transactions.place) if dry_run else transactions.place


def _summarise(counts: Counts, rejects: RejectsFile, seconds: float, *, as_json: bool, dry_run: bool) -> None:
    where = str(rejects.path) if rejects.count else None
    if as_json:
        write_json(
            {
                "in": counts.read,
                "accepted": counts.accepted,
                "duplicate": counts.duplicate,
                "cancelled": counts.cancelled,
                "skipped": counts.skipped,
                "rejected": counts.rejected,
                "reasons": rejects.reasons,
                "rejects": where,
                "seconds": round(seconds, 3),
                "dry_run": dry_run,
            }
        )
        return
    write(
        f"in {counts.read} = accepted {counts.accepted} + duplicate {counts.duplicate}"
        f"{f' + cancelled before {counts.cancelled}' if counts.cancelled else ''}"
        f"{f' + skipped {counts.skipped}' if counts.skipped else ''}"
        f" + rejected {counts.rejected}{' (dry run: nothing was placed)' if dry_run else ''};"
        f" {seconds:.1f} s, {counts.read / max(seconds, 0.001):.0f}/s"
    )
    if counts.cancelled:
        write("an order cancelled before stays so; 'ordermq order reopen ID' opens one that took no money")
    for text in rejects.summary():
        write(text)


def _judge(counts: Counts, rejects: RejectsFile, format_: str, *, strict: bool) -> None:
    refuse_empty(counts.read, rejects.source, strict=strict)
    if counts.read and counts.rejected == counts.read:
        raise BadInput(f"none of the {counts.read} records could be read as {format_}; see {rejects.path}")
    if strict and counts.rejected:
        raise BadInput(f"{counts.rejected} of {counts.read} records were rejected; see {rejects.path}")
