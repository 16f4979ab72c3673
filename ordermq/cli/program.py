"""The parts of a process: settings and modules, and the handlers, tables and queues of the modules."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

from prometheus_client import Gauge

from ordermq.cli.settings import load_settings
from ordermq.config.loader import Loaded
from ordermq.config.settings import Settings
from ordermq.errors import ConfigError
from ordermq.module import Module, ModuleTrace, RecordSource, StatusLine
from ordermq.observe.logs import CORRELATION_ID
from ordermq.outward import OutwardRecords
from ordermq.store import Session, StoreTransaction, actions, migrate
from ordermq.store.migrate import Migration
from ordermq.task import Handler, Registry
from ordermq.task.handler import handlers_in
from ordermq.topology import EventStream, Topology, build

#: What a gauge is: a number, or one for each tuple of values of its labels.
Reading = float | Mapping[tuple[str, ...], float]

ReadGauges = Callable[[StoreTransaction, Any], Mapping[Gauge, Reading]]

ReadStatus = Callable[[StoreTransaction, Any], Iterable[StatusLine]]

ReadTrace = Callable[[StoreTransaction, Any, str], ModuleTrace | None]


@dataclass(frozen=True)
class Program:
    """What is read before any connection is made. The code of a module is imported when it is first used."""

    loaded: Loaded
    modules: tuple[Module, ...]
    load_again: Callable[[], Loaded]  # raises ConfigError

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @cached_property
    def registry(self) -> Registry:
        """The handlers of all modules. Raises ConfigError for one that cannot be imported."""
        return registry_of(self.modules, self.loaded)

    @cached_property
    def migrations(self) -> list[Migration]:
        """The framework's, then each module's. Raises ConfigError for a file that is no migration."""
        return migrations_for(self.modules)

    @cached_property
    def gauges(self) -> tuple[ReadGauges, ...]:
        """The modules' functions that read their gauges, for the active relay."""
        return tuple(each.load("gauges") for each in self.modules if each.gauges is not None)

    @cached_property
    def status(self) -> tuple[tuple[str, ReadStatus], ...]:
        """The modules' functions that return lines for ``ordermq status``, with the modules' names."""
        return tuple((each.name, each.load("status")) for each in self.modules if each.status is not None)

    @cached_property
    def traces(self) -> tuple[ReadTrace, ...]:
        """The modules' functions that say what they know of a correlation id, for ``ordermq trace``."""
        return tuple(each.load("trace") for each in self.modules if each.trace is not None)

    @cached_property
    def records(self) -> dict[str, str]:
        """The queries of the records that the audit log holds, by their names."""
        return {each.name: each.select for each in self._sources}

    @cached_property
    def archived(self) -> dict[str, str]:
        """The queries of the records that are in files, by the names of those that can be."""
        return {each.name: each.archived for each in self._sources if each.archived}

    @cached_property
    def _sources(self) -> tuple[RecordSource, ...]:
        own = (each for module in self.modules for each in module.load_each("records"))
        return (actions.RECORDS, *own)

    @cached_property
    def outward(self) -> OutwardRecords:
        """The records that others may read as events."""
        settings = self.settings
        return OutwardRecords(self._sources, settings.events.source or f"/{settings.topology.prefix}")

    @property
    def correlation_name(self) -> str:
        """Name of the log field that holds correlation ids: the first that a module has chosen."""
        chosen = (each.correlation_name for each in self.modules)
        return next((name for name in chosen if name != CORRELATION_ID), CORRELATION_ID)

    def session(self, name: str) -> Session:
        """Return a session on the database; it connects when first used.

        Its transactions send to the queues of the handlers and of ``topology.queues``, to no others.
        """
        queues = frozenset((*self.registry.queues, *self.settings.topology.queues))
        return Session(self.settings.database, name=name, queues=queues)

    def topology(self) -> Topology:
        """Return what should exist on the broker: the queues of the handlers and of ``topology.queues``."""
        wanted, kept = self.settings.topology, self.settings.events
        return build(
            wanted.prefix,
            (*self.registry.queues, *wanted.queues),
            queue_type=wanted.queue_type,
            events=EventStream(kept.max_age_s, kept.max_bytes) if wanted.events else None,
        )


def load_program(path: str | None, flags: Mapping[str, Any] | None = None) -> Program:
    """Read the settings and find the modules they name. Raises ConfigError naming every problem."""
    loaded, modules = load_settings(path, flags)
    return Program(loaded, modules, lambda: load_settings(path, flags)[0])


def registry_of(modules: Iterable[Module], loaded: Loaded | None = None) -> Registry:
    """Return the handlers of ``modules``; without settings those of the modules' defaults.

    Raises ConfigError naming the module at fault.
    """
    modules = tuple(modules)
    config = loaded or _default_settings(modules)
    handlers = [
        handler
        for module in modules
        for each in (*module.load_each("handlers"), *_chosen(module, config))
        for handler in _offered(module, each)
    ]
    on_unreadable = [module.load("on_unreadable") for module in modules if module.on_unreadable is not None]
    return Registry(handlers, on_unreadable)


def migrations_for(modules: Iterable[Module]) -> list[Migration]:
    """Return the framework's migrations, then those of ``modules``."""
    scopes = [(each.name, each.migrations) for each in modules if each.migrations]
    return [
        migration
        for scope, package in (migrate.FRAMEWORK, *scopes)
        for migration in migrate.migrations_of(scope, package)
    ]


def _default_settings(modules: Iterable[Module]) -> Loaded:
    extra = {each.name: each.load("settings")() for each in modules if each.settings is not None}
    return Loaded(Settings(), extra, {})


def _chosen(module: Module, config: Loaded) -> Iterable[Any]:
    return () if module.choose_handlers is None else module.load("choose_handlers")(config)


def _offered(module: Module, offer: object) -> list[Handler]:
    found = handlers_in(vars(offer) if isinstance(offer, ModuleType) else {"": offer})
    if not found:
        name = getattr(offer, "__name__", offer)
        raise ConfigError(
            f"module {module.name!r}: there is no handler in {name!r}; decorate one with @handler"
        )
    return found
