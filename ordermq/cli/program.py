"""What a process is made of: settings, handlers, migrations, topology.

The modules named in ``consumer.handlers`` bring more than handlers. A module, or else
the package it is in, may name

    MIGRATIONS = ("myshop", "myshop.migrations")     scope and package of its tables
    SETTINGS = {"myshop": MyShopSettings}            sections of its own in the file
    GAUGES = read                                    read(tx, config) -> {gauge: value}: what the active
                                                     relay shows as metrics, by cheap queries

and ON_UNREADABLE, which ``task.registry`` reads.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import Gauge

from ordermq.config.loader import Loaded, load, peek
from ordermq.config.settings import Settings
from ordermq.errors import ConfigError
from ordermq.shop.settings import SECTION
from ordermq.store import Session, Transaction, migrate
from ordermq.store.migrate import Migration
from ordermq.task import Registry
from ordermq.task import load as load_handlers
from ordermq.task.registry import named
from ordermq.topology import Topology, build

ReadGauges = Callable[[Transaction, Any], Mapping[Gauge, float]]


@dataclass(frozen=True)
class Program:
    """Everything read at the start, before any connection."""

    loaded: Loaded
    registry: Registry
    migrations: list[Migration]
    gauges: tuple[ReadGauges, ...] = ()

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def session(self, name: str) -> Session:
        """Return a session on the database; it connects when first used."""
        return Session(self.settings.database, name=name)

    def topology(self) -> Topology:
        """Return what should exist on the broker: a queue for each that has a handler or is in a setting."""
        wanted = self.settings.topology
        return build(
            wanted.prefix,
            (*self.registry.queues, *wanted.queues),
            queue_type=wanted.queue_type,
            events=wanted.events,
        )


def load_program(path: str | None, flags: Mapping[str, Any] | None = None) -> Program:
    """Read settings, handlers and migrations. Raises ConfigError naming every problem."""
    handlers = peek("consumer.handlers", path, flags=flags)
    registry = load_handlers(handlers)
    sections: dict[str, type] = {}
    scopes = [migrate.FRAMEWORK]
    gauges: list[ReadGauges] = []
    for module in handlers:
        sections |= named(module, "SETTINGS", {})
        scope = named(module, "MIGRATIONS", None)
        if scope is not None and scope not in scopes:
            scopes.append(scope)
        read = named(module, "GAUGES", None)
        if read is not None and read not in gauges:
            gauges.append(read)
    loaded = load(path, flags=flags, extra_sections=sections)
    return Program(loaded, registry, list(_migrations(scopes)), tuple(gauges))


def load_shop(path: str | None) -> Program:
    """Like ``load_program``, for commands about orders. Raises ConfigError without the orders' handlers."""
    program = load_program(path)
    if SECTION not in program.loaded.extra:
        raise ConfigError(
            "consumer.handlers does not name ordermq.shop.handlers, and this command is about its orders"
        )
    return program


def _migrations(scopes: Iterable[tuple[str, str]]) -> Iterable[Migration]:
    for scope, package in scopes:
        yield from migrate.migrations_of(scope, package)
