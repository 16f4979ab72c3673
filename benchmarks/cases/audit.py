"""The audit log: how fast a tree grows and is verified, what a proof takes, and the same with a database.

The tree has ``n`` leaves. The database has a tenth of them as events of orders, seven of each, whose bodies
are as long as those of the shop.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.case import Case, Contender, Target, Wrong, below
from benchmarks.ground import Ground
from ordermq.audit.checking import check_files
from ordermq.audit.checkpoint import Checkpoint
from ordermq.audit.comparing import RowComparison
from ordermq.audit.folder import LogFolder
from ordermq.audit.growing import LogWriter
from ordermq.audit.merkle import EMPTY_ROOT, inclusion_proof, is_included, leaf_hash
from ordermq.audit.publishing import LogPublisher
from ordermq.audit.signing import new_key
from ordermq.audit.source import read_tile
from ordermq.audit.tiles import TileTree
from ordermq.shop.events import RECORDS
from ordermq.store import Session
from ordermq.store.numbering import Sequencer
from ordermq.store.positions import records_of

_AT_ONCE = 4096
_PROOFS = 200
_PER_ORDER = 7
_BODY = b"shop.order_events\n%032d\n3\npayment_captured\ncapture\n2026-11-01T10:42:00.000000Z\n" + b"x" * 230

_EVENTS = """
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    SELECT md5((n / 7)::text), n % 7 + 1, 'payment_captured', 'capture',
           now() - (:total - n) * interval '1 ms',
           convert_to(rpad('{"data":{},"order_id":"' || md5((n / 7)::text) || '"', 230, '}'), 'UTF8')
      FROM generate_series(:first, :last) AS n
"""
_WITHOUT_ORDERS = "ALTER TABLE shop.order_events DROP CONSTRAINT order_events_order_id_fkey"


def _tree(_: Ground, n: int) -> Mapping[str, float]:
    with TemporaryDirectory() as folder:
        files = LogFolder(Path(folder))
        writer = LogWriter(files, Checkpoint("bench", 0, EMPTY_ROOT))
        batches = [range(first, min(first + _AT_ONCE, n)) for first in range(0, n, _AT_ONCE)]
        append_s = 0.0
        for batch in batches:
            entries = [_BODY % each for each in batch]
            began_s = time.perf_counter()
            writer.append(entries)
            append_s += time.perf_counter() - began_s
        began_s = time.perf_counter()
        checkpoint = writer.finish("bench")
        append_s += time.perf_counter() - began_s
        proof_ms = _proof_ms(files, checkpoint)
        began_s = time.perf_counter()
        if list(check_files(files, checkpoint)):
            raise Wrong("the log that was written is not what was signed")
        verify_s = time.perf_counter() - began_s
        return {"append": n / append_s, "proof": proof_ms, "verify": n / verify_s}


def _proof_ms(files: LogFolder, checkpoint: Checkpoint) -> float:
    """Return the median of proofs of random leaves, each with nothing in memory."""
    random, taken = Random(1), []
    for _ in range(_PROOFS):
        index = random.randrange(checkpoint.size)
        began_s = time.perf_counter()
        proof = inclusion_proof(
            TileTree(lambda tile: read_tile(files, tile), checkpoint.size), index, checkpoint.size
        )
        taken.append(1000 * (time.perf_counter() - began_s))
        if not is_included(leaf_hash(_BODY % index), index, checkpoint.size, proof, checkpoint.root):
            raise Wrong(f"the proof of leaf {index} does not hold")
    return median(taken)


def _database(ground: Ground, n: int) -> Mapping[str, float]:
    ground.command("ordermq", "db", "migrate")
    rows = max(n // 10, 1000)
    _sql(ground, _WITHOUT_ORDERS)
    for first in range(0, rows, 1000):  # a statement for as many events as a batch of consumers writes
        _sql(ground, _EVENTS, first=first, last=min(first + 1000, rows) - 1, total=rows)
    _sql(ground, "VACUUM ANALYZE")
    with closing(Session(ground.database, name="benchmark")) as session, TemporaryDirectory() as folder:
        sequencer, found = Sequencer(every_s=0), 0
        number_s, found = _timed(lambda: _number_all(session, sequencer))
        publisher = LogPublisher(session, {RECORDS.name: RECORDS.select}, Path(folder), new_key("bench"))
        publish_s, published = _timed(publisher.publish)
        if not found == published.checkpoint.size == rows:
            raise Wrong(f"{found} numbered and {published.checkpoint.size} published, not {rows}")
        verify_s, wrong = _timed(lambda: _compare(session, Path(folder), published.checkpoint))
        if wrong:
            raise Wrong(f"{len(wrong)} rows are not what was published")
        return {
            "number": rows / number_s, "publish": rows / publish_s, "verify": rows / verify_s,
            "prove": _prove_ms(ground, session, rows),
        }  # fmt: skip


def _number_all(session: Session, sequencer: Sequencer) -> int:
    total = 0
    while some := sequencer(session, is_active=True):
        total += some
    return total


def _compare(session: Session, folder: Path, checkpoint: Checkpoint) -> list[object]:
    rows = RowComparison(session, {RECORDS.name: RECORDS.select}, checkpoint.size, {})
    with closing(rows):
        found = list(check_files(LogFolder(folder), checkpoint, compare=rows.entries))
    return [*found, *rows.rows()]


def _prove_ms(ground: Ground, session: Session, rows: int) -> float:
    """Return the median of finding all events of a random order and their positions."""
    random, taken = Random(1), []
    for _ in range(_PROOFS):
        order_id = _sql(ground, f"SELECT md5('{random.randrange(rows // _PER_ORDER)}')").strip()
        with session.transaction() as tx:
            tx.fetch_one("SELECT 1")
            began_s = time.perf_counter()
            found = records_of(tx, RECORDS.name, RECORDS.select, order_id)
            taken.append(1000 * (time.perf_counter() - began_s))
        if len(found) != _PER_ORDER:
            raise Wrong(f"{len(found)} events of an order, not {_PER_ORDER}")
    return median(taken)


def _timed(call):  # type: ignore[no-untyped-def] # of any call
    began_s = time.perf_counter()
    result = call()
    return time.perf_counter() - began_s, result


def _sql(ground: Ground, statement: str, **numbers: int) -> str:
    for name, number in numbers.items():
        statement = statement.replace(f":{name}", str(number))
    return ground.stack.postgres.sql(statement, database=ground.name, superuser=True, timeout_s=600.0)


CASE = Case(
    name="audit",
    what="the audit log; n is the number of its leaves, a tenth of them as events in the database",
    unit="entries/s",
    n=10_000_000,
    smoke_n=3000,
    rounds=1,
    by_name_only=True,
    units={"_proof": "ms", "_prove": "ms"},
    contenders=[
        Contender("tree", _tree, "files with fsync"),
        Contender("database", _database, "events of orders of seven, 230 bytes each"),
    ],
    targets=[
        below(20.0, "tree_proof", "ms"),
        below(20.0, "database_prove", "ms"),
        Target("tree_verify >= 100,000 entries/s", lambda found: found["tree_verify"], 100_000),
        Target("database_verify >= 100,000 entries/s", lambda found: found["database_verify"], 100_000),
    ],
)
