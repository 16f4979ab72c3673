"""One fault from the start of the load to the verdict."""

import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from math import inf
from pathlib import Path

from ordermq.clock import Deadline
from ordermq.errors import OrderMQError
from ordermq.testing import wait_until
from ordermq.testing.stack.fleet import Member
from ordermq.testing.stack.monitoring import PrivatePrometheus
from ordermq.testing.stack.private import PrivateStack
from tests.chaos.alerts import RATE as DRILL_RATE
from tests.chaos.alerts import SETTINGS as DRILL_SETTINGS
from tests.chaos.alerts import judge, look_at, watching
from tests.chaos.arena import Arena, Broken, open_arena
from tests.chaos.counting import OrderStanding, doubled_payments, recovery_s, repeated, tally
from tests.chaos.customers import PLANTED
from tests.chaos.fault import Fault, Skip
from tests.chaos.outward import SETTINGS as OUTWARD_SETTINGS
from tests.chaos.outward import Outlets, Outward
from tests.chaos.report import Result

LONGEST_QUIESCE_S = 900.0
#: Load goes on so long after the healing, so that there is something to recover for.
TAIL_S = 4.0
MAY_GROW_FDS, MAY_GROW_THREADS = 16, 4

_STANDINGS = """
    SELECT order_id, status IN ('completed', 'cancelled', 'refunded') AND pending = '{}',
           attention_reason IS NOT NULL, extract(epoch FROM terminal_at)::float8
      FROM shop.orders
"""
_TWICE = """
    SELECT order_id || ': ' || type || ' ' || count(*) || ' times'
      FROM shop.order_events
     WHERE type IN ('stock_reserved', 'stock_released', 'payment_captured', 'payment_refunded',
                    'shipment_created', 'points_awarded', 'points_adjusted', 'goods_returned',
                    'notification_sent')
     GROUP BY order_id, type, step HAVING count(*) > 1
"""
# What an order's refunds, made or under way, come to; one that was cancelled may get all of it.
_ASKED_BACK = """
    SELECT order_id,
           CASE WHEN status IN ('cancelled', 'refunded') THEN total_minor
                ELSE refunded_minor
                     + coalesce((SELECT sum(amount_minor) FROM shop.refunds AS r
                                  WHERE r.order_id = o.order_id AND state = 'open'), 0) END::bigint
      FROM shop.orders AS o
"""
_KINDS = """
    SELECT kind, count(*)
      FROM shop.orders AS o,
           LATERAL (VALUES ('free', charge = 'free'), ('paid before', charge = 'paid'),
                           ('told by e-mail', notify IN ('email', 'both')),
                           ('paid back in part', status = 'completed' AND refunded_minor > 0),
                           ('refunded', status = 'refunded'),
                           ('paid by another card', EXISTS (
                               SELECT FROM shop.earlier_payments AS e WHERE e.order_id = o.order_id)))
               AS k (kind, is_so)
     WHERE is_so GROUP BY kind ORDER BY kind
"""
_IDLE = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND state LIKE 'idle in transaction%%'
       AND state_change < clock_timestamp() - interval '5 s'
"""
_DEAD = "SELECT queue, message_id FROM ordermq.dead_letters"

_PERSONAL = re.compile(rf"{PLANTED}|tok_gen_|\+5500\d")


def run_fault(
    fault: Fault,
    seed: int,
    servers: Callable[[Fault], PrivateStack],
    *,
    logs: Path,
    say: Callable[[str], None],
    is_long: bool,
    outward: Outlets,
    is_drill: bool = False,
) -> Result:
    """Run it on what ``servers`` gives; what goes wrong is in the result.

    Only Ctrl-C and bugs of the suite are raised.
    """
    result = Result(
        fault.name, fault.title, seed, rate=min(fault.rate, DRILL_RATE) if is_drill else fault.rate
    )
    began_s = time.monotonic()
    settings = DRILL_SETTINGS if is_drill else OUTWARD_SETTINGS if outward else {}
    try:
        fault.check()
        with open_arena(servers(fault), fault, seed, logs, rate=result.rate, settings=settings) as arena:
            arena.say, arena.is_long = say, is_long
            try:
                with ExitStack() as ends:
                    prometheus = ends.enter_context(watching(arena)) if is_drill else None
                    told = ends.enter_context(closing(Outward(arena, outward))) if outward else None
                    _endure(arena, fault, result, prometheus, told)
            except (Broken, OrderMQError) as exc:
                result.problems.append(str(exc)[:600])
                with suppress(Exception):  # whatever still answers makes the report better
                    arena.regrets.stop()
                    arena.customers.stop()
                    _count(arena, fault, result)
            result.problems += arena.problems
            result.note = "; ".join(arena.notes)
    except Skip as exc:
        result.skipped = str(exc)
    except (Broken, OrderMQError) as exc:
        result.problems.append(str(exc)[:600])
    result.seconds = round(time.monotonic() - began_s, 1)
    return result


def _endure(
    arena: Arena,
    fault: Fault,
    result: Result,
    prometheus: PrivatePrometheus | None,
    outward: Outward | None,
) -> None:
    say = arena.say
    fault.prepare(arena)
    say("warming up")
    arena.start()
    if outward is not None:
        outward.start()
    if prometheus is not None:
        look_at(arena, prometheus)
    before = {member.name: _usage(member) for member in arena.fleet.members}
    arena.pause_between(0.2, 1.0)
    say("striking")
    struck_s = time.time()
    fault.strike(arena)
    if arena.healed_at_s is None:
        raise Broken("the fault never said that it was healed")
    arena.pause(TAIL_S)
    arena.regrets.stop()
    arena.customers.stop()
    _quiesce(arena, fault, say)
    say("checking")
    fault.verify(arena)
    if prometheus is not None:
        result.alerts = sorted(judge(arena, prometheus, struck_s))
    _count(arena, fault, result)
    if outward is not None:
        result.outward = outward.judge()
    for member in arena.fleet.members:
        _judge_usage(arena, member, before.get(member.name, (0, 0)))
    arena.expect(arena.value(_IDLE) == 0, "a transaction was left idle")
    ended = [(member.name, code) for member in arena.fleet.members for code in member.ended]
    surprising = [
        f"{name} ended by itself with {code}" for name, code in ended if code not in fault.may_end_with
    ]
    arena.problems += sorted(set(surprising))
    codes = {name: code for name, code in arena.stop().items() if code != 0}
    arena.expect(not codes, f"did not drain and end with 0 on SIGTERM: {codes}")
    _judge_logs(arena)


def _quiesce(arena: Arena, fault: Fault, say: Callable[[str], None]) -> None:
    """Wait for rest. What is not at rest by then is counted, not raised."""
    accepted = len(arena.customers.accepted)
    longest = Deadline(LONGEST_QUIESCE_S)
    progress = Deadline(fault.quiesces_within_s)
    found = arena.under_way()
    least = inf
    while found != (0, 0, 0):
        say(f"quiescing: {found[0]} of {accepted} orders under way")
        if -1 < found[0] < least:  # a slow machine is not stuck
            least, progress = found[0], Deadline(fault.quiesces_within_s)
        if progress.has_passed or longest.has_passed:
            arena.problems.append(
                f"does not come to rest: (orders, outbox rows, messages being handled) are {found}"
            )
            return
        arena.pause(0.3)
        found = arena.under_way()

    def left_over() -> dict[str, int]:
        return {queue: count for queue, count in arena.queues().items() if count}

    with suppress(TimeoutError):
        wait_until(lambda: not left_over(), 15.0, every_s=0.5)
    arena.expect(not left_over(), f"messages are left in queues: {left_over()}")


def _count(arena: Arena, fault: Fault, result: Result) -> None:
    accepted = arena.customers.accepted
    found = {row[0]: OrderStanding(row[1], row[2], row[3]) for row in arena.rows(_STANDINGS)}
    count = tally(accepted, found)
    result.orders, result.lost, result.stuck = len(accepted), len(count.lost), len(count.stuck)
    _note(result, "lost", count.lost)
    _note(result, "stuck", count.stuck)
    if count.parked:
        arena.notes.append(f"{count.parked} wait for a person")
    payments = [
        (entry["order_id"], entry["kind"], entry["amount_minor"]) for entry in arena.sandbox.ledger("payment")
    ]
    doubled = doubled_payments(payments, dict(arena.rows(_ASKED_BACK)))
    arena.notes.append(", ".join(f"{count} {kind}" for kind, count in arena.rows(_KINDS)))
    doubled += repeated(entry["reference"] for entry in arena.sandbox.ledger("sms"))
    doubled += repeated(entry["message_id"] for entry in arena.sandbox.ledger("mail"))
    doubled += [row[0] for row in arena.rows(_TWICE)]
    result.doubled = len(doubled)
    _note(result, "doubled", doubled)
    result.redelivered = arena.fleet.counters()["ordermq_redelivered_total"]
    _judge_dead(arena, result)
    report = arena.reconcile()
    result.reconcile = "OK" if report["ok"] and report["code"] == 0 else "FAILED"
    if result.reconcile != "OK":
        wrong = [f"{c['name']} {c['wrong']} ({c['offenders'][0]})" for c in report["checks"] if c["wrong"]]
        result.problems.append("reconcile: " + ("; ".join(wrong) or str(report.get("error", report))))
    rows = arena.run("ordermq", "projection", "rebuild", "--all", "--check")
    result.projection = "equal" if rows.returncode == 0 else "differs"
    if rows.returncode != 0:
        result.problems.append(f"rows that their events contradict: {rows.stdout[:300]} {rows.stderr[-300:]}")
    if arena.healed_at_s is not None:
        finished = [each.finished_at_s for each in found.values() if each.finished_at_s is not None]
        recovered_s = recovery_s(arena.healed_at_s, finished, arena.rate)
        result.recovery_s = None if recovered_s is None else round(recovered_s, 2)
        if recovered_s is None or recovered_s > fault.recovers_within_s:
            result.problems.append(
                f"recovery took {'for ever' if recovered_s is None else f'{recovered_s:.1f} s'},"
                f" more than {fault.recovers_within_s:g} s"
            )


def _judge_dead(arena: Arena, result: Result) -> None:
    found = [(row[0], row[1]) for row in arena.rows(_DEAD)]
    unwanted = sorted(set(found) - arena.wanted_dead)
    missing = sorted(arena.wanted_dead - set(found))
    if unwanted:
        result.problems.append(f"{len(unwanted)} unexpected dead letters: {unwanted[:3]}")
    if missing:
        result.problems.append(f"{len(missing)} dead letters are missing: {missing[:3]}")
    if len(found) != len(set(found)):
        result.problems.append(f"dead letters twice: {repeated(f'{q} {m}' for q, m in found)[:3]}")


def _note(result: Result, what: str, names: list[str] | tuple[str, ...]) -> None:
    if names:
        result.problems.append(
            f"{len(names)} {what}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        )


def _usage(member: Member) -> tuple[int, int]:
    """Return how many descriptors and threads it has; zeros if it does not run."""
    try:
        return len(os.listdir(f"/proc/{member.pid}/fd")), len(os.listdir(f"/proc/{member.pid}/task"))
    except OSError:
        return 0, 0


def _judge_usage(arena: Arena, member: Member, before: tuple[int, int]) -> None:
    fds, threads = _usage(member)
    if not before[0] or not fds:
        return
    arena.expect(fds <= before[0] + MAY_GROW_FDS, f"{member.name}: {before[0]} descriptors became {fds}")
    arena.expect(
        threads <= before[1] + MAY_GROW_THREADS, f"{member.name}: {before[1]} threads became {threads}"
    )


def _judge_logs(arena: Arena) -> None:
    """No secret and nothing personal in what any process of ours wrote."""
    for member in arena.fleet.members:
        text = member.log.read_text(errors="replace") if member.log.exists() else ""
        found = _PERSONAL.search(text)
        arena.expect(not found, f"{member.name}.log holds personal data: {found.group() if found else ''}")
        arena.expect(not any(each in text for each in arena.secrets), f"{member.name}.log holds a password")
