"""The least that each role may do in the database, as statements of SQL.

A grant is a line of text, SQL without GRANT and TO:

    SELECT, UPDATE (settled_at), DELETE ON ordermq.inbox    of a table, or of these columns of it
    TEMPORARY ON DATABASE                                   of the database of the settings
    MEMBER OF pg_read_all_stats                             what another role may do

The framework's stand in ``role_needs``, those of a module are its field ``grants``. CONNECT, USAGE of the
schemas of its tables and a look at the migrations go with each role. Locking a row takes UPDATE of a column.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ordermq.errors import ConfigError
from ordermq.store.role_needs import CONSUMER, DEPLOYER, EVENTS, FRAMEWORK, INCLUDES, PUBLISHES_EVENTS, Lines
from ordermq.topology.names import DEAD

_DATABASE = "DATABASE"
_MEMBER = re.compile(r"MEMBER OF ([a-z_][a-z0-9_]*)")
_LINE = re.compile(r"(.+) ON (DATABASE|[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*)")
_PRIVILEGE = re.compile(r"([A-Z]+)(?: \(([a-z0-9_, ]+)\))?(?:, |$)")
_OF_TABLES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_OF_DATABASES = frozenset({"CONNECT", "CREATE", "TEMPORARY"})


class Grant(NamedTuple):
    """A privilege on a table, or on columns of it; on the database, if ``table`` is empty."""

    privilege: str
    table: str = ""
    columns: tuple[str, ...] = ()


class RoleGrants(NamedTuple):
    """What one role may do: the roles it is a member of, and its grants, each once."""

    member_of: tuple[str, ...]
    grants: tuple[Grant, ...]


def grants_of(
    queues: Iterable[str], modules: Mapping[str, Mapping[str, Lines]], *, events: bool = False
) -> dict[str, RoleGrants]:
    """Return what each role may do, where these queues have handlers and modules by name bring their grants.

    ``events``: the relay publishes events, so it may do what the role of that name may.
    Raises ConfigError for a grant that is none, and for one of a role that does not exist.
    """
    consumers = [f"{CONSUMER}-{queue}" for queue in (*queues, DEAD)]
    own = {role for name, each in modules.items() for role in each if _is_own(role, name)}
    roles = [
        DEPLOYER,
        "relay",
        *consumers,
        *sorted(own),
        *(each for each in FRAMEWORK if each not in ("relay", CONSUMER)),
    ]
    for name, each in modules.items():
        if unknown := sorted(each.keys() - {*roles, CONSUMER} - {DEPLOYER}):
            raise ConfigError(
                f"module {name!r}: grants names the role {unknown[0]!r}, which is none of"
                f" {', '.join(roles)}, nor one of its own that begins with {name!r}"
            )
    found = {role: _parsed(_lines_of(role, modules), role) for role in roles}
    if events:
        found["relay"] = union((found["relay"], found[EVENTS], _parsed(PUBLISHES_EVENTS, "relay")))
    found[DEPLOYER] = RoleGrants((), (Grant("CONNECT"), Grant("CREATE"), Grant("TEMPORARY")))
    return found


def _is_own(role: str, module: str) -> bool:
    return role == module or role.startswith(f"{module}-")


def _lines_of(role: str, modules: Mapping[str, Mapping[str, Lines]]) -> Iterator[str]:
    for included in INCLUDES.get(role, ()):
        yield from _lines_of(included, modules)
    keys = (CONSUMER, role) if role.startswith(f"{CONSUMER}-") else (role,)
    for grants in (FRAMEWORK, *modules.values()):
        for key in keys:
            yield from grants.get(key, ())


def _parsed(lines: Iterable[str], role: str) -> RoleGrants:
    member_of: list[str] = []
    grants = [Grant("CONNECT"), Grant("SELECT", "ordermq.migrations")]
    for line in lines:
        if member := _MEMBER.fullmatch(line):
            member_of.append(member[1])
        else:
            grants += _grants_in(line, role)
    return RoleGrants(tuple(dict.fromkeys(member_of)), tuple(dict.fromkeys(grants)))


def _grants_in(line: str, role: str) -> list[Grant]:
    matched = _LINE.fullmatch(line)
    parts = list(_PRIVILEGE.finditer(matched[1])) if matched else []
    if matched is None or "".join(part[0] for part in parts) != matched[1]:
        raise ConfigError(
            f"grants of the role {role!r}: {line!r} is none; write for example"
            " 'SELECT, UPDATE (state) ON shop.orders'"
        )
    of_database = matched[2] == _DATABASE
    known = _OF_DATABASES if of_database else _OF_TABLES
    if unknown := [part[1] for part in parts if part[1] not in known]:
        raise ConfigError(
            f"grants of the role {role!r}: {line!r}: {unknown[0]} is not one of {', '.join(sorted(known))}"
        )
    table = "" if of_database else matched[2]
    return [Grant(part[1], table, tuple((part[2] or "").split(", ")) if part[2] else ()) for part in parts]


def union(many: Iterable[RoleGrants]) -> RoleGrants:
    """Return what one role may do in which these are one."""
    found = list(many)
    return RoleGrants(
        tuple(dict.fromkeys(name for each in found for name in each.member_of)),
        tuple(dict.fromkeys(grant for each in found for grant in each.grants)),
    )


def statements(
    by_name: Mapping[str, RoleGrants], *, database: str, schemas: Iterable[str], create: bool = False
) -> Iterator[str]:
    """Yield the lines of a script for psql that gives these roles what they need, and takes the rest.

    It is one transaction, for a superuser: only one may hand out ``pg_read_all_stats``. ``create``: it makes
    roles that do not exist, without a password.
    """
    yield "\\set ON_ERROR_STOP on"
    yield "BEGIN;"
    everywhere = ", ".join(quoted(each) for each in schemas)
    for name, role in by_name.items():
        to = quoted(name)
        if create:
            yield f"SELECT {_literal(f'CREATE ROLE {to} LOGIN')}"
            yield f" WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {_literal(name)}) \\gexec"
        tables = by_table(role.grants)
        if any(tables):
            yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {everywhere} FROM {to};"
            for schema in dict.fromkeys(table.partition(".")[0] for table in tables if table):
                yield f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {to};"
        for table, privileges in tables.items():
            on = ".".join(map(quoted, table.split("."))) if table else f"DATABASE {quoted(database)}"
            yield f"GRANT {', '.join(_written(*each) for each in privileges.items())} ON {on} TO {to};"
        for other in role.member_of:
            yield f"GRANT {quoted(other)} TO {to};"
    yield "COMMIT;"


def by_table(grants: Iterable[Grant]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the privileges on each table with their columns; none stands for the whole table."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for each in grants:
        privileges = found.setdefault(each.table, {})
        before = privileges.get(each.privilege)
        is_whole = before == () or not each.columns
        privileges[each.privilege] = (
            () if is_whole else tuple(dict.fromkeys((*(before or ()), *each.columns)))
        )
    return found


def quoted(name: str) -> str:
    """Return an identifier as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _written(privilege: str, columns: tuple[str, ...]) -> str:
    return f"{privilege} ({', '.join(map(quoted, columns))})" if columns else privilege


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
