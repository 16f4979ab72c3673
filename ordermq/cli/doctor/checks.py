"""What ``ordermq doctor`` looks at in the database and on this machine. Each check yields findings."""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

from ordermq.cli.doctor.finding import Finding, judged, ok, unknown
from ordermq.cli.program import Program
from ordermq.clock import utc_now
from ordermq.errors import OrderMQError, StoreError
from ordermq.store import Session, migrate, processes, server
from ordermq.store.processes import ProcessRow

OLDEST_POSTGRESQL = 130_000
WARN_TRANSACTION_S, FAIL_TRANSACTION_S = 300.0, 3600.0
WARN_SKEW_S, FAIL_SKEW_S = 1.0, 30.0
WARN_AGE, FAIL_AGE = 1_000_000_000, 1_800_000_000  # transactions; PostgreSQL stops at two thousand million
LEAST_FREE = 0.1

DATABASE, MACHINE = "database", "machine"

# As systemd writes times: 40s, 1min 30s, infinity.
_SPAN = re.compile(r"(\d+)(us|ms|s|min|h)")
_SPAN_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def check_database(program: Program) -> Iterator[Finding]:
    """Yield what PostgreSQL says of itself, of the tables, and of the processes that run."""
    session = program.session("ordermq doctor")
    try:
        before = utc_now()
        with session.transaction() as tx:
            facts = server.read_facts(tx)
        after = utc_now()
    except StoreError as exc:
        yield judged(DATABASE, "connection", str(exc), "see 'ordermq config show database'", fails=True)
        return
    yield from _server(facts)
    yield _skew(facts.clock, before, after)
    yield from _migrations(program, session)
    yield from _processes(program, session, facts)
    session.close()


def _server(facts: server.ServerFacts) -> Iterator[Finding]:
    yield judged(
        DATABASE, "version", f"PostgreSQL {facts.version}", "PostgreSQL 13 is the oldest that works",
        fails=facts.version_num < OLDEST_POSTGRESQL,
    )  # fmt: skip
    refuses = "takes no writes" if facts.read_only == "on" else "the primary"
    role = "a replica" if facts.is_replica else refuses
    yield judged(
        DATABASE, "role", role, "name the primary in database.host, or several hosts with commas",
        fails=role != "the primary",
    )  # fmt: skip
    for name, value in (
        ("fsync", facts.fsync),
        ("full_page_writes", facts.full_page_writes),
        ("synchronous_commit", facts.synchronous_commit),
    ):
        todo = f"an accepted order must be on disk: ALTER SYSTEM SET {name} = on"
        yield judged(DATABASE, name, value, todo, fails=value == "off")
    yield judged(
        DATABASE, "autovacuum", facts.autovacuum, "the outbox grows without it: turn it on",
        fails=facts.autovacuum == "off",
    )  # fmt: skip
    oldest_s = facts.oldest_transaction_s
    yield judged(
        DATABASE, "oldest transaction", f"{oldest_s:.0f} s",
        "vacuum cleans nothing younger: find it in pg_stat_activity by xact_start, and end it",
        fails=oldest_s > FAIL_TRANSACTION_S, warns=oldest_s > WARN_TRANSACTION_S,
    )  # fmt: skip
    yield judged(
        DATABASE, "prepared transactions", str(facts.prepared),
        "ordermq makes none; one that is forgotten keeps its locks: see pg_prepared_xacts",
        warns=facts.prepared > 0,
    )  # fmt: skip
    used = facts.notification_queue
    yield judged(
        DATABASE, "notification queue", f"{used:.0%} full",
        "a session that listens stands in a transaction; when the queue is full every NOTIFY fails",
        fails=used > 0.5, warns=used > 0.1,
    )  # fmt: skip
    yield judged(
        DATABASE, "transaction age", f"{facts.transaction_age / 1e6:,.0f} million",
        "vacuum does not keep up: VACUUM FREEZE before it reaches 2,000 million",
        fails=facts.transaction_age > FAIL_AGE, warns=facts.transaction_age > WARN_AGE,
    )  # fmt: skip
    yield ok(DATABASE, "size", f"{facts.size_bytes / 1e6:,.0f} MB")
    yield unknown(DATABASE, "disk", "no statement says how much room the server's disk has", "watch it there")


def _skew(clock: float, before: datetime, after: datetime) -> Finding:
    # The server read its clock somewhere between the two.
    at = datetime.fromtimestamp(clock, UTC)
    skew_s = max((before - at).total_seconds(), (at - after).total_seconds(), 0.0)
    return judged(
        DATABASE, "clock", f"{skew_s:.1f} s from this machine's", "run NTP on both machines",
        fails=skew_s > FAIL_SKEW_S, warns=skew_s > WARN_SKEW_S,
    )  # fmt: skip


def _migrations(program: Program, session: Session) -> Iterator[Finding]:
    try:
        migrate.check(session, program.migrations)
    except OrderMQError as exc:
        yield judged(DATABASE, "migrations", str(exc), "ordermq db status", fails=True)
    else:
        yield ok(DATABASE, "migrations", f"all {len(program.migrations)} applied")


def _processes(program: Program, session: Session, facts: server.ServerFacts) -> Iterator[Finding]:
    try:
        with session.transaction() as tx:
            found = processes.processes_now(tx)
    except StoreError as exc:
        yield unknown("processes", "running", str(exc), "ordermq db migrate")
        return
    lost = [each for each in found if each.is_lost]
    alive = [each for each in found if not each.is_lost]
    wanted = sum(each.connections for each in alive)
    yield judged(
        DATABASE, "max_connections",
        f"room for {facts.room}; {facts.connections} are open, the processes that run may have {wanted}",
        "raise max_connections, or lower consumer.threads",
        fails=wanted > facts.room, warns=max(wanted, facts.connections) > 0.8 * facts.room,
    )  # fmt: skip
    names = ", ".join(f"{each.role} {each.queue}".strip() for each in lost)
    yield judged(
        "processes", "seen", f"{len(alive)} run; not seen lately: {names}" if lost else f"{len(alive)} run",
        "ordermq status says where they ran: start them again", warns=bool(lost),
    )  # fmt: skip
    yield from _roles(program, alive)


def _roles(program: Program, alive: list[ProcessRow]) -> Iterator[Finding]:
    is_active = any(each.role == "relay" and each.state == "active" for each in alive)
    yield judged(
        "processes", "relay", "active" if is_active else "none is active", "start ordermq-relay",
        fails=not is_active,
    )  # fmt: skip
    served = {each.queue for each in alive}
    missing = [each for each in (*program.registry.queues, "dead") if each not in served]
    yield judged(
        "processes", "consumers", f"none of {', '.join(missing)}" if missing else "each queue has one",
        "start ordermq-consumer --queue QUEUE", warns=bool(missing),
    )  # fmt: skip
    versions = sorted({each.version for each in alive})
    yield judged(
        "processes", "versions", ", ".join(versions) or "none", "restart the older ones",
        warns=len(versions) > 1,
    )  # fmt: skip


def check_machine(program: Program) -> Iterator[Finding]:
    """Yield what this machine says: its disk, and the deadlines of the units against ours."""
    usage = shutil.disk_usage(".")
    free = usage.free / usage.total
    yield judged(
        MACHINE, "disk", f"{free:.0%} of {usage.total / 1e9:,.0f} GB is free", "free some",
        warns=free < LEAST_FREE,
    )  # fmt: skip
    consumer = program.settings.consumer
    yield judged(
        MACHINE, "deadlines",
        f"a handler: {consumer.handler_deadline_s:g} s, the broker: {consumer.consumer_timeout_s:g} s",
        "consumer.handler_deadline_s must be at most half of consumer.consumer_timeout_s",
        warns=consumer.handler_deadline_s > consumer.consumer_timeout_s / 2,
    )  # fmt: skip
    stop_s = _stop_timeouts()
    if not stop_s:
        yield unknown(MACHINE, "TimeoutStopSec", "systemd knows no unit of ordermq here")
        return
    least_s = min(stop_s.values())
    yield judged(
        MACHINE, "TimeoutStopSec", f"{least_s:g} s; a consumer drains for {consumer.drain_deadline_s:g} s",
        "give the units a TimeoutStopSec well above consumer.drain_deadline_s",
        fails=least_s <= consumer.drain_deadline_s,
    )  # fmt: skip


def _stop_timeouts() -> dict[str, float]:
    """Return the TimeoutStopSec of each unit that systemd has loaded, in seconds; nothing without systemd."""
    command = ["systemctl", "show", "ordermq-*", "--property=Id,TimeoutStopUSec"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_units(shown.stdout)


def parse_units(shown: str) -> dict[str, float]:
    """Return the TimeoutStopUSec of each unit in the output of ``systemctl show``, in seconds."""
    found: dict[str, float] = {}
    for unit in shown.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in unit.splitlines())
        if (name := values.get("Id")) and (text := values.get("TimeoutStopUSec")):
            parts = [int(number) * _SPAN_S[of] for number, of in _SPAN.findall(text)]
            found[name] = sum(parts) if parts else math.inf
    return found
