"""What an operator waits for: each list and each look, at five million orders; ``n`` is their number.

There is a dead letter for 25 orders, and as many rows of ``actions``. Of a thousand orders one is under
way, and one in ten of those needs a person; of a hundred 3 are cancelled. Half of the orders have attributes;
one in a hundred has each of ``hundredth`` and, of the older half only, ``gone``. Each time is the median of
five, of the same calls that the commands make, on a connection that is open.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from statistics import median

from benchmarks.case import Case, Contender, Wrong, below
from benchmarks.ground import Ground
from ordermq.shop import queries
from ordermq.shop.saga import Status
from ordermq.shop.selection import Selection
from ordermq.store import Session, StoreTransaction, actions, dead_letters, outbox
from ordermq.store.dead_letters import Filter

MOST_MS = 50.0
_TIMES = 5
_AT_ONCE = 250_000
_ALL_ROWS = 101  # a list of 100, and the row that says that there are more

_ORDERS = """
    INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
                             content_sha256, traceparent, attention_reason, placed_at, accepted_at,
                             updated_at, terminal_at, attributes)
    SELECT 'A-' || n, 'C-' || n % 90000, status,
           CASE WHEN status IN ('completed', 'cancelled', 'refunded') THEN '{}'::text[]
                ELSE ARRAY['capture'] END,
           5, 'EUR', 2500 + n % 500, decode(md5(n::text), 'hex'),
           '00-' || md5(n::text) || '-0000000000000001-01',
           CASE WHEN n % 10000 = 1 THEN 'payment_failed: ' || n END, at, at, at + interval '3 seconds',
           CASE WHEN status IN ('completed', 'cancelled', 'refunded') THEN at + interval '3 seconds' END,
           CASE WHEN n % 2 = 0 THEN '{}'::jsonb
                ELSE jsonb_build_object(
                    'merchant', CASE WHEN n % 10 = 1 THEN 'common' WHEN n % 100 = 3 THEN 'hundredth'
                                     WHEN n % 100 = 5 AND n < :total / 2 THEN 'gone'
                                     ELSE 'm' || n % 40009 END,
                    'channel', CASE n % 4 WHEN 1 THEN 'app' ELSE 'web' END) END
      FROM (SELECT n, now() - (:total - n) * interval '1 second' AS at,
                   CASE n % 1000 WHEN 1 THEN 'reserved' WHEN 2 THEN 'cancelled' WHEN 3 THEN 'cancelled'
                                  ELSE CASE WHEN n % 100 = 4 THEN 'cancelled' WHEN n = 7 THEN 'refunded'
                                            WHEN n = 8 THEN 'payment_due' ELSE 'completed' END END AS status
              FROM generate_series(:first, :last) AS n) AS made
"""

_LETTERS = """
    INSERT INTO ordermq.dead_letters (queue, message_id, type, version, correlation_id, traceparent,
                                      occurred_at, attempt, hop, body, reason, died_at, discarded_at)
    SELECT CASE n % 3 WHEN 0 THEN 'payment' WHEN 1 THEN 'notify' ELSE 'points' END, 'A-' || n || ':2:x',
           'T', 1,
           'A-' || n, '', now(), 8, 8, '{}', 'cause ' || chr((65 + n % 20)::integer) || ' of order A-' || n,
           now() - (:total - n) * interval '1 second', CASE WHEN n % 50 = 0 THEN now() END
      FROM generate_series(1, :total) AS n
"""

_ACTIONS = """
    INSERT INTO ordermq.actions (actor, action, subject, reason)
    SELECT 'person ' || n % 7, CASE n % 3 WHEN 0 THEN 'dead.replay' ELSE 'order.resume' END,
           'order A-' || n, 'why'
      FROM generate_series(1, :total) AS n
"""

_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
     WHERE schemaname = 'shop' AND tablename IN ('orders', 'order_attributes') AND indexname <> 'orders_pkey'
"""

Look = Callable[[StoreTransaction], object]


def _orders(**wanted: object) -> Look:
    chosen = Selection(**wanted)  # type: ignore[arg-type] # as it names them
    return lambda tx: queries.select(tx, chosen, limit=_ALL_ROWS)


def _dead(**wanted: object) -> Look:
    return lambda tx: dead_letters.heads(tx, Filter(**wanted), limit=_ALL_ROWS)  # type: ignore[arg-type] # as above


def _actions(**wanted: str) -> Look:
    return lambda tx: actions.select(tx, limit=_ALL_ROWS, **wanted)  # type: ignore[arg-type] # as above


LOOKS: Mapping[str, Look] = {
    "orders": _orders(),
    **{f"orders_{each}": _orders(status=each) for each in Status},
    "orders_attention": _orders(needs_person=True),
    "orders_where_common": _orders(attributes=(("merchant", "common"),)),
    "orders_where_hundredth": _orders(attributes=(("merchant", "hundredth"),)),
    "orders_where_gone": _orders(attributes=(("merchant", "gone"),)),
    "orders_where_rare": _orders(attributes=(("merchant", "m77"),)),
    "orders_where_none": _orders(attributes=(("merchant", "nobody"),)),
    "orders_where_both": _orders(attributes=(("merchant", "common"), ("channel", "web"))),
    "orders_where_attention": _orders(attributes=(("merchant", "common"),), needs_person=True),
    "stuck": lambda tx: queries.stuck(tx, older_than_s=600, action_s=3600, limit=_ALL_ROWS),
    "count_stuck": lambda tx: queries.count_stuck(tx, older_than_s=600, action_s=3600),
    "count_attention": queries.count_attention,
    "dead": _dead(),
    "dead_queue": _dead(queue="points"),
    "dead_no_queue": _dead(queue="nobody"),
    "dead_error": _dead(error="cause C"),
    "dead_no_error": _dead(error="nothing like it"),
    "dead_older": _dead(older_than_s=100_000.0),
    "dead_newer": _dead(newer_than_s=600.0),
    "dead_closed": _dead(closed=True),
    "dead_order": _dead(correlation_id="A-77"),
    "dead_causes": lambda tx: dead_letters.causes(tx, limit=10),
    "dead_group": dead_letters.group,
    "dead_count": dead_letters.count_open,
    "outbox": outbox.pending,
    "actions": _actions(),
    "actions_subject": _actions(subject="order A-77"),
    "actions_none": _actions(action="nothing"),
    "actions_nobody": _actions(actor="nobody"),
}


def _sample(ground: Ground, n: int) -> Mapping[str, float]:
    ground.command("ordermq", "db", "migrate")
    _fill(ground, n)
    with closing(Session(ground.database, name="benchmark")) as session:
        return {name: _median_ms(session, look) for name, look in LOOKS.items()}


def _fill(ground: Ground, n: int) -> None:
    """Write the rows without the indexes of orders and attributes, which then are made at once."""
    indexes = [line.split("|") for line in _sql(ground, _INDEXES).splitlines()]
    for name, _ in indexes:
        _sql(ground, f"DROP INDEX shop.{name}")
    for first in range(1, n + 1, _AT_ONCE):
        _sql(ground, _ORDERS, first=first, last=min(first + _AT_ONCE - 1, n), total=n)
    for statement in (_LETTERS, _ACTIONS):
        _sql(ground, statement, total=max(n // 25, 100))
    for _, definition in indexes:
        _sql(ground, definition)
    _sql(ground, "VACUUM ANALYZE")
    found = _sql(ground, "SELECT count(*) FROM shop.orders").strip()
    if found != str(n):
        raise Wrong(f"{found} orders, not {n}")


def _sql(ground: Ground, statement: str, **numbers: int) -> str:
    for name, number in numbers.items():
        statement = statement.replace(f":{name}", str(number))
    return ground.stack.postgres.sql(statement, database=ground.name, superuser=True, timeout_s=600.0)


def _median_ms(session: Session, look: Look) -> float:
    taken = []
    for _ in range(_TIMES):
        with session.transaction() as tx:
            tx.fetch_one("SELECT 1")  # the transaction has begun
            began_s = time.perf_counter()
            look(tx)
            taken.append(1000 * (time.perf_counter() - began_s))
    return median(taken)


CASE = Case(
    name="lists",
    what="the lists and looks of operators; n is the number of orders, with a dead letter for each 25",
    unit="ms",
    n=5_000_000,
    smoke_n=2000,
    rounds=1,
    # by_name_only=True,
    contenders=[Contender("ordermq", _sample, "a list of 100, on an open connection")],
    targets=[below(MOST_MS, f"ordermq_{name}", "ms") for name in LOOKS],
)
