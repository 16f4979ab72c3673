"""What ``ordermq doctor`` looks at in the broker, over AMQP and its management API."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from threading import Event

from ordermq.amqp import BrokerFacts, ConnectionManager, alarms_of, read_facts, read_policies, verify
from ordermq.cli.doctor.finding import Finding, judged, ok, unknown
from ordermq.cli.program import Program
from ordermq.clock import utc_now
from ordermq.errors import OrderMQError

BROKER = "broker"
GIVE_UP_AFTER_S = 5.0
_TAG = "give the user the tag monitoring"
OLDEST, ADVISED = (3, 10), (3, 13)
WARN_SKEW_S, FAIL_SKEW_S = 2.0, 30.0  # HTTP says whole seconds


def check_broker(program: Program) -> Iterator[Finding]:
    """Yield what the broker says; what only its management API says is unknown without one."""
    try:
        with _connected(program) as connection:
            yield ok(BROKER, "connection", f"{program.settings.broker.username} may use {_vhost(program)}")
            yield _version(connection.broker_version)
            yield from _topology(program, connection)
    except OrderMQError as exc:
        yield judged(BROKER, "connection", str(exc), "see 'ordermq config show broker'", fails=True)
    yield from _managed(program)


def _topology(program: Program, connection: ConnectionManager) -> Iterator[Finding]:
    """Yield how queue types, arguments, dead-letter exchange, delivery limits and policies differ."""
    try:
        found = verify(
            connection, program.topology(), management_url=program.settings.topology.management_url
        )
    except OrderMQError as exc:
        yield unknown(BROKER, "topology", str(exc), "this user may lack the configure permission")
        return
    for line in found.differences:
        yield judged(BROKER, "topology", line, "ordermq topology apply creates what is missing", fails=True)
    for line in found.not_checked:
        yield unknown(BROKER, "topology", line)
    if not found.differences:
        yield ok(
            BROKER,
            "topology",
            "queues, types, arguments and dead-letter exchange as they should be",
        )


def _version(version: str) -> Finding:
    numbers = tuple(int(each) for each in re.findall(r"\d+", version)[:2])
    if len(numbers) < 2:
        return unknown(BROKER, "version", f"the broker says {version!r}")
    return judged(
        BROKER, "version", f"RabbitMQ {version}", "3.10 is the oldest that works; install 3.13 or 4.x",
        fails=numbers < OLDEST, warns=numbers < ADVISED,
    )  # fmt: skip


def _managed(program: Program) -> Iterator[Finding]:
    url = program.settings.topology.management_url
    names = "feature flags, deprecated features, policies, permissions, alarms, disk and clock"
    if not url:
        yield unknown(BROKER, "management", f"{names} are not known", "set topology.management_url")
        return
    try:
        facts = read_facts(program.settings.broker, url)
        policies = read_policies(program.settings.broker, url)
    except OrderMQError as exc:
        yield unknown(BROKER, "management", f"{names} are not known: {exc}", _TAG)
        return
    yield from _features(facts)
    yield _permissions(facts, program)
    yield from _nodes(facts)
    yield _clock(facts.clock)
    yield _consumer_timeout(program, [each.definition.get("consumer-timeout") for each in policies])


def _features(facts: BrokerFacts) -> Iterator[Finding]:
    for check, found, todo in (
        ("feature flags", facts.flags, "rabbitmqctl enable_feature_flag all, before the next upgrade"),
        (
            "deprecated features",
            facts.deprecated,
            "a later release refuses them: see its release notes",
        ),
    ):
        if found is None:
            yield unknown(BROKER, check, "the user may not ask, or this release does not say")
        else:
            words = "not enabled: " if check == "feature flags" else "in use: "
            text = words + ", ".join(sorted(found)) if found else "none to see to"
            yield judged(BROKER, check, text, todo, warns=bool(found))


def _permissions(facts: BrokerFacts, program: Program) -> Finding:
    found = facts.permissions
    if found is None:
        todo = "rabbitmqctl list_user_permissions USER"
        return unknown(BROKER, "permissions", "the user may not ask for its own", todo)
    prefix = program.settings.topology.prefix
    is_wide = any(found.get(each) == ".*" for each in ("configure", "write", "read"))
    text = ", ".join(f"{each} {found.get(each)!r}" for each in ("configure", "write", "read"))
    return judged(
        BROKER, "permissions", text, f"give each process what it uses on {prefix!r}: ordermq topology grants",
        warns=is_wide,
    )  # fmt: skip


def _nodes(facts: BrokerFacts) -> Iterator[Finding]:
    if facts.nodes is None:
        yield unknown(BROKER, "alarms", "the user may not ask", _TAG)
        return
    alarms = alarms_of(facts.nodes)
    todo = "rabbitmqctl status; free memory or disk, start the node"
    yield judged(BROKER, "alarms", "; ".join(alarms) or "none", todo, fails=bool(alarms))
    for node in facts.nodes:
        free, least = node.get("disk_free"), node.get("disk_free_limit")
        if isinstance(free, int) and isinstance(least, int):
            yield judged(
                BROKER, "disk", f"{node.get('name')}: {free / 1e9:,.1f} GB free, alarm at {least / 1e9:,.1f}",
                "free some, before the broker takes no messages", warns=free < 2 * least,
            )  # fmt: skip


def _clock(clock: datetime | None) -> Finding:
    if clock is None:
        return unknown(BROKER, "clock", "the management API says no date")
    skew_s = abs((utc_now() - clock).total_seconds())
    return judged(
        BROKER, "clock", f"within {max(skew_s, 1.0):.0f} s of this machine's", "run NTP on both machines",
        fails=skew_s > FAIL_SKEW_S, warns=skew_s > WARN_SKEW_S,
    )  # fmt: skip


def _consumer_timeout(program: Program, said_ms: list[object]) -> Finding:
    ours_s = program.settings.consumer.consumer_timeout_s
    shorter = [each / 1000 for each in said_ms if isinstance(each, int) and each / 1000 < ours_s]
    if shorter:
        text = f"a policy says {min(shorter):g} s, consumer.consumer_timeout_s {ours_s:g} s"
        return judged(BROKER, "consumer_timeout", text, "give both the same value", fails=True)
    return unknown(
        BROKER, "consumer_timeout", f"no API says it; consumer.consumer_timeout_s is {ours_s:g} s",
        "compare with: rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'",
    )  # fmt: skip


def _vhost(program: Program) -> str:
    return f"vhost {program.settings.broker.vhost!r}"


@contextmanager
def _connected(program: Program) -> Iterator[ConnectionManager]:
    settings = replace(program.settings.broker, give_up_after_s=GIVE_UP_AFTER_S)
    connection = ConnectionManager(settings, name="ordermq doctor")
    try:
        connection.connect(Event())
        yield connection
    finally:
        connection.close()
