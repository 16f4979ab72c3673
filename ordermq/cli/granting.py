"""``ordermq db grants`` and ``ordermq topology grants``: the least that each role needs."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from ordermq.cli.options import common
from ordermq.cli.output import note, write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import UsageError
from ordermq.store import grants as store_grants
from ordermq.topology.grants import BrokerGrants, broker_grants, pattern

F = TypeVar("F", bound=Callable[..., Any])


def _which(separator: str) -> Callable[[F], F]:
    """Add the options that choose roles and name them. Names begin with ``ordermq`` and ``separator``."""

    def add(command: F) -> F:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print JSON."),
            click.option(
                "--prefix", default=f"ordermq{separator}", show_default=True,
                help="How names begin. Its last character stands for the dashes of a role, too.",
            ),
            click.option(
                "--name", "names", multiple=True, metavar="ROLE=NAME",
                help="The name of a role on the server; 'consumer' stands for every consumer. Roles of one"
                " name become one. May be repeated.",
            ),
            click.option(
                "--role", "roles", multiple=True, metavar="ROLE", help="Only this role. May be repeated."
            ),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


@click.command(
    "grants",
    epilog=f"""\b
Examples:
  ordermq db grants | psql --username postgres shop
  ordermq db grants --role relay
  ordermq db grants --name consumer=workers --name relay=workers --create
  ordermq db grants --json | jq -r '.[].role'

{EXIT_CODES}""",
)
@_which("_")
@click.option("--create", is_flag=True, help="Make roles that do not exist, without a password.")
@common
def db_grants(
    *,
    roles: Sequence[str],
    names: Sequence[str],
    prefix: str,
    as_json: bool,
    create: bool,
    config_path: str | None,
) -> None:
    """Print SQL that gives each role what it needs in the database, and takes the rest.

    The roles: deployer ('db migrate'), relay, consumer-QUEUE, events, prune, audit, reconcile, monitor
    ('status', 'doctor'), operator-read, operator-write, and those of the modules. Run it after 'ordermq db
    migrate', and again after each upgrade, as a superuser. Nothing is changed here.

    JSON: one array of {role, name, member_of, grants: [{privilege, table, columns}]}.
    """
    program = load_program(config_path)
    modules = {each.name: each.load("grants") or {} for each in program.modules}
    for each in program.modules:
        if each.migrations and not modules[each.name]:
            note(f"module {each.name!r} has tables and no Module(grants=...): roles get nothing of them")
    found = store_grants.grants_of(_queues(program), modules, events=program.settings.topology.events)
    chosen = _chosen(found, roles, names, prefix, "_")
    if as_json:
        write_json(
            [
                {
                    "role": role, "name": name, "member_of": found[role].member_of,
                    "grants": [each._asdict() for each in found[role].grants],
                }
                for role, name in chosen.items()
            ]
        )  # fmt: skip
        return
    by_name = {
        name: store_grants.union(found[role] for role in same) for name, same in _by_name(chosen).items()
    }
    schemas = dict.fromkeys(("ordermq", *(_schemas(found.values()))))
    for line in store_grants.statements(
        by_name, database=program.settings.database.name, schemas=schemas, create=create
    ):
        write(line)


@click.command(
    "grants",
    epilog=f"""\b
Examples:
  ordermq topology grants | sh -e
  ordermq topology grants --role consumer-payment
  ordermq topology grants --name consumer=workers
  ordermq topology grants --json > grants.json; rabbitmqctl import_definitions grants.json

{EXIT_CODES}""",
)
@_which("-")
@common
def topology_grants(
    *, roles: Sequence[str], names: Sequence[str], prefix: str, as_json: bool, config_path: str | None
) -> None:
    """Print commands of rabbitmqctl that give each user what it needs on the broker, and take the rest.

    Roles that are not named need no user there: prune, reconcile, and what places orders. Make the users
    first (rabbitmqctl add_user). Nothing is changed here. Only the relay publishes to a topic exchange, and
    only with topology.events; a user without topic permissions may use every routing key.

    JSON: definitions of permissions, for 'rabbitmqctl import_definitions'. They hold no tags.
    """
    program = load_program(config_path)
    settings = program.settings
    found = broker_grants(
        settings.topology.prefix,
        _queues(program),
        management=bool(settings.topology.management_url),
        events=settings.topology.events,
    )
    chosen = _chosen(found, roles, names, prefix, "-")
    by_name: dict[str, BrokerGrants] = {}
    for name, same in _by_name(chosen).items():
        for role in same:
            by_name[name] = by_name.get(name, BrokerGrants()) | found[role]
    vhost = settings.broker.vhost
    if as_json:
        write_json({"permissions": [_permission(name, each, vhost) for name, each in by_name.items()]})
        return
    for line in _commands(by_name, vhost):
        write(line)


def _queues(program: Program) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*program.registry.queues, *program.settings.topology.queues)))


def _schemas(found: Any) -> Iterator[str]:
    for role in found:
        for each in role.grants:
            if each.table:
                yield each.table.partition(".")[0]


def _chosen(
    found: Mapping[str, Any], roles: Sequence[str], names: Sequence[str], prefix: str, separator: str
) -> dict[str, str]:
    """Return the name of each role that is asked for. Raises UsageError for a role that has nothing here."""
    given: dict[str, str] = {}
    for each in names:
        role, has_name, name = each.partition("=")
        if not has_name or not name:
            raise UsageError(f"--name {each!r}: write ROLE=NAME")
        given[role] = name
    if unknown := [role for role in roles if role not in found]:
        raise UsageError(
            f"there is nothing to grant to {unknown[0]!r} here; the roles are {', '.join(found)}"
        )
    last = prefix[-1:]
    between = last if last in ("-", "_") else separator
    return {role: _name_of(role, given, prefix, between) for role in found if not roles or role in roles}


def _name_of(role: str, given: Mapping[str, str], prefix: str, separator: str) -> str:
    if role in given:
        return given[role]
    if role.startswith("consumer-") and "consumer" in given:
        return given["consumer"]
    return prefix + role.replace("-", separator)


def _by_name(chosen: Mapping[str, str]) -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = {}
    for role, name in chosen.items():
        by_name.setdefault(name, []).append(role)
    return by_name


def _permission(name: str, grants: BrokerGrants, vhost: str) -> dict[str, str]:
    return {
        "user": name, "vhost": vhost, "configure": pattern(grants.configure), "write": pattern(grants.write),
        "read": pattern(grants.read),
    }  # fmt: skip


def _commands(by_name: Mapping[str, BrokerGrants], vhost: str) -> Iterator[str]:
    for name, grants in by_name.items():
        patterns = (pattern(grants.configure), pattern(grants.write), pattern(grants.read))
        yield shlex.join(["rabbitmqctl", "set_permissions", "-p", vhost, "--", name, *patterns])
        yield shlex.join(["rabbitmqctl", "set_user_tags", "--", name, *grants.tags])
